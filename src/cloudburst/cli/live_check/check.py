"""The check of an account: its parts with their maximum cost, and the removal of all they start."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import anyio

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.client.price_list import load_prices
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_definition import describe_task_definition
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.setup.permissions import LIVE_NAME
from cloudburst.aws.setup.resource_definitions import SERVICE_CONTAINER_STOP_TIMEOUT
from cloudburst.aws.setup.running_tasks import cleanup
from cloudburst.cli.live_check import task_checks
from cloudburst.cli.live_check.findings import Finding, Findings, Outcome
from cloudburst.cli.live_check.image_check import check_image, remove_repository
from cloudburst.cli.live_check.live import REASON, SMALL, Live
from cloudburst.cli.live_check.s3_check import check_s3, remove_objects
from cloudburst.cli.live_check.task_checks import BURST
from cloudburst.errors import AWSError, CloudburstError
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import S3Prefix
from cloudburst.models.prices import extra_disk_gb
from cloudburst.models.settings import OWN_IMAGE, Settings
from cloudburst.models.tier import Tier

MAX_TASK_SECONDS = 420
"""Seconds that a part with tasks may take. AWS bills a task until it has stopped, which may take
`SERVICE_CONTAINER_STOP_TIMEOUT` longer; the estimate counts all of them."""
MINIMUM_SECONDS = 60
"""Minimum of the billed seconds of a task."""
REMOVAL_TIMEOUT = 90.0
"""Maximum seconds for the removal at the end, which a cancellation does not interrupt."""
HOW_TO_REMOVE = (
    f"cloudburst cleanup --run {LIVE_NAME} stops its tasks; the next check deletes the rest"
)


class Part(NamedTuple):
    """A part of the check."""

    name: str
    check: Callable[[Live], Awaitable[None]]
    starts: str = ""
    """Tasks that the part starts, in words; empty for none."""
    usd: Decimal = Decimal(0)
    """Maximum cost in USD."""
    omitted: str = ""
    """Reason why the part is omitted; empty if it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """Parts of a check, and where they are made."""

    account: str
    region: str
    s3: S3Prefix | None
    parts: tuple[Part, ...]

    @property
    def usd(self) -> Decimal:
        """Maximum cost in USD."""
        return sum((part.usd for part in self.parts), Decimal(0))


async def plan_live(
    settings: Settings,
    *,
    quick: bool = False,
    cloudtrail: float = 0.0,
    s3: S3Prefix | None = None,
) -> LivePlan:
    """Return what a check starts and its maximum cost; nothing is started.

    Args:
        settings: Account, region, cluster and task definition.
        quick: True to omit the image, the subnets, the burst and ARM64.
        cloudtrail: Minutes to wait for the record of a task; 0 to omit this part.
        s3: Folder for the part with S3; ``None`` to omit it.

    Raises:
        CloudburstError: There is no task definition, or any error of `AWSClient.call`.
    """
    async with open_aws(settings) as aws:
        quickly = ("Our image", "Subnets", "Burst", "ARM64") if quick else ()
        omitted = {
            "Our image": "" if settings.image == OWN_IMAGE else "the image is not ours",
            "S3": "" if s3 else "no --s3",
            "CloudTrail": "" if cloudtrail else "no --cloudtrail",
            **dict.fromkeys(quickly, "--quick"),
        }
        trail = partial(task_checks.check_trail, minutes=cloudtrail)
        in_s3 = partial(check_s3, prefix=s3 or S3Prefix("", ""))
        parts = [*await _task_parts(aws, settings), Part("S3", in_s3), Part("CloudTrail", trail)]
        return LivePlan(
            account=await aws.account_id(),
            region=aws.region,
            s3=s3,
            parts=tuple(_without(part, omitted.get(part.name, "")) for part in parts),
        )


def _without(part: Part, reason: str) -> Part:
    return part._replace(omitted=reason, usd=Decimal(0)) if reason else part


async def _task_parts(aws: AWSClient, settings: Settings) -> list[Part]:
    definition = await describe_task_definition(aws, settings.task_definition)
    rates = (await load_prices()).rates(aws.region, architecture=definition.architecture)
    billed = MAX_TASK_SECONDS + SERVICE_CONTAINER_STOP_TIMEOUT
    disk = extra_disk_gb(settings.ephemeral_storage) * rates.disk_gb
    small = (rates.task_usd_per_second(SMALL) + disk) * billed
    usual = (rates.task_usd_per_second(Tier.STANDARD) + disk) * billed
    # The smallest task is a quarter of ECONOMY; its address costs the same.
    tiny = rates.task_usd_per_second(SMALL, public_ipv4=False) / 4 + rates.ipv4 + disk
    number, one = len(settings.subnets), f"1 task, {SMALL.vcpu} vCPU"
    each, burst = tiny * billed * number, tiny * MINIMUM_SECONDS * BURST
    return [
        Part("One task", task_checks.check_one_task, one, small),
        Part("Lifetime", task_checks.check_lifetime, one, small),
        Part("Spot", task_checks.check_spot, one, small),  # cheaper by an unknown factor
        Part("Our image", check_image),  # in ECR for minutes, at $0.10 a GB-month
        Part("Subnets", task_checks.check_subnets, f"{number} tasks, 0.25 vCPU", each),
        Part("Burst", task_checks.check_burst, f"{BURST} tasks, 0.25 vCPU", burst),
        Part("ARM64", task_checks.check_arm64, one, small),
        Part("One scene", task_checks.check_scene, f"1 task, {Tier.STANDARD.vcpu} vCPU", usual),
    ]


async def check_live(
    settings: Settings,
    plan: LivePlan,
    *,
    on_finding: Callable[[Finding], object] = lambda _: None,
) -> tuple[Finding, ...]:
    """Check an account with tasks that cost at most ``plan.usd``, and return what was found.

    First, what an earlier check has left is removed: make one check at a time in an account. At the
    end, and after an error or a cancellation, everything that was started is stopped and deleted.

    Args:
        settings: Settings with which the plan was made.
        plan: Parts of the check.
        on_finding: Function that is called with each finding.

    Raises:
        CloudburstError: There is no task definition, or AWS accepts no call.
    """
    findings, name = Findings(on_finding, account=plan.account), settings.task_definition
    async with open_aws(settings) as aws:
        definition = await describe_task_definition(aws, name, protocol=settings.protocol)
        template = RunTaskTemplate(settings=settings, definition=definition, timeouts=Timeouts())
        live = Live(aws, template, findings)
        with findings.part("Before"):
            if removed := await _remove_leftovers(live, plan.s3):
                findings.note("left by an earlier check, and removed", removed)
        try:
            for part in plan.parts:
                with findings.part(part.name):
                    await _check(live, part)
        finally:
            with anyio.CancelScope(shield=True), findings.part("At the end"):
                with anyio.fail_after(REMOVAL_TIMEOUT):
                    removed = await _remove_leftovers(live, plan.s3)
                    left = await _remove_leftovers(live, plan.s3) if removed else ""
                seen = f"removed: {removed}" if removed else ""
                findings.report("nothing of this check is left in the account", not left, seen)
            if findings.all[-1].outcome is not Outcome.KEPT:
                findings.note("if something is left", HOW_TO_REMOVE)
    return tuple(findings.all)


async def _check(live: Live, part: Part) -> None:
    if part.omitted:
        live.findings.report("this part", None, part.omitted)
        return
    try:
        with anyio.fail_after(MAX_TASK_SECONDS if part.starts else math.inf):
            await part.check(live)
    finally:
        await live.stop_all()


async def _remove_leftovers(live: Live, s3: S3Prefix | None) -> str:
    """Stop the tasks of checks, delete their repository and objects, and return what there was.

    After an error, the others are still removed; then the first error is raised.
    """

    async def tasks() -> str:
        swept = await cleanup(live.settings, run=LIVE_NAME, reason=REASON)
        if swept.failed:
            task = swept.failed[0].task.task_id
            raise AWSError(f"still running: {task}: {swept.failed[0].error}")
        return f"tasks ({len(swept.stopped)})" if swept.stopped else ""

    async def repository() -> str:
        return f"repository {LIVE_NAME}" if await remove_repository(live.aws) else ""

    async def objects() -> str:
        number = await remove_objects(ObjectStore(live.aws, live.settings), s3) if s3 else 0
        return f"objects and uploads ({number}) in {s3}" if number else ""

    removed, errors = list[str](), list[CloudburstError]()
    for remove in (tasks, repository, objects):
        try:
            removed.append(await remove())
        except CloudburstError as exc:
            errors.append(exc)
    if errors:
        raise errors[0]
    return ", ".join(filter(None, removed))

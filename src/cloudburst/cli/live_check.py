"""``cloudburst doctor --live``: its question, its parts with their maximum cost, and its output.

`plan_live` returns what the check starts and its maximum cost, `check_live` makes it. It shows what
only AWS itself can show.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import anyio
from rich.table import Table
from rich.text import Text

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.client.price_list import load_prices
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_definition import describe_task_definition
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.setup.permissions import LIVE_NAME
from cloudburst.aws.setup.resource_definitions import SERVICE_CONTAINER_STOP_TIMEOUT
from cloudburst.aws.setup.running_tasks import cleanup
from cloudburst.cli import live_tasks
from cloudburst.cli.live_account import REASON, SMALL, Finding, Findings, Live, Outcome
from cloudburst.cli.live_storage import check_image, check_s3, remove_objects, remove_repository
from cloudburst.cli.live_tasks import BURST
from cloudburst.cli.output import print_output
from cloudburst.display.terminal_texts import plain_table, safe_text
from cloudburst.errors import AWSError, CloudburstError, ConfigurationError
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import S3Prefix
from cloudburst.models.prices import extra_disk_gb
from cloudburst.models.settings import OWN_IMAGE, Settings
from cloudburst.models.tier import Tier
from cloudburst.programs import run_until_signal

__all__ = ["Finding", "LivePlan", "Outcome", "Part", "check_account", "check_live", "plan_live"]

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
    s3: S3Prefix | None = None,
) -> LivePlan:
    """Return what a check starts and its maximum cost; nothing is started.

    Args:
        settings: Account, region, cluster and task definition.
        quick: True to omit the image, the subnets, the burst and ARM64.
        s3: Folder for the part with S3; ``None`` to omit it.

    Raises:
        CloudburstError: There is no task definition, or any error of `AWSClient.call`.
    """
    async with open_aws(settings) as aws:
        quickly = ("Our image", "Subnets", "Burst", "ARM64") if quick else ()
        omitted = {
            "Our image": "" if settings.image == OWN_IMAGE else "the image is not ours",
            "S3": "" if s3 else "no --s3",
            **dict.fromkeys(quickly, "--quick"),
        }
        in_s3 = partial(check_s3, prefix=s3 or S3Prefix("", ""))
        parts = [*await _task_parts(aws, settings), Part("S3", in_s3)]
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
        Part("One task", live_tasks.check_one_task, one, small),
        Part("Lifetime", live_tasks.check_lifetime, one, small),
        Part("Spot", live_tasks.check_spot, one, small),  # cheaper by an unknown factor
        Part("Our image", check_image),  # in ECR for minutes, at $0.10 a GB-month
        Part("Subnets", live_tasks.check_subnets, f"{number} tasks, 0.25 vCPU", each),
        Part("Burst", live_tasks.check_burst, f"{BURST} tasks, 0.25 vCPU", burst),
        Part("ARM64", live_tasks.check_arm64, one, small),
        Part("One scene", live_tasks.check_scene, f"1 task, {Tier.STANDARD.vcpu} vCPU", usual),
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


_STYLES = dict(zip(Outcome, ("green", "red", "yellow", "dim"), strict=True))


def check_account(*, yes: bool, **options: Any) -> int:
    """Make the live check after a question, print its findings, and return the exit code."""
    if not yes and not sys.stdin.isatty():
        raise ConfigurationError("--live asks a question, and there is no terminal: add --yes")
    settings = Settings()
    plan = anyio.run(partial(plan_live, settings, **options))
    _print_plan(plan)
    if not yes:
        print_output(Text("Start them? [y/N]", "bold"))
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            return 1
    found: list[Finding] = []
    show = partial(_print_finding, found)
    _, code = run_until_signal(partial(check_live, settings, plan, on_finding=show))
    counts = Counter(finding.outcome for finding in found)
    numbers = [f"{counts[each]} {each}" for each in Outcome if each is not Outcome.NOTE]
    end = "Interrupted: " if code else ""
    print_output(Text(f"\n{end}{', '.join(numbers)}.", "bold"))
    return code or int(counts[Outcome.BROKEN] > 0)


def _print_plan(plan: LivePlan) -> None:
    table = plain_table()
    for name in ("part", "starts", "costs at most"):
        table.add_column(name)
    for part in plan.parts:
        starts = f"not tried: {part.omitted}" if part.omitted else part.starts
        table.add_row(part.name, starts, f"${part.usd:.4f}" if part.usd else "")
    print_output(Text(f"\nIn account {plan.account}, {plan.region}, this starts:\n"))
    print_output(table)
    print_output(Text(f"\n${plan.usd:.4f} at most. All of it is stopped and deleted at the end."))


def _print_finding(found: list[Finding], finding: Finding) -> None:
    if not found or found[-1].part != finding.part:
        print_output(Text(f"\n{finding.part}", "bold"))
    found.append(finding)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, min_width=len(Outcome.NOT_TRIED))
    grid.add_column(overflow="fold")
    text = f"{finding.subject}: {finding.seen}" if finding.seen else finding.subject
    grid.add_row(Text(finding.outcome, _STYLES[finding.outcome]), safe_text(text))
    print_output(grid)

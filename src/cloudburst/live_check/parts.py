"""Parts of the check: what each starts, and its maximum cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.client.price_list import load_prices
from cloudburst.aws.fargate.task_definition import describe_task_definition, task_families
from cloudburst.errors import CloudburstError
from cloudburst.live_check import account_checks, task_checks
from cloudburst.live_check.account_checks import BURST
from cloudburst.live_check.image_check import check_image
from cloudburst.live_check.live import SMALL, Live
from cloudburst.live_check.s3_check import check_s3
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import OWN_IMAGE, Settings
from cloudburst.models.tier import Tier

MAX_TASK_SECONDS = 420
"""Seconds that a part with tasks may take; the estimate counts all of them."""
TINY_SECONDS = 240
"""Seconds that a task of the smallest size may take to start and stop, for the estimate."""
MINIMUM_SECONDS = 60
"""Minimum of the billed seconds of a task."""


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
        return sum((part.usd for part in self.parts if not part.omitted), Decimal(0))


async def plan_live(
    settings: Settings,
    *,
    spot: bool = True,
    quick: bool = False,
    cloudtrail: float = 0.0,
    s3: S3Prefix | None = None,
    session: Any = None,
) -> LivePlan:
    """Return what a check starts and its maximum cost; nothing is started.

    Args:
        settings: Account, region, cluster and task definition.
        spot: False to start nothing on Spot.
        quick: True to omit the image, the subnets, the burst and ARM64.
        cloudtrail: Minutes to wait for the record of a task; 0 to omit this part.
        s3: Folder for the part with S3; ``None`` to omit it.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.

    Raises:
        CloudburstError: There is no task definition, or any error of `AWSClient.call`.
    """
    async with open_aws(settings, session=session) as aws:
        omitted = {
            "Spot": "" if spot else "--no-spot",
            "Our image": "" if settings.image == OWN_IMAGE else "the image is not ours",
            "ARM64": await _why_no_arm64(aws, settings),
            "S3": "" if s3 else "no --s3",
            "CloudTrail": "" if cloudtrail else "no --cloudtrail",
            **(
                dict.fromkeys(("Our image", "Subnets", "Burst", "ARM64"), "--quick")
                if quick
                else {}
            ),
        }
        trail = partial(account_checks.check_trail, minutes=cloudtrail)
        in_s3 = partial(check_s3, prefix=s3 or S3Prefix("", ""))
        parts = [*await _task_parts(aws, settings), Part("S3", in_s3), Part("CloudTrail", trail)]
        return LivePlan(
            account=await aws.account_id(),
            region=aws.region,
            s3=s3,
            parts=tuple(part._replace(omitted=omitted.get(part.name, "")) for part in parts),
        )


async def _task_parts(aws: AWSClient, settings: Settings) -> list[Part]:
    definition = await describe_task_definition(aws, settings.task_definition)
    rates = (await load_prices()).rates(aws.region, architecture=definition.architecture)
    small = rates.task_usd_per_second(SMALL) * MAX_TASK_SECONDS
    usual = rates.task_usd_per_second(Tier.STANDARD) * MAX_TASK_SECONDS
    # The smallest task is a quarter of ECONOMY; its address costs the same.
    tiny = rates.task_usd_per_second(SMALL, public_ipv4=False) / 4 + rates.ipv4
    number, one = len(settings.subnets), f"1 task, {SMALL.vcpu} vCPU"
    each, burst = tiny * TINY_SECONDS * number, tiny * MINIMUM_SECONDS * BURST
    return [
        Part("One task", task_checks.check_one_task, one, small),
        Part("Lifetime", task_checks.check_lifetime, one, small),
        Part("Spot", task_checks.check_spot, one, small),  # cheaper by an unknown factor
        Part("Our image", check_image),  # in ECR for minutes, at $0.10 a GB-month
        Part("Subnets", account_checks.check_subnets, f"{number} tasks, 0.25 vCPU", each),
        Part("Burst", account_checks.check_burst, f"{BURST} tasks, 0.25 vCPU", burst),
        Part("ARM64", task_checks.check_arm64, one, small),
        Part("One scene", task_checks.check_scene, f"1 task, {Tier.STANDARD.vcpu} vCPU", usual),
    ]


async def _why_no_arm64(aws: AWSClient, settings: Settings) -> str:
    try:
        await describe_task_definition(aws, task_families(settings.task_definition)["ARM64"])
    except CloudburstError:
        return "there is no task definition for it"
    return ""

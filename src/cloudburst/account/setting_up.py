"""Makes in an account what tasks need, once, and finds it from then on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from cloudburst.account import pieces, roles
from cloudburst.account.blueprint import (
    ARM_SUFFIX,
    Image,
    families,
    is_ours,
    task_definition,
)
from cloudburst.account.doors import WORLD, SecurityGroup, describe_groups, find_group
from cloudburst.account.envfile import update
from cloudburst.account.hand import Hand, Outcome, Step
from cloudburst.account.here import private_address, public_address, source
from cloudburst.account.network import (
    Subnet,
    Way,
    cidrs,
    default_subnets,
    describe_subnets,
    one_vpc,
    zones,
)
from cloudburst.adapters.aws.definition import definition_of
from cloudburst.adapters.aws.session import AWS, open_aws
from cloudburst.errors import ConfigurationError
from cloudburst.models.prices import Architecture
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol

__all__ = ["InitPlan", "InitReport", "Outcome", "Step", "init"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InitPlan:
    """What ``init`` shall make otherwise than it would."""

    sources: tuple[str, ...] = ()
    """Addresses and CIDRs that reach workers; none: this machine's address."""
    open_to_world: bool = False
    """Whether everybody reaches them, and only their keys keep others out."""
    keep_sources: bool = False
    """Whether those of an earlier ``init`` still do."""
    protocol: Protocol | None = None
    """What the image speaks; ``None``: the settings', else native for an image that is named
    ``cloudburst``, else what the task definition with that image says, else onestep."""
    arm64: bool | None = None
    """Whether the image has ARM64 too; ``None``: ours has."""
    env_file: Path | None = Path(".env")
    """Where the settings go; ``None``: nowhere."""
    dry_run: bool = False
    """Change nothing; say what would be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitReport:
    """What was found, made and changed; in a dry run: what would be."""

    account: str
    region: str
    steps: tuple[Step, ...]
    environment: Mapping[str, str]
    """The settings of this set-up; those that are not known before it is made are missing."""
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was made or changed."""
        return any(step.outcome in {Outcome.MADE, Outcome.CHANGED} for step in self.steps)


async def init(
    settings: Settings,
    *,
    plan: InitPlan | None = None,
    here: Callable[[], Awaitable[str]] | None = None,
    session: Any = None,
) -> InitReport:
    """Make cluster, log group, roles, security group and task definitions, as far as they lack.

    All that can be wrong with the settings is found before anything is made. What was not made by
    ``init`` is used as it is; only a cluster gets the capacity providers that it lacks.

    Args:
        settings: Names and image; subnets, else those of the default VPC.
        plan: What shall be otherwise.
        here: Finds this machine's address, in place of `public_address` or, where workers have
            private addresses only, `private_address`.
        session: An ``aioboto3.Session`` in place of the settings' keys, profile and role.

    Raises:
        ConfigurationError: The settings do not fit together or to the account, or this machine's
            address is not known.
        CloudburstError: What `AWS.call` raises; what was made by then stays, and the next
            ``init`` goes on from there.
    """
    plan = plan or InitPlan()
    async with open_aws(settings, session=session) as aws:
        account = await aws.account()
        ground = await _survey(aws, settings, plan, here)
        hand = Hand(aws, rehearsal=plan.dry_run)
        _tell_subnets(hand, settings, ground.subnets)
        environment = await _make(hand, settings, plan, ground, account)
        if plan.env_file is not None:
            await _write(hand, plan.env_file, environment)
    return InitReport(
        account=account,
        region=aws.region,
        steps=tuple(hand.steps),
        environment=environment,
        dry_run=plan.dry_run,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What everything is built on."""

    subnets: Sequence[Subnet]
    vpc: str
    groups: Sequence[SecurityGroup]
    """Those that the settings name; else the one with our name, if it is there."""
    sources: Sequence[str]
    newest: Mapping[Architecture, dict[str, Any] | None]
    image: Image
    architectures: Sequence[Architecture]


async def _survey(
    aws: AWS,
    settings: Settings,
    plan: InitPlan,
    here: Callable[[], Awaitable[str]] | None,
) -> _Ground:
    hand = Hand(aws, rehearsal=True)
    names = families(settings.task_definition)
    if plan.open_to_world and plan.sources:
        raise ConfigurationError("open to the world or to sources: one of the two")
    if plan.arm64 is False and _on_arm(settings):
        raise ConfigurationError(f"ECS_TASK_DEFINITION is {names['ARM64']}: it needs ARM64")
    subnets = (
        await describe_subnets(aws, settings.subnets)
        if settings.subnets
        else await default_subnets(aws)
    )
    vpc = one_vpc(subnets)
    if settings.security_groups:
        groups: Sequence[SecurityGroup] = await describe_groups(aws, settings.security_groups)
        if strange := [group.id for group in groups if group.vpc != vpc]:
            told = ", ".join(strange)
            raise ConfigurationError(f"security groups {told} are not in {vpc}, the subnets' VPC")
    else:
        group = await find_group(aws, vpc)
        groups = [] if group is None else [group]
    newest: dict[Architecture, dict[str, Any] | None] = {
        architecture: await pieces.describe_newest(hand, family)
        for architecture, family in names.items()
    }
    image = _image(settings, plan, newest["X86_64"])
    arm = plan.arm64 if plan.arm64 is not None else (image.ours or _on_arm(settings))
    return _Ground(
        subnets=subnets,
        vpc=vpc,
        groups=groups,
        sources=await _sources(aws, settings, plan, vpc, here),
        newest=newest,
        image=image,
        architectures=("X86_64", "ARM64") if arm else ("X86_64",),
    )


async def _sources(
    aws: AWS,
    settings: Settings,
    plan: InitPlan,
    vpc: str,
    here: Callable[[], Awaitable[str]] | None,
) -> list[str]:
    if plan.open_to_world:
        return [WORLD]
    if plan.sources:
        return sorted({source(each) for each in plan.sources})
    try:
        if here is not None:
            address = await here()
        elif settings.public_address:
            address = await public_address()
        else:
            address = await private_address(await cidrs(aws, vpc))
    except ConfigurationError as exc:
        msg = f"{exc}; name with --from whence workers are reached, as 203.0.113.7"
        raise ConfigurationError(msg) from exc
    return [source(address)]


def _image(settings: Settings, plan: InitPlan, newest: Mapping[str, Any] | None) -> Image:
    protocol = plan.protocol or settings.protocol
    if protocol is None and is_ours(settings.image):
        protocol = Protocol.NATIVE
    if protocol is None and newest is not None:
        try:
            known = definition_of(newest, protocol=None)
        except ConfigurationError:
            known = None  # it is not one of ours: a new revision takes its place
        if known is not None and known.image == settings.image:
            protocol = known.protocol
    return Image(name=settings.image, protocol=protocol or Protocol.ONESTEP)


def _on_arm(settings: Settings) -> bool:
    return settings.task_definition.rpartition("/")[2].partition(":")[0].endswith(ARM_SUFFIX)


async def _make(
    hand: Hand, settings: Settings, plan: InitPlan, ground: _Ground, account: str
) -> dict[str, str]:
    fresh = await roles.service_role(hand)
    await pieces.cluster(hand, settings.cluster, fresh=fresh)
    await pieces.log_group(hand)
    role, fresh = await roles.execution_role(hand, account=account)
    groups = await _groups(hand, plan, ground)
    for architecture in ground.architectures:
        wanted = task_definition(
            settings, ground.image, architecture=architecture, region=hand.aws.region, role=role
        )
        found = ground.newest[architecture]
        without = None if found is None else {k: v for k, v in found.items() if k != "tags"}
        await pieces.definition(hand, wanted, without, fresh=fresh)
    return {
        "AWS_REGION": hand.aws.region,
        "AWS_SUBNET_ID": ",".join(subnet.id for subnet in ground.subnets),
        **({"AWS_SECURITY_GROUP_ID": ",".join(groups)} if groups else {}),
        "ECS_CLUSTER_NAME": settings.cluster,
        "ECS_TASK_DEFINITION": families(settings.task_definition)[
            "ARM64" if _on_arm(settings) else "X86_64"
        ],
        "DOCKER_IMAGE": settings.image,
    }


async def _groups(hand: Hand, plan: InitPlan, ground: _Ground) -> list[str]:
    """Ids of the security groups; none in a rehearsal that would make the only one."""
    # Of several named ones ours is the one to change; else one that lets the sources in will do.
    by_use = sorted(
        ground.groups,
        key=lambda group: (
            not group.ours,
            not all(any(d.covers(source) for d in group.doors) for source in ground.sources),
        ),
    )
    used = await pieces.security_group(
        hand,
        by_use[0] if by_use else None,
        vpc=ground.vpc,
        sources=ground.sources,
        keep=plan.keep_sources,
    )
    return [group.id for group in ground.groups] or ([used] if used else [])


def _tell_subnets(hand: Hand, settings: Settings, subnets: Sequence[Subnet]) -> None:
    needed = {Way.INTERNET} if settings.public_address else {Way.NAT, Way.OTHER}
    fitting = [subnet for subnet in subnets if subnet.way in needed]
    if fitting:
        name = fitting[0].id if len(fitting) == 1 else f"{len(fitting)} of {fitting[0].vpc}"
        hand.tell("subnets", name, Outcome.FOUND, f"in {zones(fitting)}")
    for subnet in subnets:
        if subnet.way not in needed:
            wanted = " or ".join(sorted(needed))
            other = "" if settings.public_address else ", or endpoints of ECR, S3 and Logs"
            detail = f"leads to {subnet.way}; tasks there need {wanted}{other}"
            hand.tell("subnet", subnet.id, Outcome.LEFT, detail)


async def _write(hand: Hand, path: Path, environment: Mapping[str, str]) -> None:
    try:
        changed = await anyio.to_thread.run_sync(
            lambda: update(path, environment, rehearsal=hand.rehearsal)
        )
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc}") from exc
    outcome = {None: Outcome.MADE, True: Outcome.CHANGED, False: Outcome.FOUND}[changed]
    hand.tell("settings", str(path), outcome)

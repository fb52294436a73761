"""``init``: creates or updates in an account the resources that tasks need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.fargate.task_definition import parse_task_definition
from cloudburst.aws.setup import resources, roles, security_groups
from cloudburst.aws.setup.changes import AccountChanges, SetupStep, StepOutcome
from cloudburst.aws.setup.env_file import write_settings
from cloudburst.aws.setup.public_ip import parse_source, private_address, public_address
from cloudburst.aws.setup.resource_definitions import (
    ARM_SUFFIX,
    WorkerImage,
    is_our_image,
    task_definition,
    task_families,
)
from cloudburst.aws.setup.security_groups import (
    SecurityGroup,
    describe_security_groups,
    find_security_group,
)
from cloudburst.aws.setup.subnets import (
    ANY_IPV4,
    DefaultRoute,
    Subnet,
    default_subnets,
    describe_subnets,
    has_fargate,
    single_vpc,
    vpc_cidrs,
    zone_names,
)
from cloudburst.errors import ConfigurationError
from cloudburst.models.prices import Architecture
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol

ROLE_PROPAGATION_SECONDS = 15.0
"""Age of a new role, in seconds, from which it can nearly always be assumed. Before that, RunTask
fails with "ECS was unable to assume the role", mostly for seconds and rarely for a minute
(https://github.com/artilleryio/artillery/pull/3198, 2024-06). IAM is eventually consistent and
names no figure: "Troubleshoot IAM" in its user guide (2026-11)."""

__all__ = ["InitOptions", "InitReport", "SetupStep", "StepOutcome", "init"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """Options of ``init``."""

    sources: tuple[str, ...] = ()
    """IPv4 addresses and CIDRs from which workers can be reached; empty for this machine's
    address."""
    open_to_world: bool = False
    """True to let every address reach workers, so that only their keys protect them."""
    keep_sources: bool = False
    """True to keep access for the sources that an earlier ``init`` let in."""
    protocol: Protocol | None = None
    """Protocol of the image. With ``None``, it is the first of these that is known: the settings'
    protocol, native for an image named ``cloudburst``, the protocol of the existing task definition
    with the same image, and onestep."""
    arm64: bool | None = None
    """True if the image is available for ARM64. With ``None``, this is assumed for our own image
    and for a task definition whose name ends in ``-arm64``."""
    env_file: Path | None = Path(".env")
    """File to write the settings to; ``None`` to write none."""
    dry_run: bool = False
    """True to change nothing and to report what would be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitReport:
    """Result of ``init``; in a dry run, the result that is expected."""

    account: str
    region: str
    steps: tuple[SetupStep, ...]
    environment: Mapping[str, str]
    """Settings of the account, by the names of their environment variables. In a dry run, settings
    that are unknown until a resource has been created are missing."""
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """True if anything was created or updated."""
        changes = {StepOutcome.CREATED, StepOutcome.UPDATED}
        return any(step.outcome in changes for step in self.steps)


async def init(
    settings: Settings,
    *,
    options: InitOptions | None = None,
    find_address: Callable[[], Awaitable[str]] | None = None,
    session: Any = None,
    on_wait: Callable[[str], None] | None = None,
) -> InitReport:
    """Create the cluster, log group, roles, security group and task definitions that are missing.

    Every error in the settings is found before anything is created. Resources that ``init`` did not
    create are used unchanged; only a cluster gets the capacity providers that it lacks. If the
    execution role is new, the function waits until AWS can be expected to know it everywhere, so
    that a run can start at once.

    Args:
        settings: Names of the resources, and the image. If the settings name no subnets, those of
            the default VPC are used.
        options: Options of the set-up; ``None`` for the defaults.
        find_address: Function that returns this machine's address, in place of `public_address` or,
            if workers have private addresses only, `private_address`.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.
        on_wait: Function to call with one line of text before a wait of several seconds.

    Raises:
        ConfigurationError: The settings contradict each other or do not fit the account, or this
            machine's address is unknown.
        CloudburstError: Any error of `AWSClient.call`. Resources that were created stay, and the
            next ``init`` continues from there.
    """
    options = options or InitOptions()
    async with open_aws(settings, session=session) as aws:
        account = await aws.account_id()
        plan = await _plan(aws, settings, options, find_address)
        changes = AccountChanges(aws, dry_run=options.dry_run, on_wait=on_wait)
        _record_subnets(changes, settings, plan)
        environment, usable_at = await _apply(changes, settings, options, plan, account)
        if options.env_file is not None:
            await _write_env_file(changes, options.env_file, environment)
        if (seconds := usable_at - anyio.current_time()) > 0:
            changes.announce_wait(
                f"waiting {seconds:.0f} s until AWS knows the new role everywhere"
            )
            await anyio.sleep(seconds)
    return InitReport(
        account=account,
        region=aws.region,
        steps=tuple(changes.steps),
        environment=environment,
        dry_run=options.dry_run,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SetupPlan:
    """Existing resources, and the decisions that ``init`` makes before it changes anything."""

    subnets: Sequence[Subnet]
    vpc: str
    groups: Sequence[SecurityGroup]
    """Security groups that the settings name. If they name none, the existing group with the name
    that ``init`` uses, if there is one."""
    sources: Sequence[str]
    """CIDRs from which workers can be reached."""
    newest: Mapping[Architecture, dict[str, Any] | None]
    """Newest revision of the task definition for each architecture; ``None`` if there is none."""
    image: WorkerImage
    architectures: Sequence[Architecture]


async def _plan(
    aws: AWSClient,
    settings: Settings,
    options: InitOptions,
    find_address: Callable[[], Awaitable[str]] | None,
) -> _SetupPlan:
    """Read the account, check the settings and return the plan, without changing anything."""
    families = task_families(settings.task_definition)
    if options.open_to_world and options.sources:
        msg = (
            "open_to_world and sources (--open and --from) are both given; expected one of the two"
        )
        raise ConfigurationError(msg)
    if options.arm64 is False and _is_arm64(settings):
        arm64 = families["ARM64"]
        raise ConfigurationError(f"ECS_TASK_DEFINITION is {arm64}, which needs an ARM64 image")
    subnets = (
        await describe_subnets(aws, settings.subnets)
        if settings.subnets
        else await default_subnets(aws, architecture=_architecture(settings))
    )
    vpc = single_vpc(subnets)
    groups = await _existing_groups(aws, settings, vpc)
    reader = AccountChanges(aws, dry_run=True)
    newest: dict[Architecture, dict[str, Any] | None] = {
        architecture: await resources.describe_newest(reader, family)
        for architecture, family in families.items()
    }
    image = _worker_image(settings, options, newest["X86_64"])
    arm64_too = options.arm64
    if arm64_too is None:
        arm64_too = image.runs_our_service or _is_arm64(settings)
    return _SetupPlan(
        subnets=subnets,
        vpc=vpc,
        groups=groups,
        sources=await _sources(aws, settings, options, vpc, find_address),
        newest=newest,
        image=image,
        architectures=("X86_64", "ARM64") if arm64_too else ("X86_64",),
    )


async def _existing_groups(aws: AWSClient, settings: Settings, vpc: str) -> Sequence[SecurityGroup]:
    if not settings.security_groups:
        group = await find_security_group(aws, vpc)
        return [] if group is None else [group]
    groups = await describe_security_groups(aws, settings.security_groups)
    if other_vpc := [group.id for group in groups if group.vpc != vpc]:
        names = ", ".join(other_vpc)
        msg = f"security groups {names} are not in {vpc}, the VPC of the subnets"
        raise ConfigurationError(f"{msg}: correct AWS_SECURITY_GROUP_ID")
    return groups


async def _sources(
    aws: AWSClient,
    settings: Settings,
    options: InitOptions,
    vpc: str,
    find_address: Callable[[], Awaitable[str]] | None,
) -> list[str]:
    if options.open_to_world:
        return [ANY_IPV4]
    if options.sources:
        return sorted({parse_source(each) for each in options.sources})
    try:
        if find_address is not None:
            address = await find_address()
        elif settings.public_address:
            address = await public_address()
        else:
            address = await private_address(await vpc_cidrs(aws, vpc))
    except ConfigurationError as exc:
        msg = f"{exc}: pass --from CIDR, for example 203.0.113.7/32"
        raise ConfigurationError(msg) from exc
    return [parse_source(address)]


def _worker_image(
    settings: Settings, options: InitOptions, newest: Mapping[str, Any] | None
) -> WorkerImage:
    protocol = options.protocol or settings.protocol
    if protocol is None and is_our_image(settings.image):
        protocol = Protocol.NATIVE
    if protocol is None and newest is not None:
        try:
            known = parse_task_definition(newest, protocol=None)
        except ConfigurationError:
            known = None  # not a task definition of ours: a new revision replaces it
        if known is not None and known.image == settings.image:
            protocol = known.protocol
    return WorkerImage(name=settings.image, protocol=protocol or Protocol.ONESTEP)


def _is_arm64(settings: Settings) -> bool:
    """Return whether the settings name the task definition for ARM64."""
    return settings.task_definition.rpartition("/")[2].partition(":")[0].endswith(ARM_SUFFIX)


def _architecture(settings: Settings) -> Architecture:
    """Return the architecture of the task definition that the settings name."""
    return "ARM64" if _is_arm64(settings) else "X86_64"


async def _apply(
    changes: AccountChanges,
    settings: Settings,
    options: InitOptions,
    plan: _SetupPlan,
    account: str,
) -> tuple[dict[str, str], float]:
    """Create and update the resources of the account.

    Returns:
        The settings of the account, and the time, in seconds of `anyio.current_time`, from which
        the execution role can be assumed.
    """
    new_role = await roles.ensure_service_role(changes)
    await resources.ensure_cluster(changes, settings.cluster, new_role=new_role)
    await resources.ensure_log_group(changes)
    role, new_role = await roles.ensure_execution_role(
        changes, account=account, image=plan.image.name
    )
    usable_at = anyio.current_time() + ROLE_PROPAGATION_SECONDS if new_role else 0.0
    groups = await _ensure_security_groups(changes, options, plan)
    for architecture in plan.architectures:
        required = task_definition(
            settings, plan.image, architecture=architecture, region=changes.aws.region, role=role
        )
        found = plan.newest[architecture]
        untagged = None if found is None else {k: v for k, v in found.items() if k != "tags"}
        await resources.ensure_task_definition(changes, required, untagged, new_role=new_role)
    environment = {
        "AWS_REGION": changes.aws.region,
        "AWS_SUBNET_ID": ",".join(subnet.id for subnet in plan.subnets),
        **({"AWS_SECURITY_GROUP_ID": ",".join(groups)} if groups else {}),
        "ECS_CLUSTER_NAME": settings.cluster,
        "ECS_TASK_DEFINITION": task_families(settings.task_definition)[_architecture(settings)],
        "DOCKER_IMAGE": settings.image,
    }
    return environment, usable_at


async def _ensure_security_groups(
    changes: AccountChanges, options: InitOptions, plan: _SetupPlan
) -> list[str]:
    """Create or update the security group, and return the ids of all security groups of tasks.

    The result is empty in a dry run that would create the only group.
    """

    def lets_sources_in(group: SecurityGroup) -> bool:
        return all(any(rule.covers(source) for rule in group.rules) for source in plan.sources)

    # Of several groups, the one that init created is changed; without one, a group that lets the
    # sources in is enough.
    groups = sorted(
        plan.groups,
        key=lambda group: (not group.created_by_init, not lets_sources_in(group)),
    )
    group_id = await security_groups.ensure_security_group(
        changes,
        groups[0] if groups else None,
        vpc=plan.vpc,
        sources=plan.sources,
        keep=options.keep_sources,
    )
    # Tasks get all groups, and a source reaches them if one group lets it in.
    for group in groups[1:]:
        security_groups.record_open_rules(changes, group, group.rules, plan.sources)
    return [group.id for group in plan.groups] or ([group_id] if group_id else [])


def _record_subnets(changes: AccountChanges, settings: Settings, plan: _SetupPlan) -> None:
    """Record the subnets that tasks can use, and the problems of the others."""
    usable = (
        {DefaultRoute.INTERNET_GATEWAY}
        if settings.public_address
        else {DefaultRoute.NAT_GATEWAY, DefaultRoute.OTHER_NETWORK}
    )
    architecture = _architecture(settings)
    fitting = [subnet for subnet in plan.subnets if subnet.default_route in usable]
    if fitting:
        name = fitting[0].id if len(fitting) == 1 else f"{len(fitting)} of {fitting[0].vpc}"
        changes.record("subnets", name, StepOutcome.FOUND, f"in {zone_names(fitting)}")
    for subnet in plan.subnets:
        if subnet.default_route not in usable:
            targets = " or ".join(sorted(usable))
            endpoints = "" if settings.public_address else ", or endpoints of ECR, S3 and Logs"
            detail = f"routes to {subnet.default_route}; tasks there need {targets}{endpoints}"
            changes.record("subnet", subnet.id, StepOutcome.KEPT, detail)
        if not has_fargate(changes.aws.region, subnet.zone_id, architecture):
            detail = f"in {subnet.zone_id}, where Fargate runs no {architecture} tasks"
            detail += ": remove it from AWS_SUBNET_ID"
            changes.record("subnet", subnet.id, StepOutcome.KEPT, detail)


async def _write_env_file(
    changes: AccountChanges, path: Path, environment: Mapping[str, str]
) -> None:
    try:
        changed = await anyio.to_thread.run_sync(
            lambda: write_settings(path, environment, dry_run=changes.dry_run)
        )
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc}") from exc
    outcomes = {
        None: StepOutcome.CREATED,
        True: StepOutcome.UPDATED,
        False: StepOutcome.FOUND,
    }
    changes.record("settings", str(path), outcomes[changed])

"""``init``: creates or updates in an account the resources that tasks need."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from dotenv import dotenv_values, set_key

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.ec2 import find_obstacles
from cloudburst.aws.fargate.task_definition import named_architecture, task_families
from cloudburst.aws.s3.destination_check import check_destination
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.setup import resources
from cloudburst.aws.setup.changes import AccountChanges, Resource, SetupStep, StepOutcome
from cloudburst.aws.setup.init_plan import (
    InitOptions,
    SetupPlan,
    plan_setup,
)
from cloudburst.aws.setup.network import DefaultRoute, zone_names
from cloudburst.aws.setup.own_image import (
    BuildImage,
    ImageProgress,
    OwnImage,
    announce_upload,
    prepare_own_image,
    push_own_image,
)
from cloudburst.aws.setup.resource_definitions import (
    reference_to_set_up,
    task_definition,
)
from cloudburst.aws.setup.security_groups import (
    SecurityGroup,
    describe_security_groups,
    find_security_group,
    group_resource,
    open_rules_text,
)
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import OWN_IMAGE, Settings

# Age of a new role, in seconds, from which it can nearly always be assumed. Before that, RunTask
# fails with "ECS was unable to assume the role", mostly for seconds and rarely for a minute
# (https://github.com/artilleryio/artillery/pull/3198, 2024-06). IAM is eventually consistent and
# names no figure: "Troubleshoot IAM" in its user guide (2026-11).
ROLE_PROPAGATION_SECONDS = 15.0

__all__ = ["InitOptions", "InitReport", "SetupStep", "StepOutcome", "init"]


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
    on_progress: Callable[[ImageProgress], None] | None = None,
    build_image: BuildImage | None = None,
) -> InitReport:
    """Create the cluster, log group, roles, security group and task definitions that are missing.

    Our own image, the default, is built and pushed to the account's ECR registry, if it is missing
    there. Every error in the settings is found, and the image is built, before anything is created.
    Resources that ``init`` did not create are used unchanged; only a cluster gets the capacity
    providers that it lacks. If the execution role is new, the function waits until AWS can be
    expected to know it everywhere, so that a run can start at once.

    Args:
        settings: Names of the resources, and the image. If the settings name no subnets, those of
            the default VPC are used; if they name no task definition, a family of our own.
        options: Options of the set-up; ``None`` for the defaults.
        find_address: Function that returns this machine's address, in place of `public_address` or,
            if workers have private addresses only, `private_address`.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.
        on_wait: Function to call with one line of text before a wait of several seconds.
        on_progress: Function to call with the progress of the image's build and of its upload.
        build_image: Function that builds our image, in place of `cloudburst.image.build_image`.

    Raises:
        ConfigurationError: The settings contradict each other or do not fit the account, this
            machine's address is unknown, or a task definition exists with another image.
        ImageError: Our image cannot be built or pushed.
        CloudburstError: Any error of `AWSClient.call`. Resources that were created stay, and the
            next ``init`` continues from there.
    """
    options = options or InitOptions()
    reference = reference_to_set_up(settings)
    base = options.base or settings.base_image
    settings = settings.model_copy(update={"task_definition": reference, "base_image": base})
    async with open_aws(settings, session=session) as aws:
        account = await aws.account_id()
        store = ObjectStore(aws, settings)
        checked = [
            await check_destination(store, folder, write=not options.dry_run, account=account)
            for folder in options.s3
        ]
        plan = await plan_setup(aws, settings, options, find_address)
        own: OwnImage | None = None
        if settings.image == OWN_IMAGE:
            own = await prepare_own_image(
                aws,
                plan.image_options(settings),
                dry_run=options.dry_run,
                build=build_image,
                on_progress=on_progress,
            )
            plan = replace(plan, image=replace(plan.image, name=own.reference))
        changes = AccountChanges(aws, dry_run=options.dry_run, on_wait=on_wait)
        if own is not None:
            if options.arm64 is None and "ARM64" not in plan.architectures:
                changes.announce_wait(
                    "ARM64 is left out: its pixel kernel is not in this installation; to add it, "
                    "run pip install ziglang, then cloudburst init"
                )
            announce_upload(changes, own)
        _record_subnets(changes, settings, plan)
        for check in checked:
            changes.record("S3 folder", str(check.prefix), StepOutcome.FOUND, check.detail)

        async def push_image() -> None:
            if own is not None:
                await push_own_image(changes, own, on_progress)

        environment, usable_at = await _apply(
            changes, settings, options, plan, account=account, push_image=push_image
        )
        if options.env_file is not None:
            await write_env_file(changes, options.env_file, environment)
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


async def _apply(
    changes: AccountChanges,
    settings: Settings,
    options: InitOptions,
    plan: SetupPlan,
    *,
    account: str,
    push_image: Callable[[], Awaitable[None]],
) -> tuple[dict[str, str], float]:
    """Return the settings of the account, and the time from which its role can be assumed."""
    aws, image = changes.aws, plan.image.name
    await changes.ensure(partial(resources.read_service_role, aws))
    settling = changes.has_changed("service role")
    await changes.ensure(partial(resources.read_cluster, aws, settings.cluster), settling=settling)
    await changes.ensure(partial(resources.read_log_group, aws))
    role = await changes.ensure(partial(resources.read_execution_role, aws, account, image))
    changed = changes.has_changed("execution role")
    usable_at = anyio.current_time() + ROLE_PROPAGATION_SECONDS if changed else 0.0
    groups = await _ensure_security_groups(changes, options, plan)
    await push_image()
    for architecture in plan.architectures:
        required = task_definition(
            settings, plan.image, architecture=architecture, region=aws.region, role=role.arn
        )
        read = partial(resources.read_task_definition, aws, required)
        await changes.ensure(read, settling=changed or role.is_new)
    families = task_families(settings.task_definition)
    environment = {
        "AWS_REGION": changes.aws.region,
        "AWS_SUBNET_ID": ",".join(subnet.id for subnet in plan.subnets),
        **({"AWS_SECURITY_GROUP_ID": ",".join(groups)} if groups else {}),
        "ECS_CLUSTER_NAME": settings.cluster,
        "ECS_TASK_DEFINITION": families[named_architecture(settings.task_definition)],
        "DOCKER_IMAGE": settings.image,
        **({"CLOUDBURST_BASE_IMAGE": settings.base_image} if settings.base_image else {}),
    }
    return environment, usable_at


async def _ensure_security_groups(
    changes: AccountChanges, options: InitOptions, plan: SetupPlan
) -> list[str]:
    """Return the ids of all groups of tasks; none in a dry run that would create the only one."""
    aws = changes.aws

    def lets_sources_in(group: SecurityGroup) -> bool:
        return all(any(rule.covers(source) for rule in group.rules) for source in plan.sources)

    # Of several groups, the one that init created is changed; without one, a group that lets the
    # sources in is enough.
    groups = sorted(
        plan.groups,
        key=lambda group: (not group.created_by_init, not lets_sources_in(group)),
    )

    async def read() -> Resource:
        found = (
            (await describe_security_groups(aws, [groups[0].id]))[0]
            if groups
            else await find_security_group(aws, plan.vpc)
        )
        return group_resource(
            found, aws.region, vpc=plan.vpc, sources=plan.sources, keep=options.keep_sources
        )

    first = await changes.ensure(read)
    # Tasks get all groups, and a source reaches them if one group lets it in.
    for group in groups[1:]:
        if text := open_rules_text(group, aws.region, group.rules, plan.sources):
            changes.record(first.kind, group.id, StepOutcome.KEPT, text)
    return [group.id for group in plan.groups] or ([first.name] if first.exists else [])


def _record_subnets(changes: AccountChanges, settings: Settings, plan: SetupPlan) -> None:
    usable = (
        {DefaultRoute.INTERNET_GATEWAY}
        if settings.public_address
        else {DefaultRoute.NAT_GATEWAY, DefaultRoute.OTHER_NETWORK}
    )
    architecture = named_architecture(settings.task_definition)
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
    described, region = [each.described for each in plan.subnets], changes.aws.region
    found = find_obstacles(described, settings, region=region, architecture=architecture)
    for (reason, fix), idents in found.items():
        changes.record("subnet", ", ".join(idents), StepOutcome.KEPT, f"{reason}: {fix}")


def write_settings(path: Path, values: Mapping[str, str], *, dry_run: bool = False) -> StepOutcome:
    """Write settings to a ``.env`` file, or with ``dry_run`` find out whether it would change.

    Each line is replaced atomically, and the file keeps its mode; only its owner may read a new
    file. If the path is a symbolic link, the file that it points to is changed. Raises `OSError`.
    """
    path = Path(os.path.realpath(path))
    before = dotenv_values(path, interpolate=False) if path.exists() else None
    changed = {name: text for name, text in values.items() if (before or {}).get(name) != text}
    for name, text in () if dry_run else changed.items():
        set_key(path, name, text, quote_mode="never")
    if before is None:
        return StepOutcome.CREATED
    return StepOutcome.UPDATED if changed else StepOutcome.FOUND


async def write_env_file(
    changes: AccountChanges, path: Path, environment: Mapping[str, str]
) -> None:
    """Write settings to the ``.env`` file, and record the step.

    Raises `ConfigurationError` if the file cannot be written.
    """
    try:
        outcome = await anyio.to_thread.run_sync(
            lambda: write_settings(path, environment, dry_run=changes.dry_run)
        )
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc}") from exc
    changes.record("settings", str(path), outcome)

"""``doctor``: checks everything that a run on Fargate needs, concurrently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from anyio import create_task_group

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.setup import check_caller, check_image, check_network, check_resources
from cloudburst.aws.setup.checks import (
    Check,
    CheckContext,
    CheckStatus,
    DoctorReport,
    passed,
    warning,
)
from cloudburst.concurrency import collapse_single
from cloudburst.errors import (
    AccessDeniedError,
    CloudburstError,
    CredentialsError,
)
from cloudburst.models.limits import Limits
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.renderer.confinement.decoders import missing_layers

__all__ = ["Check", "CheckStatus", "DoctorReport", "doctor"]

CheckFunction = Callable[[CheckContext], Awaitable[Sequence[Check]]]


async def check_confinement(_: CheckContext | None = None) -> Sequence[Check]:
    """Check whether the process that decodes files of others is confined on this machine."""
    if missing := missing_layers():
        fix = "use Linux 5.13 or later on x86-64 or ARM64, with the boot option lsm=landlock,…"
        return [warning("confinement", f"missing on this machine: {'; '.join(missing)}", fix)]
    return [passed("confinement", "Landlock and seccomp confine what decodes files here")]


CHECKS: tuple[tuple[str, CheckFunction], ...] = (
    ("credentials", check_caller.check_credentials),
    ("region", check_caller.check_region),
    ("permissions", check_caller.check_permissions),
    ("cluster", check_resources.check_cluster),
    ("task definition", check_resources.check_task_definition),
    ("platforms", check_image.check_platforms),
    ("execution role", check_resources.check_execution_role),
    ("logs", check_resources.check_logs),
    ("subnets", check_network.check_subnets),
    ("security group", check_network.check_security_groups),
    ("quota", check_caller.check_quotas),
    ("confinement", check_confinement),
)
"""Names and functions of the checks, in the order of the report. If a check cannot be made, its
name begins the line that says so."""


async def doctor(
    settings: Settings,
    *,
    tasks: int | None = None,
    tier: Tier = Tier.STANDARD,
    find_address: Callable[[], Awaitable[str]] | None = None,
    session: Any = None,
) -> DoctorReport:
    """Check credentials, permissions, cluster, task definition, network and quotas.

    Nothing in the account is changed. A check that cannot be made is reported as a warning and does
    not prevent the others.

    Args:
        settings: Settings of the planned run.
        tasks: Number of tasks that the planned run starts at once; ``None`` for the number of
            workers in ``Limits``.
        tier: Size of these tasks.
        find_address: Function that returns this machine's address as workers see it; ``None`` to
            find out the address, as `init` does.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.

    Raises:
        CredentialsError: The profile does not exist, or boto's configuration is invalid.
    """
    results: dict[str, Sequence[Check]] = {}
    async with open_aws(settings, session=session) as aws:
        number = Limits().workers if tasks is None else tasks
        context = CheckContext(aws, settings, tasks=number, tier=tier, find_address=find_address)

        with collapse_single():
            async with create_task_group() as group:
                for name, check in CHECKS:
                    group.start_soon(_run_check, name, check, context, results)
        checks = tuple(check for name, _ in CHECKS for check in results[name])
        return DoctorReport(region=aws.region, checks=checks)


async def _run_check(
    name: str, check: CheckFunction, context: CheckContext, results: dict[str, Sequence[Check]]
) -> None:
    try:
        results[name] = await check(context)
    except CredentialsError:
        results[name] = [warning(name, "not checked: AWS rejects the credentials")]
    except AccessDeniedError as exc:
        fix = "allow the actions of: cloudburst init --policy doctor"
        results[name] = [warning(name, f"not checked: {exc}", fix)]
    except CloudburstError as exc:
        results[name] = [warning(name, f"not checked: {exc}")]

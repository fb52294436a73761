"""Looks at everything that a run on Fargate needs, all at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from anyio import create_task_group

from cloudburst.account import check_caller, check_network, check_tasks
from cloudburst.account.diagnosis import Check, Diagnosis, Look, State, failure, warning
from cloudburst.adapters.aws.session import open_aws
from cloudburst.engine.groups import unwrapped
from cloudburst.errors import (
    AccessDeniedError,
    CloudburstError,
    ConfigurationError,
    CredentialsError,
)
from cloudburst.models.policy import Limits
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier

__all__ = ["Check", "Diagnosis", "State", "doctor"]

Probe = Callable[[Look], Awaitable[Sequence[Check]]]

PROBES: tuple[tuple[str, Probe], ...] = (
    ("credentials", check_caller.credentials),
    ("region", check_caller.region),
    ("permissions", check_caller.permissions),
    ("cluster", check_tasks.cluster),
    ("task definition", check_tasks.definition),
    ("execution role", check_tasks.execution_role),
    ("logs", check_tasks.logs),
    ("subnets", check_network.subnets),
    ("security group", check_network.security_groups),
    ("quota", check_caller.quotas),
)
"""In the order in which they are told."""


async def doctor(
    settings: Settings,
    *,
    tasks: int | None = None,
    tier: Tier = Tier.STANDARD,
    here: Callable[[], Awaitable[str]] | None = None,
    session: Any = None,
) -> Diagnosis:
    """Look at credentials, cluster, task definition, network, quotas and permissions.

    Changes nothing. What cannot be looked at is a check of its own, and holds up no other.

    Args:
        settings: What a run would be given.
        tasks: Tasks at once that it would ask for; ``None``: as many as ``Limits`` has workers.
        tier: Their size.
        here: Finds this machine's address, as workers see it; ``None``: see `init`.
        session: An ``aioboto3.Session`` in place of the settings' keys, profile and role.

    Raises:
        CredentialsError: There is no such profile, or boto's configuration is wrong.
    """
    found: dict[str, Sequence[Check]] = {}
    async with open_aws(settings, session=session) as aws:
        wanted = Limits().workers if tasks is None else tasks
        look = Look(aws, settings, tasks=wanted, tier=tier, here=here)

        async def run(name: str, probe: Probe) -> None:
            found[name] = await _guarded(name, probe, look)

        with unwrapped():
            async with create_task_group() as group:
                for name, probe in PROBES:
                    group.start_soon(run, name, probe)
        checks = tuple(check for name, _ in PROBES for check in found[name])
        return Diagnosis(region=aws.region, checks=checks)


async def _guarded(name: str, probe: Probe, look: Look) -> Sequence[Check]:
    """What the probe has found, or why it could not look."""
    try:
        return await probe(look)
    except CredentialsError:
        return [warning(name, "not checked: AWS does not take the credentials")]
    except AccessDeniedError as exc:
        mend = "allow what this prints: cloudburst init --policy doctor"
        return [warning(name, f"not checked: {exc}", mend)]
    except ConfigurationError as exc:
        return [failure(name, str(exc), "correct that setting")]
    except CloudburstError as exc:
        return [warning(name, f"not checked: {exc}")]

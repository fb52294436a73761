"""Results of the checks of an account, their report, and the context that checks share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.fargate.task_definition import TaskDefinition, parse_task_definition
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier

INIT = "cloudburst init"
"""Command that fixes most failed checks."""


class CheckStatus(StrEnum):
    """Status of a check."""

    PASSED = "passed"
    WARNING = "warning"
    """A run would work but something could be better, or the check could not be made."""
    FAILED = "failed"
    """A run would not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of a check: a line of ``cloudburst doctor``."""

    name: str
    """Subject of the check: ``credentials``, ``cluster``…"""
    status: CheckStatus
    found: str
    """Finding of the check, in one sentence."""
    fix: str = ""
    """Command or step that fixes the problem; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """Result of ``doctor``: the checks, in an order in which problems can be fixed."""

    region: str
    checks: tuple[Check, ...]

    @property
    def success(self) -> bool:
        """True if no check failed: a run would work, as far as the checks can see."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """Checks that failed."""
        return tuple(check for check in self.checks if check.status is CheckStatus.FAILED)


def passed(name: str, found: str) -> Check:
    """Return a check that passed."""
    return Check(name=name, status=CheckStatus.PASSED, found=found)


def warning(name: str, found: str, fix: str = "") -> Check:
    """Return a check with a warning."""
    return Check(name=name, status=CheckStatus.WARNING, found=found, fix=fix)


def failed(name: str, found: str, fix: str = INIT) -> Check:
    """Return a check that failed."""
    return Check(name=name, status=CheckStatus.FAILED, found=found, fix=fix)


@dataclass(eq=False, slots=True, repr=False)
class CheckContext:
    """The account, the settings and the planned run that all checks share."""

    aws: AWSClient
    settings: Settings
    tasks: int
    """Number of tasks that the planned run starts at once."""
    tier: Tier
    find_address: Callable[[], Awaitable[str]] | None = None
    """Function of the caller that returns the address of this machine."""
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _results: dict[str, dict[str, Any] | CloudburstError] = field(
        default_factory=dict[str, dict[str, Any] | CloudburstError]
    )

    async def identity(self) -> dict[str, Any]:
        """Return the response of GetCallerIdentity."""
        return await self._once("sts", "get_caller_identity")

    async def task_definition(self) -> dict[str, Any]:
        """Return the task definition as DescribeTaskDefinition describes it."""
        name = self.settings.task_definition
        response = await self._once("ecs", "describe_task_definition", taskDefinition=name)
        definition: dict[str, Any] = response["taskDefinition"]
        return definition

    async def _once(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        async with self._lock:
            if operation not in self._results:
                try:
                    response = await self.aws.call(service, operation, **parameters)
                    self._results[operation] = response
                except CloudburstError as exc:
                    self._results[operation] = exc
        if isinstance(result := self._results[operation], CloudburstError):
            raise result
        return result

    async def definition(self) -> TaskDefinition | None:
        """Return the task definition; ``None`` if it cannot be read or has no worker."""
        try:
            described = await self.task_definition()
            return parse_task_definition(described, protocol=self.settings.protocol)
        except CloudburstError:
            return None

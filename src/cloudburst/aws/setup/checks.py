"""Results of the checks of an account, their report, and the context that checks share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.fargate.task_definition import TaskDefinition, parse_task_definition
from cloudburst.aws.setup.client_address import find_client_address
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier

T = TypeVar("T")

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

    @property
    def warnings(self) -> tuple[Check, ...]:
        """Checks with a warning."""
        return tuple(check for check in self.checks if check.status is CheckStatus.WARNING)


def passed(name: str, found: str) -> Check:
    """Return a check that passed."""
    return Check(name=name, status=CheckStatus.PASSED, found=found)


def warning(name: str, found: str, fix: str = "") -> Check:
    """Return a check with a warning."""
    return Check(name=name, status=CheckStatus.WARNING, found=found, fix=fix)


def failed(name: str, found: str, fix: str = INIT) -> Check:
    """Return a check that failed."""
    return Check(name=name, status=CheckStatus.FAILED, found=found, fix=fix)


class CachedCall(Generic[T]):
    """A call that is made once and whose result, or error, all callers share."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._lock = anyio.Lock()
        self._result: tuple[T] | None = None
        self._error: CloudburstError | None = None

    async def __call__(self) -> T:
        """Make the call if it was not made before, and return its result or raise its error."""
        async with self._lock:
            if self._error is not None:
                raise self._error
            if self._result is None:
                try:
                    self._result = (await self._call(),)
                except CloudburstError as exc:
                    self._error = exc
                    raise
            return self._result[0]


class CheckContext:
    """The account, the settings and the planned run that all checks share."""

    def __init__(
        self,
        aws: AWSClient,
        settings: Settings,
        *,
        tasks: int,
        tier: Tier,
        find_address: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.aws = aws
        self.settings = settings
        self.tasks = tasks
        """Number of tasks that the planned run starts at once."""
        self.tier = tier
        self._find_address = find_address
        self.identity = CachedCall(self._identity)
        """Cached call that returns the response of GetCallerIdentity."""
        self.task_definition = CachedCall(self._task_definition)
        """Cached call that returns the task definition as DescribeTaskDefinition describes it."""

    async def definition(self) -> TaskDefinition | None:
        """Return the task definition; ``None`` if it cannot be read or has no worker."""
        try:
            described = await self.task_definition()
            return parse_task_definition(described, protocol=self.settings.protocol)
        except CloudburstError:
            return None

    async def client_address(self, vpc: str) -> str:
        """Return the address of this machine, as workers see it.

        Raises:
            ConfigurationError: The address cannot be found.
        """
        if self._find_address is not None:
            return await self._find_address()
        return await find_client_address(self.aws, self.settings, vpc)

    async def _identity(self) -> dict[str, Any]:
        return await self.aws.call("sts", "get_caller_identity")

    async def _task_definition(self) -> dict[str, Any]:
        response = await self.aws.call(
            "ecs", "describe_task_definition", taskDefinition=self.settings.task_definition
        )
        definition: dict[str, Any] = response["taskDefinition"]
        return definition

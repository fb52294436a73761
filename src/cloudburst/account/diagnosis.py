"""What a look at an account has found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

import anyio

from cloudburst.account.here import private_address, public_address
from cloudburst.account.network import cidrs
from cloudburst.adapters.aws.session import AWS
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier

T = TypeVar("T")

INIT = "cloudburst init"
"""What mends most of what can be wrong."""


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and could be better; or it could not be looked at."""
    FAILURE = "failure"
    """A run would not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    """``credentials``, ``cluster``…"""
    state: State
    found: str
    mend: str = ""
    """The command or the step that mends it; empty where nothing needs to be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All checks, in an order in which they can be mended."""

    region: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether a run would work, as far as can be seen from here."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """What must be mended."""
        return tuple(check for check in self.checks if check.state is State.FAILURE)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """What could be better."""
        return tuple(check for check in self.checks if check.state is State.WARNING)


def ok(name: str, found: str) -> Check:
    """As it should be."""
    return Check(name=name, state=State.OK, found=found)


def warning(name: str, found: str, mend: str = "") -> Check:
    """It works, and could be better."""
    return Check(name=name, state=State.WARNING, found=found, mend=mend)


def failure(name: str, found: str, mend: str = INIT) -> Check:
    """A run would not work."""
    return Check(name=name, state=State.FAILURE, found=found, mend=mend)


class Once(Generic[T]):
    """An answer that many want and one asks for; a refusal is an answer too."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._turn = anyio.Lock()
        self._answer: tuple[T] | None = None
        self._refusal: CloudburstError | None = None

    async def __call__(self) -> T:
        """The answer. Raises what asking raised."""
        async with self._turn:
            if self._refusal is not None:
                raise self._refusal
            if self._answer is None:
                try:
                    self._answer = (await self._ask(),)
                except CloudburstError as exc:
                    self._refusal = exc
                    raise
            return self._answer[0]


class Look:
    """What checks share: the account, the settings, and what a run would ask for."""

    def __init__(
        self,
        aws: AWS,
        settings: Settings,
        *,
        tasks: int,
        tier: Tier,
        here: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.aws = aws
        self.settings = settings
        self.tasks = tasks
        self.tier = tier
        self._here = here
        self.identity = Once(self._identity)
        """GetCallerIdentity's answer."""
        self.definition = Once(self._definition)
        """The described task definition."""

    async def address(self, vpc: str) -> str:
        """This machine's, as workers see it. Raises `ConfigurationError` where it is unknown."""
        if self._here is not None:
            return await self._here()
        if self.settings.public_address:
            return await public_address()
        return await private_address(await cidrs(self.aws, vpc))

    async def _identity(self) -> dict[str, Any]:
        return await self.aws.call("sts", "get_caller_identity")

    async def _definition(self) -> dict[str, Any]:
        answer = await self.aws.call(
            "ecs", "describe_task_definition", taskDefinition=self.settings.task_definition
        )
        definition: dict[str, Any] = answer["taskDefinition"]
        return definition

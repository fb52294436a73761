"""The hand that changes an account, or only points at what it would change."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cloudburst.adapters.aws.session import AWS


class Outcome(StrEnum):
    """What became of one thing. In a rehearsal: what would."""

    FOUND = "found"
    """It is as it should be."""
    MADE = "made"
    CHANGED = "changed"
    REMOVED = "removed"
    LEFT = "left"
    """It stays as it is, although it is not as it might be, or not ours."""
    FAILED = "failed"
    """AWS has refused to remove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing in the account, and what was done about it."""

    what: str
    """``cluster``, ``security group``…"""
    name: str
    """AWS's name or id; empty when it has none yet."""
    outcome: Outcome
    detail: str = ""
    """What was changed, or why it was left."""


@dataclass(slots=True)
class Hand:
    """Asks and changes, and keeps the list of what was done."""

    aws: AWS
    rehearsal: bool = False
    """Whether nothing may be changed."""
    steps: list[Step] = field(default_factory=list[Step])

    async def ask(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """A question, which changes nothing. Raises as `AWS.call` does."""
        return await self.aws.call(service, operation, **parameters)

    async def change(
        self, service: str, operation: str, **parameters: Any
    ) -> dict[str, Any] | None:
        """A change; in a rehearsal nothing, and ``None``. Raises as `AWS.call` does."""
        if self.rehearsal:
            return None
        return await self.aws.call(service, operation, **parameters)

    def tell(self, what: str, name: str, outcome: Outcome, detail: str = "") -> None:
        """Note what became of a thing."""
        self.steps.append(Step(what=what, name=name, outcome=outcome, detail=detail))

"""Recorder of the changes that ``init`` and ``destroy`` make in an account."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.errors import AWSError
from cloudburst.models.limits import Backoff

CONSISTENCY_BACKOFF = Backoff(first=2.0, factor=1.5, cap=8.0)
"""Delays, in seconds, between attempts of a call that fails until an earlier change has taken
effect everywhere in AWS."""

_CREATED_MEANWHILE: Mapping[str, Collection[str]] = {
    "authorize_security_group_ingress": ("InvalidPermission.Duplicate",),
    "create_log_group": ("ResourceAlreadyExistsException",),
    "create_repository": ("RepositoryAlreadyExistsException",),
    "create_role": ("EntityAlreadyExists",),
    "create_security_group": ("InvalidGroup.Duplicate",),
    "create_service_linked_role": ("EntityAlreadyExists", "InvalidInput"),
}
"""Error codes of operations that create a resource, if the resource exists. They follow a call that
did not find it. ECS returns an existing cluster, and registers one more revision. The sources are
the API references of the services (2026-11)."""


class StepOutcome(StrEnum):
    """Outcome of ``init`` or ``destroy`` for one resource; in a dry run, the expected outcome."""

    FOUND = "found"
    """The resource is as required: nothing was changed."""
    CREATED = "created"
    UPDATED = "updated"
    REMOVED = "removed"
    KEPT = "kept"
    """The resource was left unchanged: it differs from what is required, or ``init`` did not create
    it."""
    FAILED = "failed"
    """AWS refused to remove the resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStep:
    """Step of ``init`` or ``destroy``: a resource and what was done about it."""

    resource: str
    """Type of the resource: ``cluster``, ``security group``…"""
    name: str
    """Name or id of the resource in AWS; empty if the resource has none yet."""
    outcome: StepOutcome
    detail: str = ""
    """Details for the user, such as the update or the reason why the resource was kept."""


@dataclass(slots=True)
class AccountChanges:
    """An account to read and to change, with a record of every step."""

    aws: AWSClient
    dry_run: bool = False
    """True if no change may be made."""
    steps: list[SetupStep] = field(default_factory=list[SetupStep])
    on_wait: Callable[[str], None] | None = None
    """Function to call with one line of text before a wait of several seconds; ``None`` for
    none."""

    def announce_wait(self, reason: str) -> None:
        """Pass the reason of a wait to `on_wait`, if it is set."""
        if self.on_wait is not None:
            self.on_wait(reason)

    async def read(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation that changes nothing. Raises the errors of `AWSClient.call`."""
        return await self.aws.call(service, operation, **parameters)

    async def change(
        self, service: str, operation: str, **parameters: Any
    ) -> dict[str, Any] | None:
        """Call an operation that changes the account; in a dry run, return ``None`` without a call.

        Raises the errors of `AWSClient.call`. If a resource that did not exist before exists now,
        the error says to run the command again.
        """
        if self.dry_run:
            return None
        try:
            return await self.aws.call(service, operation, **parameters)
        except AWSError as exc:
            if exc.code not in _CREATED_MEANWHILE.get(operation, ()):
                raise
            msg = f"{exc}: perhaps another init runs in this account; when it has ended, run this"
            raise AWSError(
                f"{msg} command again, which continues from here", code=exc.code
            ) from exc

    def record(self, resource: str, name: str, outcome: StepOutcome, detail: str = "") -> None:
        """Add a step for one resource to `steps`."""
        self.steps.append(SetupStep(resource=resource, name=name, outcome=outcome, detail=detail))

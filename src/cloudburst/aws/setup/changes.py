"""Changes of an account by ``init`` and ``destroy``: a loop that creates, and one that removes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import or_none
from cloudburst.aws.setup.resource_definitions import STACK_TAG, Tags, has_our_tags, tag_values
from cloudburst.concurrency import poll
from cloudburst.errors import AccessDeniedError, AWSError, CloudburstError, ResourceMissingError
from cloudburst.models.limits import Backoff
from cloudburst.text import printable_line

CONSISTENCY_BACKOFF = Backoff(first=2.0, factor=1.5, cap=8.0)
"""Delays, in seconds, between attempts of a call that fails until an earlier change has taken
effect everywhere in AWS."""
# Seconds for which changes of a resource are repeated while AWS does not know an earlier change
# everywhere. IAM is eventually consistent: "Troubleshoot IAM" in its user guide (2026-11), which
# names no figure. Conditions of policies may not see the tags of a new resource at once
# (https://github.com/hashicorp/terraform-provider-aws/issues/28012).
SETTLE_TIMEOUT = 60.0
REMOVAL_TIMEOUT = 150.0
"""Seconds for which the removal of a resource that is still in use is repeated. A stopping task
uses its security group until it has stopped, which takes its stop timeout, at most 120 s, and some
seconds."""
USED_UNCHANGED = "not created by init, used unchanged"
"""Note about a resource of others that is as required."""
# Error codes of operations that create a resource, if it exists: another ``init`` has created it
# since it was read. IAM answers InvalidInput for a service-linked role. The sources are the API
# references of the services (2026-11).
_EXISTS_CODES = frozenset(
    {
        "EntityAlreadyExists",
        "InvalidGroup.Duplicate",
        "InvalidInput",
        "InvalidPermission.Duplicate",
        "RepositoryAlreadyExistsException",
        "ResourceAlreadyExistsException",
    }
)
# Error codes with which ECS refuses a role that it does not know yet. It may also deny
# ``iam:PassRole`` on it (https://github.com/terraform-aws-modules/terraform-aws-ecs/issues/414,
# 2026-07).
_UNKNOWN_ROLE_CODES = frozenset({"ClientException", "InvalidParameterException"})
_IN_USE_CODES = frozenset(
    {
        "ClusterContainsTasksException",
        "DependencyViolation",
        "RepositoryNotEmptyException",
        "UpdateInProgressException",
    }
)


# Pattern that matches an action of IAM.
_ACTION = re.compile(r"\b[a-z0-9-]+:[A-Z]\w+")


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


@dataclass(frozen=True, slots=True)
class Change:
    """Call of an operation that changes the account."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    detail: str = ""
    """Effect of the call, for the user."""

    async def make(self, aws: AWSClient) -> dict[str, Any]:
        """Make the call."""
        return await aws.call(self.service, self.operation, **self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource as it was read, and the calls that create, correct and remove it."""

    kind: str
    """Type of the resource: ``cluster``, ``security group``…"""
    name: str
    exists: bool
    arn: str = ""
    """ARN of the resource, if it is needed."""
    is_new: bool = False
    """True if it was created within `SETTLE_TIMEOUT`, perhaps by another process."""
    tags: Tags = ()
    missing: Sequence[Change] = ()
    """Calls that create or correct the resource, in their order; none if ``init`` must not change
    it."""
    removal: Sequence[Change] = ()
    """Calls that remove the resource, in their order."""
    note: str = ""
    """Details for the user of a resource that is not changed, or that is removed."""
    kept: str = ""
    """Reason for the user why the resource stays as it is, although it differs from what ``init``
    requires or ``destroy`` cannot remove it; empty if there is none."""


Reader = Callable[[], Awaitable[Resource]]
"""Function that reads a resource."""


@dataclass(slots=True)
class AccountChanges:
    """An account to change, with a record of every step."""

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

    def record(self, resource: str, name: str, outcome: StepOutcome, detail: str = "") -> None:
        """Add a step for one resource to `steps`."""
        self.steps.append(SetupStep(resource=resource, name=name, outcome=outcome, detail=detail))

    def has_changed(self, kind: str) -> bool:
        """Return whether a resource of this type was created or updated; never in a dry run."""
        changes = {StepOutcome.CREATED, StepOutcome.UPDATED}
        found = (step.outcome in changes for step in self.steps if step.resource == kind)
        return not self.dry_run and any(found)

    async def ensure(self, read: Reader, *, settling: bool = False) -> Resource:
        """Create or correct a resource, record the step, and return the resource.

        Each operation is called once. A refusal is repeated as long as it may only mean that AWS
        does not know an earlier change yet.
        """
        first = await read()
        resource = first
        if first.missing and not self.dry_run:
            resource = await self._apply(first, read, settling=settling)
        if first.missing:
            outcome = StepOutcome.UPDATED if first.exists else StepOutcome.CREATED
            detail = ", ".join(change.detail for change in first.missing if change.detail)
            self.record(resource.kind, resource.name, outcome, detail)
        if resource.kept:
            self.record(resource.kind, resource.name, StepOutcome.KEPT, resource.kept)
        elif not first.missing:
            self.record(resource.kind, resource.name, StepOutcome.FOUND, resource.note)
        return resource

    async def _apply(self, resource: Resource, read: Reader, *, settling: bool) -> Resource:
        applied, is_announced = set[str](), False
        deadline, delays = anyio.current_time() + SETTLE_TIMEOUT, CONSISTENCY_BACKOFF.delays()
        while True:
            todo = [change for change in resource.missing if change.operation not in applied]
            if resource.exists and not todo:
                return resource
            try:
                for change in todo:
                    await change.make(self.aws)
                    applied.add(change.operation)
                if not todo:
                    name = f"{resource.kind} {resource.name}"
                    raise ResourceMissingError(f"AWS does not show the new {name} yet")
            except CloudburstError as exc:
                if not _may_pass(exc, recent=settling or bool(applied)):
                    raise
                if anyio.current_time() > deadline:
                    raise
                if not is_announced and isinstance(exc, AccessDeniedError):
                    refused = _ACTION.search(str(exc))
                    text = f" (it refuses {refused[0]} so far)" if refused else ""
                    self.announce_wait(f"waiting until AWS knows the earlier changes{text}")
                    is_announced = True
                await anyio.sleep(next(delays))
            resource = await read()

    async def remove(self, kind: str, name: str, read: Reader, *, keep: str = "") -> None:
        """Remove a resource that ``init`` created, and record the step."""
        try:
            found = await read()
        except CloudburstError as exc:
            self.record(kind, name, StepOutcome.FAILED, f"not looked for: {exc}")
            return
        if not found.exists:
            return
        if stack := tag_values(found.tags).get(STACK_TAG):
            keep = f"belongs to the CloudFormation stack {stack}: to remove it, delete the stack"
        elif not has_our_tags(found.tags):
            keep = "not created by init"
        if keep:
            self.record(kind, found.name, StepOutcome.KEPT, keep)
            return
        refusal: CloudburstError | None = None

        async def once() -> bool | None:
            nonlocal refusal
            try:
                for change in () if self.dry_run else found.removal:
                    await _remove(self.aws, change)
            except CloudburstError as exc:
                refusal = exc
                return None if isinstance(exc, AWSError) and exc.code in _IN_USE_CODES else False
            return True

        with anyio.move_on_after(REMOVAL_TIMEOUT):
            if await poll(once, delays=CONSISTENCY_BACKOFF.delays()):
                outcome = StepOutcome.KEPT if found.kept else StepOutcome.REMOVED
                self.record(kind, found.name, outcome, found.kept or found.note)
                return
        reason = str(refusal or f"no answer in {REMOVAL_TIMEOUT:g} s")
        self.record(kind, found.name, StepOutcome.FAILED, reason)


async def _remove(aws: AWSClient, change: Change) -> None:
    # ECR reports images that it does not delete in its response.
    response = await or_none(change.make(aws)) or {}
    for failure in response.get("failures") or ():
        if (code := str(failure.get("failureCode"))) != "ImageNotFound":
            reason = printable_line(str(failure.get("failureReason")))
            raise AWSError(f"{change.operation}: {code}: {reason}", code=code)


def _may_pass(error: CloudburstError, *, recent: bool) -> bool:
    """Return whether a refusal may be due to a change that AWS does not know everywhere yet."""
    code = error.code if isinstance(error, AWSError) else ""
    unknown = isinstance(error, (AccessDeniedError, ResourceMissingError))
    return code in _EXISTS_CODES or (recent and (unknown or code in _UNKNOWN_ROLE_CODES))

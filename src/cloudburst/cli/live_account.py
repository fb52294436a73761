"""What the parts of the live check share: findings, the account, and the tasks that they start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import httpx

from cloudburst import errors
from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import error_code_of, error_from_failure
from cloudburst.aws.fargate.cluster_tasks import describe_tasks
from cloudburst.aws.fargate.ec2 import describe_public_addresses
from cloudburst.aws.fargate.launcher import started_task
from cloudburst.aws.fargate.placement import Placement
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.aws.setup.permissions import LIVE_NAME
from cloudburst.concurrency import for_each
from cloudburst.errors import CapacityError, CloudburstError, LaunchError, Remedy
from cloudburst.models.task import LaunchRequest, Protocol, TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.net.session import WORKERS, open_session
from cloudburst.redaction import hide_secrets
from cloudburst.workers.http.certificates import new_secrets

REST = "the rest of this part"
_SAY_NOTHING = (
    *(errors.AccessDeniedError, errors.CapacityError, errors.CredentialsError),
    *(errors.NoAnswerError, errors.ThrottledError),
)
"""Errors after which it is not known whether a promise is kept."""


class Outcome(StrEnum):
    """Kind of a finding."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_TRIED = "not tried"
    """It is not known whether the promise is kept."""
    NOTE = "note"
    """A measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A promise and what was seen of it, or a measurement."""

    part: str
    """Name of the part of the check."""
    outcome: Outcome
    subject: str
    """The promise, or what was measured."""
    seen: str
    """What was seen, or why the promise was not tried, without the number of the account."""


class NotTriedError(Exception):
    """Error for promises of a part that cannot be tried; the message is the reason."""


class Findings:
    """Findings so far."""

    def __init__(self, on_finding: Callable[[Finding], object], *, account: str) -> None:
        self.all: list[Finding] = []
        self._on_finding = on_finding
        self._account = account
        self._part = ""

    def report(self, promise: str, kept: bool | None, seen: object = "") -> None:
        """Report a promise; ``None``: it is not known whether it is kept."""
        known = Outcome.KEPT if kept else Outcome.BROKEN
        self._add(Outcome.NOT_TRIED if kept is None else known, promise, seen)

    def note(self, what: str, seen: object) -> None:
        """Report a measurement."""
        self._add(Outcome.NOTE, what, seen)

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """Collect the findings of a part; an error ends this part only.

        The error breaks the rest of the part, unless it says nothing about it.
        """
        self._part = name
        try:
            yield
        except (NotTriedError, *_SAY_NOTHING) as exc:
            self.report(REST, None, exc)
        except Exception as exc:  # noqa: BLE001 - the other parts are made after any error
            seen = f"{type(exc).__name__}: {exc}".removesuffix(": ")
            self.report(REST, kept=False, seen=seen)

    def _add(self, outcome: Outcome, subject: str, seen: object) -> None:
        text = str(seen).replace(self._account, "ACCOUNT")
        found = Finding(part=self._part, outcome=outcome, subject=subject, seen=text)
        self.all.append(found)
        self._on_finding(found)


REASON = "cloudburst doctor --live"
"""Reason that AWS shows for the tasks that are stopped."""
SMALL = Tier.ECONOMY
TINY = ("256", "512")
"""CPU units and MiB of the smallest task, for parts that render nothing."""
POLL_INTERVAL = 1.0
"""Seconds between two calls that describe a task."""
REACH_TIMEOUT = 60.0
"""Seconds to wait for the first answer of a task that runs."""
ACCEPT_TIMEOUT = 15.0
"""Seconds for which a call is repeated that AWS refuses for something new."""
ACCEPT_INTERVAL = 0.2
"""Seconds between two of these calls."""
CONCURRENT_STOPS = 20


class Live:
    """Account, findings and tasks of a check. A part stops its tasks at its end."""

    def __init__(self, aws: AWSClient, template: RunTaskTemplate, findings: Findings) -> None:
        self.aws = aws
        self.template = template
        self.settings = template.settings
        self.findings = findings
        self.silence = ""
        """Why tasks do not answer; empty if they do, or if that was not tried."""
        self._running: set[str] = set()

    async def launch(
        self,
        request: LaunchRequest | None = None,
        *,
        template: RunTaskTemplate | None = None,
        provider: str | None = None,
        subnets: Sequence[str] = (),
        tiny: bool = False,
    ) -> str:
        """Start a task as a run does, and return its ARN."""
        request = request or new_request()
        tier, subnets = request.spec.tier, tuple(subnets) or self.settings.subnets
        size: dict[str, int] = {"vcpu": tier.vcpu, "memory_gb": tier.memory_gb}
        place = Placement(option=0, subnets=subnets, provider=provider, **size)
        parameters = (template or self.template).parameters(request, place)
        if tiny:
            parameters["overrides"] |= {"cpu": TINY[0], "memory": TINY[1]}
        answer = await self.aws.call("ecs", "run_task", **parameters)
        task = started_task(answer, provider or "FARGATE")
        self._running.add(task)
        return task

    async def until(
        self, task: str, condition: str | Callable[[dict[str, Any]], object]
    ) -> dict[str, Any]:
        """Describe a task until a condition is true, and return the description."""
        while True:
            # Empty while ECS does not find the task yet.
            for shown in await describe_tasks(self.aws, self.settings.cluster, [task]):
                status = shown["lastStatus"]
                if status == "STOPPED":
                    self._running.discard(task)
                if condition(shown) if callable(condition) else status == condition:
                    return shown
                if status == "STOPPED":
                    raise _stop_error(shown)
            await anyio.sleep(POLL_INTERVAL)

    async def stop(self, task: str) -> tuple[float, str]:
        """Stop a task; return what `accepted` returns."""
        call: dict[str, Any] = {"cluster": self.settings.cluster, "task": task, "reason": REASON}
        # ECS may not find a new task yet, or IAM not know its tags.
        result = await accepted(partial(self.aws.call, "ecs", "stop_task", **call))
        self._running.discard(task)
        return result

    async def stop_all(self) -> None:
        """Stop the tasks that may still run, even after a cancellation.

        A task whose stop is not accepted here is stopped at the end of the check.
        """
        with anyio.CancelScope(shield=True), suppress(CloudburstError):
            await for_each(tuple(self._running), self.stop, at_once=CONCURRENT_STOPS)

    async def url_of(self, running: Mapping[str, Any]) -> str:
        """Return the base URL of a described task, at the address that clients use."""
        seen, definition = parse_task_description(running), self.template.definition
        host = seen.private_ip
        if self.settings.public_address:
            interface = seen.network_interface or ""
            host = (await describe_public_addresses(self.aws, [interface])).get(interface)
        if host is None:
            raise LaunchError("the task has no address")
        scheme = "https" if definition.protocol is Protocol.NATIVE else "http"
        return f"{scheme}://{host}:{definition.port}"


async def accepted(call: Callable[[], Awaitable[object]]) -> tuple[float, str]:
    """Repeat a call until AWS accepts it, for `ACCEPT_TIMEOUT` seconds."""
    started_at, refusal = anyio.current_time(), ""
    while True:
        waited = anyio.current_time() - started_at
        try:
            await call()
        except CloudburstError as exc:
            if waited > ACCEPT_TIMEOUT:
                raise
            refusal = refusal or error_code_of(exc) or str(exc)
            await anyio.sleep(ACCEPT_INTERVAL)
        else:
            return waited, refusal


def new_request() -> LaunchRequest:
    """Return a request for a task with a token and secrets of its own."""
    secrets = new_secrets()
    hide_secrets(secrets.key, secrets.private_key)
    spec = TaskSpec(tier=SMALL, run=LIVE_NAME, scene="check")
    return LaunchRequest(spec=spec, token=uuid4().hex, secrets=secrets)


async def seconds_until_answer(url: str) -> float | None:
    """Return the seconds until a worker answers; ``None`` if it does not within a minute."""
    started_at = anyio.current_time()
    # No secret is sent here; the part that renders a scene verifies the certificate.
    untrusting = httpx.create_ssl_context(verify=False)
    async with open_session(WORKERS, verify=untrusting, timeouts=3.0) as http:
        while anyio.current_time() < started_at + REACH_TIMEOUT:
            with suppress(httpx.HTTPError):
                if (await http.get(f"{url}/health")).is_success:
                    return anyio.current_time() - started_at
            await anyio.sleep(0.25)
    return None


def seconds_between(task: Mapping[str, Any], start: str, end: str) -> float | None:
    """Return the seconds between two times of a described task; ``None`` if it lacks one."""
    first, last = task.get(start), task.get(end)
    if isinstance(first, datetime) and isinstance(last, datetime):
        return (last - first).total_seconds()
    return None


def _stop_error(task: Mapping[str, Any]) -> CloudburstError:
    description = parse_task_description(task)
    message = f"the task has stopped: {description.reason or 'ECS gives no reason'}"
    failure = description.failure
    if failure is None or failure.remedy is Remedy.OTHER_SUBNET:
        return (CapacityError if failure else LaunchError)(message)
    return error_from_failure(failure, message)

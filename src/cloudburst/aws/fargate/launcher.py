"""Launcher of Fargate tasks: starts and stops them, and reports their state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import anyio.lowlevel

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.rate_limit import capacity_of
from cloudburst.aws.client.responses import error_from_failure
from cloudburst.aws.fargate.cluster_tasks import (
    MAX_STOP_REASON_LENGTH,
    adoptable_secrets,
    find_orphans,
)
from cloudburst.aws.fargate.placement import (
    CAPACITY_PROVIDERS,
    LaunchFailures,
    Placement,
    PlacementPolicy,
)
from cloudburst.aws.fargate.post_mortem import build_post_mortem
from cloudburst.aws.fargate.run_registry import RunRegistry
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.aws.fargate.watcher import (
    LOST_REASON,
    NO_PUBLIC_ADDRESS_REASON,
    WatchedTask,
    Watcher,
)
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CapacityError,
    CloudburstError,
    NoAnswerError,
    Remedy,
    ThrottledError,
)
from cloudburst.models import failures
from cloudburst.models.prices import Rates, extra_disk_gb
from cloudburst.models.task import (
    FoundTask,
    LaunchRequest,
    Protocol,
    TaskId,
    TaskState,
    TaskStatus,
    Usage,
)
from cloudburst.models.tier import Tier
from cloudburst.redaction import hide_secrets

# Maximum seconds that a launch waits for the rate limit. A launch that would wait longer is refused
# at once, because a launch cannot be cancelled once it has begun.
MAX_LAUNCH_WAIT = 4.0


class FargateLauncher:
    """Launcher that starts and stops Fargate tasks and reports the states that a watcher polls."""

    def __init__(
        self,
        aws: AWSClient,
        template: RunTaskTemplate,
        watcher: Watcher,
        registry: RunRegistry,
        *,
        tier: Tier,
        rates: Callable[[str], Rates],
    ) -> None:
        self._aws = aws
        self._template = template
        self._watcher = watcher
        self._registry = registry
        self._rates = {provider: rates(provider) for provider in CAPACITY_PROVIDERS}
        self.policy = PlacementPolicy(template.settings, tier, self._usd_per_second)
        self._failures = LaunchFailures(self.policy)
        self._requests: dict[str, tuple[Placement, dict[str, Any]]] = {}
        self._tasks_by_token: dict[str, TaskId] = {}

    def usd_per_second(self, tier: Tier) -> Decimal:
        """Return the price of a task in USD per second."""
        capacity = self._template.settings.capacity
        return self._usd_per_second(capacity, tier.vcpu, tier.memory_gb)

    def _usd_per_second(self, provider: str, vcpu: int, memory_gb: int) -> Decimal:
        settings = self._template.settings
        disk, ipv4 = extra_disk_gb(settings.ephemeral_storage), settings.public_address
        return self._rates[provider].usd_per_second(vcpu, memory_gb, disk, public_ipv4=ipv4)

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a task, or return the task that an earlier attempt of this request has started.

        Raises:
            CapacityError: Fargate has no capacity now.
            ThrottledError: There have been too many launches.
            NoAnswerError: AWS did not answer, so that a task may have been started. Repeat the
                request to get that task.
            LaunchError: AWS refused the launch for another reason, which the subclass shows.
        """
        token = request.token
        if (known := self._tasks_by_token.get(token)) is not None:
            return known
        placement, parameters = self._requests.get(token) or self._new_request(request)
        repeated = token in self._registry.open_requests
        await self._registry.record_request(request.spec.run, token)
        try:
            response = await self._aws.call(
                "ecs", "run_task", max_wait=MAX_LAUNCH_WAIT, **parameters
            )
            task = started_task(response, capacity_of(parameters))
        except NoAnswerError:
            raise
        except CloudburstError as refusal:
            error = self._failures.after_refusal(refusal, placement)
            # AWS may refuse a repeated request for its rate or permissions alone. Whether an
            # earlier request with this token started a task is then still unknown.
            if isinstance(refusal, CapacityError) or not repeated:
                await self._registry.record_refusal(token)
                if not isinstance(error, ThrottledError):
                    del self._requests[token]
            raise error from refusal.__cause__
        self._requests.pop(token, None)
        self._tasks_by_token[token] = task
        self._failures.record_launch(task, placement)
        self._registry.record_launch(token, task)
        self._watcher.watch(task, parse_task_description(response["tasks"][0]))
        return task

    async def find(self, run: str) -> Sequence[FoundTask]:
        """Return the tasks that any process has started for a run, and take over the running ones.

        From then on, this process is responsible for stopping the running tasks.
        """
        await self._registry.register(run)
        found = await find_orphans(self._aws, self._template.settings.cluster, run)
        running = [
            task for task, one in found.items() if one is None or one["lastStatus"] != "STOPPED"
        ]
        await self._registry.record_adopted(run, running)
        return [self._adopt(task, one) for task, one in found.items()]

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:
        """Return the last known state of a task, or with ``refresh`` the state in a new poll.

        Raises:
            CredentialsError: AWS does not accept the credentials, so that no poll can succeed.
            AccessDeniedError: The credentials do not allow the polls.
            ResourceMissingError: The cluster does not exist.
        """
        await anyio.lowlevel.checkpoint()
        watched = await self._watcher.refresh(task) if refresh else self._watcher.get(task)
        if watched.stopped:
            await self._registry.record_stop(task)
        return self._status(watched)

    async def post_mortem(self, task: TaskId) -> str | None:
        """Return a page with what ECS and CloudWatch Logs know of a failed task.

        The result is ``None`` if ECS does not know the task any more, about an hour after its stop.
        """
        template = self._template
        return await build_post_mortem(
            self._aws, cluster=template.settings.cluster, definition=template.definition, task=task
        )

    async def stop(self, task: TaskId, *, reason: str) -> None:
        """Request the stop of a task, and return when AWS has accepted the request.

        A task that has already stopped or that AWS does not know any more raises no error.

        Raises:
            NoAnswerError: AWS did not answer or does not know the new task yet. Repeat the request.
        """
        cluster = self._template.settings.cluster
        reason = reason[:MAX_STOP_REASON_LENGTH]
        try:
            await self._aws.call("ecs", "stop_task", cluster=cluster, task=task, reason=reason)
        except AWSError as exc:
            # AWS does not know the task. Any other refusal cannot be overcome by repetition.
            if exc.remedy is not Remedy.REPEAT_REQUEST:
                raise
            if not self._watcher.is_gone(task):
                raise NoAnswerError(f"AWS does not know {task} yet") from exc
        except AccessDeniedError as exc:
            # Our policy allows stops of tasks with our tag. A stopped task has lost its tags, and
            # AWS does not document how soon IAM knows those of a new one.
            if not self._watcher.has_stopped(task):
                raise NoAnswerError(f"{task} may not be stopped yet: {exc}") from exc
        self._watcher.record_stop(task)
        await self._registry.record_stop(task)

    def _new_request(self, request: LaunchRequest) -> tuple[Placement, dict[str, Any]]:
        secrets = request.secrets
        hide_secrets(secrets.key, secrets.private_key)
        placement = self.policy.next_placement(request.spec.tier)
        created = placement, self._template.parameters(request, placement)
        self._requests[request.token] = created
        return created

    def _adopt(self, task: TaskId, described: Mapping[str, Any] | None) -> FoundTask:
        definition = self._template.definition
        secrets = adoptable_secrets(described, definition, self.policy.sizes)
        if secrets is not None:
            hide_secrets(secrets.key, secrets.private_key)
        containers = definition.containers
        description = (
            parse_task_description(described, containers=containers) if described else None
        )
        watched = self._watcher.watch(task, description)
        return FoundTask(task=task, status=self._status(watched), secrets=secrets)

    def _status(self, watched: WatchedTask) -> TaskStatus:
        description, usage = watched.description, self._usage(watched)
        if watched.lost:
            return TaskStatus(state=TaskState.STOPPED, reason=LOST_REASON, usage=usage)
        if description is None:
            return TaskStatus(state=TaskState.STARTING, usage=usage)
        no_address = NO_PUBLIC_ADDRESS_REASON if watched.has_no_address else ""
        return TaskStatus(
            state=description.state,
            address=self._address(watched),
            reason=description.reason or no_address,
            stop_code=description.stop_code,
            failure=self._failures.after_description(watched.task, description),
            stop_announced=description.stop_announced,
            spot=description.capacity_provider == "FARGATE_SPOT",
            usage=usage,
        )

    def _address(self, watched: WatchedTask) -> str | None:
        template = self._template
        if template.settings.public_address:
            host = watched.public_ip
        else:
            host = watched.description.private_ip if watched.description else None
        scheme = "https" if template.definition.protocol is Protocol.NATIVE else "http"
        return None if host is None else f"{scheme}://{host}:{template.definition.port}"

    def _usage(self, watched: WatchedTask) -> Usage | None:
        description = watched.description
        if description is None or description.created_at is None:
            return None
        created_at, last_active_at = description.created_at, watched.last_active_at
        last_seen_at = (
            created_at if last_active_at is None else self._watcher.clock.at(last_active_at)
        )
        return Usage(
            rates=self._rates.get(description.capacity_provider, self._rates["FARGATE"]),
            vcpu=description.vcpu,
            memory_gb=description.memory_gb,
            extra_disk_gb=description.extra_disk_gb,
            public_ipv4=self._template.settings.public_address,
            created_at=created_at,
            pull_started_at=description.pull_started_at,
            last_seen_at=max(last_seen_at, created_at),
            stopped_at=description.stopped_at,
        )


def started_task(response: Mapping[str, Any], capacity: str) -> TaskId:
    """Return the task that RunTask started, or raise the error that its ``failures`` describe."""
    if tasks := response.get("tasks"):
        return TaskId(tasks[0]["taskArn"])
    refusals: Sequence[Mapping[str, Any]] = response.get("failures") or ()
    reasons = [str(refusal.get("reason", "")) for refusal in refusals]
    failure = failures.classify_placement_failure(reasons, capacity=capacity)
    details = "; ".join(
        " ".join(str(refusal[name]) for name in ("reason", "detail") if refusal.get(name))
        for refusal in refusals
    )
    raise error_from_failure(failure, f"run_task: {details or failure.meaning}")

"""Starts tasks, stops them, and says what has become of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import anyio.lowlevel

from cloudburst.adapters.aws.ladder import Ladder
from cloudburst.adapters.aws.leftovers import Leftover, leftovers, secrets_for
from cloudburst.adapters.aws.postmortem import post_mortem
from cloudburst.adapters.aws.redaction import hide
from cloudburst.adapters.aws.refusals import error_of
from cloudburst.adapters.aws.runs import HeldRuns
from cloudburst.adapters.aws.runtask import (
    LONGEST_REASON,
    Order,
    Place,
    Providers,
    placement_reasons,
)
from cloudburst.adapters.aws.session import AWS
from cloudburst.adapters.aws.sight import FREE_DISK, Sight, sight
from cloudburst.adapters.aws.watcher import LOST, NO_ADDRESS, Watched, Watcher
from cloudburst.errors import (
    AWSError,
    CapacityError,
    CloudburstError,
    NoAnswerError,
    Remedy,
    ThrottledError,
)
from cloudburst.models import failures
from cloudburst.models.prices import Rates
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

QUEUE = 4.0
"""Seconds that a launch may wait for its turn; one that would wait longer is refused, for nobody
can cancel a launch that has been asked for."""
REMEMBERED = 10_000
"""Launches that are named without asking AWS again: more than can be open at once."""


class FargateLauncher:
    """Starts and stops tasks, and says of them what the watcher has seen."""

    def __init__(
        self,
        aws: AWS,
        order: Order,
        providers: Providers,
        watcher: Watcher,
        runs: HeldRuns,
        *,
        tier: Tier,
        rates: Callable[[str], Rates],
    ) -> None:
        self._aws = aws
        self._order = order
        self._providers = providers
        self._watcher = watcher
        self._runs = runs
        self._tier = tier
        self._rates = {provider: rates(provider) for provider in ("FARGATE", "FARGATE_SPOT")}
        self._ladder = Ladder(order.settings, tier, providers, self._usd_per_second)
        self._asked: dict[str, tuple[Place, dict[str, Any]]] = {}
        self._launched: dict[str, TaskId] = {}
        self._rungs: dict[TaskId, int] = {}

    @property
    def most_usd_per_second(self) -> Decimal:
        """Of the dearest task that may be started where there is no room for others."""
        return self._ladder.most_usd_per_second

    def usd_per_second(self, tier: Tier) -> Decimal:
        """Of a task of this size, by the dearest provider that it is asked for with at first."""
        return max(
            self._usd_per_second(provider, tier.vcpu, tier.memory_gb)
            for provider in self._providers.weights
        )

    def _usd_per_second(self, provider: str, vcpu: int, memory_gb: int) -> Decimal:
        settings, rates = self._order.settings, self._rates[provider]
        return Usage(
            rates=rates,
            vcpu=vcpu,
            memory_gb=memory_gb,
            extra_disk_gb=max(0, (settings.ephemeral_storage or 0) - FREE_DISK),
            public_ipv4=settings.public_address,
            created=0.0,
            seen=0.0,
        ).usd_per_second

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a task, or name the one that this very request started before.

        Raises:
            CapacityError: There is no room now.
            ThrottledError: There have been too many launches.
            NoAnswerError: There may be a task or not; the same request finds out.
            LaunchError: Any other refusal, by its kind.
        """
        token = request.token
        if (known := self._launched.get(token)) is not None:
            return known
        place, parameters = self._asked.get(token) or self._build(request)
        unsure = self._runs.unsure(token)
        await self._runs.launching(request.spec.run, token)
        try:
            answer = await self._aws.call("ecs", "run_task", patience=QUEUE, **parameters)
            task = _started(answer)
        except NoAnswerError:
            raise
        except CloudburstError as exc:
            # What asks too often or may not ask is not looked at: what an earlier request with this
            # token did is still not known, and only the very same one finds out.
            if isinstance(exc, CapacityError) or not unsure:
                await self._runs.refused(token)
                if not isinstance(exc, ThrottledError):
                    del self._asked[token]
            if isinstance(exc, CapacityError) and exc.remedy is Remedy.OTHER_SUBNET:
                self._ladder.lacked(place.rung, str(exc))
            raise
        self._launched[token] = task
        self._rungs[task] = place.rung
        if len(self._launched) > REMEMBERED:
            self._rungs.pop(self._launched.pop(next(iter(self._launched))), None)
        self._asked.pop(token, None)
        self._runs.launched(token, task)
        self._watcher.watch(task, sight(answer["tasks"][0]))
        return task

    async def find(self, run: str) -> Sequence[FoundTask]:
        """The tasks of a run, whoever has started them; those that live are ours from here on.

        Raises:
            CloudburstError: What `AWS.call` raises.
        """
        await self._runs.holding(run)
        found = await leftovers(self._aws, self._order.settings.cluster, run)
        await self._runs.taken_over(run, [one.task for one in found if one.alive])
        return [self._found(one) for one in found]

    def _found(self, found: Leftover) -> FoundTask:
        secrets = secrets_for(found, self._order.definition, self._tier)
        if secrets is not None:
            hide(secrets.key, secrets.private_key)
        seen = None if found.described is None else sight(found.described)
        watched = self._watcher.watch(found.task, seen)
        return FoundTask(task=found.task, status=self._status(watched), secrets=secrets)

    async def describe(self, task: TaskId, *, anew: bool = False) -> TaskStatus:
        """What the watcher has seen of a task, or sees ``anew``.

        Raises:
            CredentialsError: AWS does not take the credentials, so nothing new will be known.
            AccessDeniedError: They may not look.
            ResourceMissingError: The cluster is not there.
        """
        await anyio.lowlevel.checkpoint()
        watched = await self._watcher.look_anew(task) if anew else self._watcher.look(task)
        if watched.stopped:
            await self._runs.given_back(task)
        return self._status(watched)

    async def post_mortem(self, task: TaskId) -> str | None:
        """What ECS and CloudWatch know of a task that failed, while they do.

        Raises:
            CloudburstError: What `AWS.call` raises.
        """
        order = self._order
        return await post_mortem(
            self._aws, cluster=order.settings.cluster, definition=order.definition, task=task
        )

    async def stop(self, task: TaskId, *, reason: str) -> None:
        """Return when the stop is accepted; a task that is gone already is no error.

        Raises:
            CloudburstError: What `AWS.call` raises.
        """
        cluster = self._order.settings.cluster
        try:
            await self._aws.call(
                "ecs", "stop_task", cluster=cluster, task=task, reason=reason[:LONGEST_REASON]
            )
        except AWSError as exc:
            if not failures.NO_SUCH_TASK.fits(exc.code, "stop_task"):
                raise
            if not self._watcher.gone(task):
                raise NoAnswerError(f"AWS does not know {task} yet") from exc
        self._watcher.stopping(task)
        await self._runs.given_back(task)

    def _build(self, request: LaunchRequest) -> tuple[Place, dict[str, Any]]:
        secrets = request.secrets
        hide(secrets.key, secrets.private_key)
        place = self._ladder.place(request.spec.tier)
        asked = place, self._order.parameters(request, place)
        self._asked[request.token] = asked
        return asked

    def _learn(self, task: TaskId, seen: Sight) -> None:
        """From the end of a task, where to ask for the next one."""
        failure, rung = seen.failure, self._rungs.get(task)
        if failure is failures.SPOT:
            self._ladder.taken(task)
        elif failure is None or rung is None or seen.state is not TaskState.STOPPED:
            return
        elif failure.remedy is Remedy.OTHER_SUBNET:
            self._ladder.lacked(self._rungs.pop(task), f"{task}: {failure.means}")
        elif failure.remedy is Remedy.OTHER_SIZE:
            self._ladder.too_small(self._rungs.pop(task), f"{task}: {failure.means}")

    def _status(self, watched: Watched) -> TaskStatus:
        seen = watched.seen
        if watched.lost or seen is None:
            state = TaskState.STOPPED if watched.lost else TaskState.STARTING
            return TaskStatus(
                state=state, reason=LOST if watched.lost else "", usage=self._usage(watched)
            )
        self._learn(watched.task, seen)
        return TaskStatus(
            state=seen.state,
            address=self._address(watched),
            reason=seen.reason or (NO_ADDRESS if watched.no_address else ""),
            stop_code=seen.stop_code,
            failure=seen.failure,
            leaving=seen.leaving,
            usage=self._usage(watched),
        )

    def _address(self, watched: Watched) -> str | None:
        order = self._order
        if order.settings.public_address:
            host = watched.public
        else:
            host = watched.seen.private if watched.seen else None
        scheme = "https" if order.definition.protocol is Protocol.NATIVE else "http"
        return None if host is None else f"{scheme}://{host}:{order.definition.port}"

    def _usage(self, watched: Watched) -> Usage | None:
        seen = watched.seen
        if seen is None or seen.created is None:
            return None
        alive = seen.created if watched.at is None else self._watcher.clock.at(watched.at)
        return Usage(
            rates=self._rates.get(seen.capacity, self._rates["FARGATE"]),
            vcpu=seen.vcpu,
            memory_gb=seen.memory_gb,
            extra_disk_gb=seen.extra_disk_gb,
            public_ipv4=self._order.settings.public_address,
            created=seen.created,
            pull_started=seen.pull_started,
            seen=max(alive, seen.created),
            stopped=seen.stopped,
        )


def _started(answer: dict[str, Any]) -> TaskId:
    """The task, or the refusal that hides in a successful answer."""
    if tasks := answer.get("tasks"):
        return TaskId(tasks[0]["taskArn"])
    told = answer.get("failures") or ()
    failure = failures.of_placement([str(one.get("reason", "")) for one in told])
    raise error_of(failure, f"run_task: {placement_reasons(told) or failure.means}")

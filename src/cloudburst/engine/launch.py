"""From a request to a task that somebody stops, whatever happens in between."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
import anyio.lowlevel

from cloudburst.engine.polling import insist, poll
from cloudburst.errors import CapacityError, CloudburstError, NoAnswerError, Remedy, ThrottledError
from cloudburst.models.policy import PATIENT, Timeouts
from cloudburst.models.task import FoundTask, LaunchRequest, Secrets, TaskId, TaskSpec
from cloudburst.ports import Backend

logger = logging.getLogger(__name__)

REASON = "cloudburst: done"
"""What the backend shows as the reason of a stop."""


@asynccontextmanager
async def launched(
    backend: Backend,
    spec: TaskSpec,
    timeouts: Timeouts,
    *,
    before: Callable[[str], Awaitable[None]],
    on_launch: Callable[[TaskId], None],
    on_stop: Callable[[bool], None],
    others: Callable[[], bool] = lambda: False,
) -> AsyncGenerator[tuple[TaskId, Secrets]]:
    """A task and its secrets. The task is stopped on every way out, known or not.

    Each new request waits for ``before`` with its token. ``on_launch`` is told of the task as soon
    as it is known, be that on the way out, and ``on_stop`` at the end whether its stop was
    accepted. While there are ``others`` to do the work, nobody waits for what the account may not
    have besides them.
    """
    launch = _Launch(backend, spec, timeouts, before=before, on_launch=on_launch, others=others)
    try:
        yield await launch.accepted(), launch.request.secrets
    finally:
        try:
            await launch.ended()
        finally:
            on_stop(launch.stopped)


@asynccontextmanager
async def taken_over(
    backend: Backend, found: FoundTask, timeouts: Timeouts, on_stop: Callable[[bool], None]
) -> AsyncGenerator[tuple[TaskId, Secrets]]:
    """The same for a task that another process has launched: from here on it is ours."""
    stop = Stop(backend, found.task, timeouts)
    try:
        yield found.task, found.secrets or Secrets(key="")
    finally:
        try:
            await stop.insist()
        finally:
            on_stop(stop.accepted)


class Stop:
    """The stop of one task that is known."""

    def __init__(self, backend: Backend, task: TaskId, timeouts: Timeouts) -> None:
        self._launcher = backend.launcher
        self._task = task
        self._seconds = timeouts.stop
        self.accepted = False

    async def insist(self) -> None:
        """Stop it although we are being cancelled. What goes wrong is logged."""
        try:
            await insist(lambda: poll(self._try, backoff=PATIENT), seconds=self._seconds)
        except TimeoutError:
            logger.exception("task %s: stop not accepted in %s s", self._task, self._seconds)

    async def _try(self) -> bool | None:
        try:
            await self._launcher.stop(self._task, reason=REASON)
        except (NoAnswerError, ThrottledError) as exc:
            logger.warning("stop of %s not answered: %s", self._task, exc)
            return None
        except CloudburstError:
            logger.exception("stop of %s refused", self._task)
        else:
            self.accepted = True
        return True


class _Launch:
    """One wish for a task: the request that is open, and the task once it is known."""

    def __init__(
        self,
        backend: Backend,
        spec: TaskSpec,
        timeouts: Timeouts,
        *,
        before: Callable[[str], Awaitable[None]],
        on_launch: Callable[[TaskId], None],
        others: Callable[[], bool],
    ) -> None:
        self._backend = backend
        self._before = before
        self._told = ""  # the token that ``before`` knows
        self._on_launch = on_launch
        self._others = others
        self._lack: CapacityError | None = None
        self._spec = spec
        self._timeouts = timeouts
        self._task: TaskId | None = None
        self._asked = False  # and not refused: there may be a task that we cannot name
        self._unsure = False  # it was asked, and there was no answer
        self.stopped = False
        """There is no task, or its stop was accepted."""
        self.request = self._new_request()

    def _new_request(self) -> LaunchRequest:
        secrets = self._backend.new_secrets()
        return LaunchRequest(spec=self._spec, token=uuid4().hex, secrets=secrets)

    async def accepted(self) -> TaskId:
        with anyio.move_on_after(self._timeouts.launch):
            return await poll(self._try, backoff=PATIENT)
        why = f": {self._lack}" if self._lack else ""
        error = CapacityError(f"no task was accepted within {self._timeouts.launch} s{why}")
        if self._lack is not None:
            error.remedy = self._lack.remedy
        raise error from self._lack

    async def _try(self) -> TaskId | None:
        """Ask once. No answer leaves the request open; a refusal calls for a new one."""
        if self._told != self.request.token:
            await self._before(self.request.token)
            self._told = self.request.token
        await anyio.lowlevel.checkpoint_if_cancelled()  # what follows is shielded
        try:
            await insist(self._ask, seconds=self._timeouts.call)
        except (NoAnswerError, TimeoutError):
            self._unsure = True
            logger.warning("no answer to a launch; asking again with the same token")
        except ThrottledError as exc:
            self._asked = self._unsure  # this one was not looked at
            logger.info("launch throttled: %s", exc)
        except CapacityError as exc:
            logger.warning("no capacity: %s", exc)
            self._lack = exc
            self._asked = self._unsure = False
            self.request = self._new_request()
            if exc.remedy is Remedy.FEWER and self._others():
                raise
        except CloudburstError:
            self._asked = self._unsure  # this was refused; what came before may have been done
            raise
        return self._task

    async def _ask(self) -> None:
        self._asked = True
        task = await self._backend.launcher.launch(self.request)
        if self._task is None:
            self._task = task
            self._on_launch(task)

    async def ended(self) -> None:
        """Stop the task; one whose launch was never answered is found by its token first."""
        self.stopped = not self._asked
        if self.stopped:
            return
        try:
            await insist(self._stop, seconds=self._timeouts.stop)
        except TimeoutError:
            name = self._task or f"launched with token {self.request.token}"
            logger.exception("task %s: stop not accepted in %s s", name, self._timeouts.stop)

    async def _stop(self) -> None:
        await poll(self._try_stop, backoff=PATIENT)

    async def _try_stop(self) -> bool | None:
        try:
            if self._task is None:
                with anyio.fail_after(self._timeouts.call):  # this answer may be lost as well
                    await self._ask()
            if self._task is not None:
                await self._backend.launcher.stop(self._task, reason=REASON)
            self.stopped = True
        except (NoAnswerError, ThrottledError, TimeoutError) as exc:
            logger.warning("stop of %s not answered: %s", self._task, exc)
            return None
        except CapacityError:
            self.stopped = True  # the open request never started anything
        except CloudburstError:
            logger.exception("stop of %s refused", self._task or self.request.token)
        return True

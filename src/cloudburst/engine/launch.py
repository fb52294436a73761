"""Launch and stop of tasks. Every task that may have been started is stopped in the end."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import uuid4

import anyio
import anyio.lowlevel

from cloudburst.concurrency import finish_despite_cancel, poll
from cloudburst.engine.defects import log_defect
from cloudburst.errors import CapacityError, CloudburstError, NoAnswerError, Remedy, ThrottledError
from cloudburst.models.limits import RETRY_BACKOFF, Timeouts
from cloudburst.models.task import FoundTask, LaunchRequest, Secrets, TaskId, TaskSpec, TaskStatus
from cloudburst.ports.backend import Backend

logger = logging.getLogger(__name__)

# Reasons for a refused launch in log messages, by the remedy of the error.
_REFUSED_BECAUSE = {
    Remedy.REPEAT_REQUEST: "not yet possible",
    Remedy.FEWER_TASKS: "the account's quota is used up",
}
# Reason of a stop request, which the backend shows with the stopped task.
STOP_REASON = "cloudburst: done"


class LaunchObserver(Protocol):
    """Observer that is notified of all events of one task, from the launch request to the stop."""

    async def before_request(self, token: str) -> None:
        """Record the token of a new launch request, which is sent after this returns."""
        ...

    def on_launch(self, task: TaskId) -> None:
        """Handle the id of the launched task."""
        ...

    def on_status(self, status: TaskStatus) -> None:
        """Handle a status of the task that the backend has reported."""
        ...

    def on_stop(self, accepted: bool) -> None:
        """Handle the end of the stop; ``accepted`` is False if the task may still run."""
        ...

    def has_other_tasks(self) -> bool:
        """Return whether the backend has other tasks, which can render in place of this one."""
        ...


@asynccontextmanager
async def launched(
    backend: Backend, spec: TaskSpec, timeouts: Timeouts, observer: LaunchObserver
) -> AsyncGenerator[tuple[TaskId, Secrets]]:
    """Launch a task, yield its id and secrets, and stop it when the ``with`` block ends.

    Raises:
        CapacityError: No request was accepted within ``Timeouts.launch``; or the account's quota is
            used up, and other tasks of the backend can do the work.
        LaunchError: The backend refused the request.
    """
    launch = _Launch(backend, spec, timeouts, observer)
    try:
        yield await launch.accepted(), launch.request.secrets
    finally:
        try:
            await launch.stop()
        finally:
            observer.on_stop(launch.stopped)


@asynccontextmanager
async def adopted(
    backend: Backend, found: FoundTask, timeouts: Timeouts, observer: LaunchObserver
) -> AsyncGenerator[tuple[TaskId, Secrets]]:
    """Yield the id and secrets of a task that another process launched, and stop it at the end."""
    stop = TaskStop(backend, found.task, timeouts)
    try:
        yield found.task, found.secrets or Secrets(key="")
    finally:
        try:
            await stop.finish()
        finally:
            observer.on_stop(stop.accepted)


class TaskStop:
    """Stop of a task, whose request is repeated until the backend accepts it.

    ``find`` returns the id of a task whose launch was not answered, and raises `CapacityError` if
    no task was started.
    """

    def __init__(
        self,
        backend: Backend,
        task: TaskId | None,
        timeouts: Timeouts,
        *,
        find: Callable[[], Awaitable[TaskId]] | None = None,
        token: str = "",
    ) -> None:
        self._launcher = backend.launcher
        self._task = task
        self._seconds = timeouts.stop
        self._find = find
        self._token = token  # of the launch, for messages
        self._last_error: Exception | None = None
        self.accepted = False
        """True once the backend has accepted the stop, or if no task was started."""

    async def finish(self) -> None:
        """Stop the task, even if the calling task is being cancelled; errors are logged."""
        try:
            await finish_despite_cancel(
                lambda: poll(self._try, delays=RETRY_BACKOFF.delays()), seconds=self._seconds
            )
        except TimeoutError:
            logger.exception(
                "task %s: stop not accepted in %s s: %s",
                *(self._name, self._seconds, self._last_error or "no answer"),
                exc_info=self._last_error,
            )

    @property
    def _name(self) -> str:
        return self._task or f"launched with token {self._token}"

    async def _try(self) -> bool | None:
        try:
            if self._task is None and self._find is not None:
                self._task = await self._find()
            if self._task is not None:
                await self._launcher.stop(self._task, reason=STOP_REASON)
            self.accepted = True
        except (NoAnswerError, ThrottledError, TimeoutError) as exc:
            logger.warning("stop of task %s not answered: %s", self._name, exc)
            self._last_error = exc
            return None
        except CloudburstError as exc:
            self.accepted = self._task is None and isinstance(exc, CapacityError)
            if not self.accepted:
                logger.exception("stop of task %s refused", self._name)
        except Exception as exc:  # noqa: BLE001 - the task may still run, and is billed
            log_defect(exc, f"stop of task {self._name}")
            return None
        return True


class _Launch:
    def __init__(
        self, backend: Backend, spec: TaskSpec, timeouts: Timeouts, observer: LaunchObserver
    ) -> None:
        self._backend = backend
        self._spec = spec
        self._timeouts = timeouts
        self._observer = observer
        self._task: TaskId | None = None
        self._announced_token = ""  # the token that the observer knows
        self._maybe_launched = False  # a request was made and not refused: there may be a task
        self._unanswered = False  # the open request was made before, without an answer
        self._lack: CapacityError | None = None  # the last refusal for want of capacity
        self.stopped = False
        """True once it is certain that no task was started, or that the stop was accepted."""
        self.request = self._new_request()

    def _new_request(self) -> LaunchRequest:
        secrets = self._backend.new_secrets()
        return LaunchRequest(spec=self._spec, token=uuid4().hex, secrets=secrets)

    async def accepted(self) -> TaskId:
        """Send launch requests until one is accepted, and return the id of the task."""
        # A request without an answer is repeated unchanged, because it may have been accepted.
        with anyio.move_on_after(self._timeouts.launch):
            for delay in RETRY_BACKOFF.delays():
                if self._announced_token != self.request.token:
                    await self._observer.before_request(self.request.token)
                    self._announced_token = self.request.token
                await anyio.lowlevel.checkpoint_if_cancelled()  # what follows is shielded
                await finish_despite_cancel(self._send_request, seconds=math.inf)
                if self._task is not None:
                    return self._task
                await anyio.sleep(delay)
        raise self._not_accepted() from self._lack

    async def _send_request(self) -> None:
        # The next request repeats the previous one with the same token; after a refusal for lack
        # of capacity, it is a new request with a new token.
        self._maybe_launched = True
        try:
            with anyio.fail_after(self._timeouts.call):
                self._note_task(await self._backend.launcher.launch(self.request))
        except (NoAnswerError, TimeoutError):
            self._unanswered = True
            logger.warning("no answer to a launch; asking again with the same token")
        except ThrottledError as exc:
            self._maybe_launched = self._unanswered  # a throttled request is not executed
            logger.info("launch throttled: %s", exc)
        except CapacityError as exc:
            known = self._lack is not None and str(self._lack) == str(exc)
            level = logging.DEBUG if known else logging.WARNING
            reason = _REFUSED_BECAUSE.get(exc.remedy, "no room")
            logger.log(level, "%s; asking again: %s", reason, exc)
            self._lack = exc
            self._maybe_launched = self._unanswered = False
            self.request = self._new_request()
            if exc.remedy is Remedy.FEWER_TASKS and self._observer.has_other_tasks():
                raise
        except CloudburstError:
            # This request was refused. The same one may have been executed before.
            self._maybe_launched = self._unanswered
            raise

    def _note_task(self, task: TaskId) -> None:
        if self._task is None:
            self._task = task
            self._observer.on_launch(task)

    def _not_accepted(self) -> CapacityError:
        why = f": {self._lack}" if self._lack else ""
        error = CapacityError(f"no task was accepted within {self._timeouts.launch} s{why}")
        if self._lack is not None:
            error.remedy = self._lack.remedy
        return error

    async def stop(self) -> None:
        """Stop the task, even if the calling task is being cancelled."""
        self.stopped = not self._maybe_launched
        if not self.stopped:
            token = self.request.token
            stop = TaskStop(
                self._backend, self._task, self._timeouts, find=self._find_task, token=token
            )
            await stop.finish()
            self.stopped = stop.accepted

    async def _find_task(self) -> TaskId:
        with anyio.fail_after(self._timeouts.call):  # this answer may be lost as well
            task = await self._backend.launcher.launch(self.request)
        self._note_task(task)
        return task

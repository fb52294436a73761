"""Connections to workers: waiting until a worker is ready, and asking why a worker failed."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio

from cloudburst.concurrency import poll
from cloudburst.engine.defects import log_defect, worker_errors
from cloudburst.errors import (
    CloudburstError,
    NoAnswerError,
    Remedy,
    ThrottledError,
    WorkerError,
    WorkerNotReadyError,
    WorkerStoppedError,
    WorkerUnreachableError,
)
from cloudburst.models.failures import is_external_stop
from cloudburst.models.failures.stops import EXITED_NORMALLY, EXITED_WITH_ERROR
from cloudburst.models.limits import READINESS_BACKOFF, Backoff, Timeouts
from cloudburst.models.task import Secrets, TaskId, TaskState, TaskStatus
from cloudburst.ports.backend import Backend, Silence
from cloudburst.ports.renderer import Renderer
from cloudburst.redaction import redact
from cloudburst.text import short_task

logger = logging.getLogger(__name__)

# Seconds for which the worker of a running task gives no answer before that is logged. Programs
# that work begin to answer within a few seconds.
SILENCE_NOTICE_SECONDS = 20.0
# Seconds for which the backend is asked whether the task of an unresponsive worker is being
# stopped. ECS announces an interruption in the same minute:
# https://github.com/aws/containers-roadmap/issues/2673 (2025-09).
STOP_NEWS_TIMEOUT = 5.0


class TaskProbe:
    """Reader of the status of one task, as the backend reports it."""

    def __init__(
        self, backend: Backend, task: TaskId, on_status: Callable[[TaskStatus], None]
    ) -> None:
        self.task = task
        self._launcher = backend.launcher
        self._on_status = on_status
        self._reason = ""  # of the last status

    async def status(self, *, refresh: bool = False) -> TaskStatus:
        """Return the status of a task that has not stopped.

        Raises:
            WorkerStoppedError: The task has stopped.
        """
        status = await self._launcher.describe(self.task, refresh=refresh)
        self._reason = status.reason
        self._on_status(status)
        if status.state is TaskState.STOPPED:
            raise stopped_error(self.task, "stopped", status)
        return status

    async def address(self) -> str | None:
        """Return the base URL of the worker; ``None`` if the task has none yet."""
        return (await self.status()).address

    @contextmanager
    def ready_by(self, deadline: float) -> Generator[None]:
        """Cancel the ``with`` block at the deadline, a time on anyio's clock.

        Raises:
            WorkerNotReadyError: The deadline has passed.
        """
        with anyio.CancelScope(deadline=deadline) as scope:
            yield
        if scope.cancelled_caught:
            why = f": {self._reason}" if self._reason else ""
            msg = f"{self.task} did not become ready in time{why}"
            raise WorkerNotReadyError(msg, task=self.task)


class WorkerConnection:
    """Connection to the worker of a task, with the renderer that sends requests to the worker."""

    def __init__(
        self, probe: TaskProbe, renderer: Renderer, backend: Backend, address: str, reach: float
    ) -> None:
        self.task = probe.task
        self.renderer = renderer
        self._probe = probe
        self._backend = backend
        self._address = address
        self._reach = reach
        self._running_since: float | None = None
        self._silence: Silence | None = None  # explanation, once the worker is silent for long

    async def is_leaving(self) -> bool:
        """Return whether the backend has announced that it will stop the task.

        Raises:
            WorkerStoppedError: The task has stopped.
        """
        return (await self._probe.status()).stop_announced

    async def is_healthy(self) -> bool | None:
        """Return True if the worker answers, else ``None``, which makes `poll` ask again.

        Raises:
            WorkerStoppedError: The task has stopped.
            WorkerUnreachableError: It has run for ``Timeouts.reach`` seconds without an answer.
        """
        if await self.answers():
            return True
        if (await self._probe.status()).state is TaskState.RUNNING:
            await self._note_silence()
        return None

    async def answers(self) -> bool:
        """Return whether the worker answers that it can render.

        Raises:
            WorkerError: It cannot render, or is another program.
        """
        with worker_errors():
            return await self.renderer.is_healthy()

    async def _note_silence(self) -> None:
        """Log that the worker of a running task gives no answer; raise the error after too long."""
        now = anyio.current_time()
        self._running_since = now if self._running_since is None else self._running_since
        silent = now - self._running_since
        if silent < min(SILENCE_NOTICE_SECONDS, self._reach):
            return
        failure = f"no render service answered at {self._address} for {silent:.0f} s"
        failure = f"{failure} ({redact(self.renderer.health_failure)})"
        if self._silence is None:
            self._silence = await self._explain_silence()
            logger.warning("%s; %s", failure, self._silence.text)
        if silent >= self._reach:
            error = WorkerUnreachableError(f"{failure}; {self._silence.text}", task=self.task)
            error.remedy = Remedy.FIX_SETUP if self._silence.certain else Remedy.OTHER_WORKER
            raise error

    async def _explain_silence(self) -> Silence:
        try:
            if self._backend.explain_silence is not None:
                return await self._backend.explain_silence(self._address)
        except CloudburstError as exc:
            logger.debug("%s: its silence is not explained: %s", self.task, exc)
        return Silence("its program hangs, or its port is blocked", certain=False)

    async def explain(self, error: WorkerError, *, within: float) -> WorkerError:
        """Ask the backend why a call to the worker failed, and return the error to report."""
        status: TaskStatus | None = None
        try:
            with anyio.move_on_after(within):
                status = await self._stop_news()
            if status is not None and status.stop_announced:
                return _caused(stopped_error(self.task, "is being stopped", status), error)
        except WorkerStoppedError as stopped:
            return _caused(stopped, error)
        except CloudburstError:
            pass  # the backend does not answer, and the error stands
        except Exception as exc:  # noqa: BLE001 - the first error stands
            log_defect(exc, f"state of {self.task}")
        return error

    async def _stop_news(self) -> TaskStatus:
        """Wait until the task's status announces a stop, and return the last status."""
        # It is needed because a backend may report a stop late: the processes of a Spot task have
        # ended by SIGTERM before ECS reports the interruption.
        deadline = anyio.current_time() + STOP_NEWS_TIMEOUT
        for delay in READINESS_BACKOFF.delays():
            status = await self._probe.status(refresh=True)
            over = anyio.current_time() >= deadline
            if over or status.stop_announced or await self.answers():
                return status
            await anyio.sleep(delay)
        raise AssertionError("unreachable: delays() never ends")


@asynccontextmanager
async def connected(
    backend: Backend,
    task: TaskId,
    secrets: Secrets,
    *,
    found: TaskState | None,
    timeouts: Timeouts,
    backoff: Backoff,
    on_status: Callable[[TaskStatus], None],
) -> AsyncGenerator[WorkerConnection]:
    """Wait until the worker of a task is ready, and yield a connection to it.

    Raises:
        WorkerNotReadyError: The worker was not ready in time.
        WorkerUnreachableError: The task runs, and its worker does not answer.
        WorkerStoppedError: The task has stopped.
    """
    probe = TaskProbe(backend, task, on_status)
    patience = timeouts.call if found is TaskState.RUNNING else timeouts.ready
    deadline = anyio.current_time() + (math.inf if patience is None else patience)
    with probe.ready_by(deadline):
        address = await poll(probe.address, delays=backoff.delays())
    async with backend.connect(address, secrets=secrets) as renderer:
        reach = math.inf if timeouts.reach is None else timeouts.reach
        connection = WorkerConnection(probe, renderer, backend, address, reach)
        # The delays start again: from now on the worker may answer at any moment.
        with probe.ready_by(deadline):
            await poll(connection.is_healthy, delays=backoff.delays())
            if found is not None:
                with worker_errors():
                    await renderer.discard_jobs()
        yield connection


async def wait_until_stopped(
    backend: Backend, task: TaskId, backoff: Backoff, on_status: Callable[[TaskStatus], None]
) -> None:
    """Wait until the backend reports that a task has stopped, after it has accepted the stop."""

    async def stopped() -> bool | None:
        try:
            status = await backend.launcher.describe(task)
        except (NoAnswerError, ThrottledError):
            return None
        on_status(status)
        return True if status.state is TaskState.STOPPED else None

    try:
        await poll(stopped, delays=backoff.delays())
    except CloudburstError as exc:
        logger.warning("%s: not seen to have stopped: %s", task, exc)
    except Exception as exc:  # noqa: BLE001 - the stop was accepted
        log_defect(exc, f"stop of {task}")


def _caused(stopped: WorkerStoppedError, error: WorkerError) -> WorkerStoppedError:
    stopped.__cause__ = error
    return stopped


def stopped_error(task: TaskId, how: str, status: TaskStatus) -> WorkerStoppedError:
    """Return the error of a task that has stopped or will be stopped, with the backend's reason."""
    reason, failure = status.reason or "no reason given", status.failure
    if failure is not None and failure.action:
        reason = f"{reason} ({failure.summary})"
    code = status.stop_code
    over = bool(code) or status.state is TaskState.STOPPED
    error = WorkerStoppedError(
        f"task {short_task(task)} {how}: {reason}",
        task=task,
        stop_code=code,
        crashed=over and not is_external_stop(code) and failure is not EXITED_NORMALLY,
        error_exit=failure is EXITED_WITH_ERROR,
    )
    if failure is not None:
        error.remedy = failure.remedy
    return error

"""The life of one worker: launch, wait, use, stop."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import anyio

from cloudburst.engine.launch import launched, taken_over
from cloudburst.engine.polling import poll
from cloudburst.errors import (
    CloudburstError,
    NoAnswerError,
    ThrottledError,
    WorkerError,
    WorkerNotReadyError,
    WorkerStoppedError,
)
from cloudburst.models.failures import by_others
from cloudburst.models.policy import Backoff, Timeouts
from cloudburst.models.task import FoundTask, TaskId, TaskSpec, TaskState, TaskStatus
from cloudburst.ports import Backend, Renderer

logger = logging.getLogger(__name__)

Look: TypeAlias = Callable[[bool], Awaitable[TaskStatus]]
"""What the backend says of a task now, or anew; raises `WorkerStoppedError` if it has ended."""


class Worker:
    """A task that answers, and the line to it."""

    def __init__(self, task: TaskId, look: Look, renderer: Renderer) -> None:
        self.task = task
        self.renderer = renderer
        self._look = look

    async def leaving(self) -> bool:
        """Whether the backend is about to take the task away.

        Raises `WorkerStoppedError` if it has ended.
        """
        return (await self._look(False)).leaving

    async def explain(self, error: WorkerError, *, within: float) -> WorkerError:
        """The same error, or the backend's own reason where it knows one."""
        try:
            with anyio.move_on_after(within):
                status = await self._look(True)
                if status.leaving:
                    raise _stopped(self.task, "is being stopped", status)
        except WorkerStoppedError as stopped:
            stopped.__cause__ = error
            return stopped
        except CloudburstError:
            pass  # no word from the backend: what we have must do
        return error


@asynccontextmanager
async def open_worker(
    backend: Backend,
    spec: TaskSpec,
    *,
    timeouts: Timeouts,
    backoff: Backoff,
    found: FoundTask | None,
    before: Callable[[str], Awaitable[None]],
    on_launch: Callable[[TaskId], None],
    on_stop: Callable[[bool], None],
    on_status: Callable[[TaskStatus], None],
    others: Callable[[], bool] = lambda: False,
) -> AsyncGenerator[Worker]:
    """A ready worker; its task is stopped on every way out.

    ``before`` is awaited with the token of a launch, ``on_launch`` is told of the task,
    ``on_stop`` whether its stop was accepted, and ``on_status`` whatever is learned of it. A task
    that was ``found`` is taken over in place of a launch; one that runs must answer at once.
    ``others`` as for `launched`.
    """
    holding = (
        launched(
            backend,
            spec,
            timeouts,
            before=before,
            on_launch=on_launch,
            on_stop=on_stop,
            others=others,
        )
        if found is None
        else taken_over(backend, found, timeouts, on_stop)
    )
    async with holding as (task, secrets):
        said = ""

        async def look(anew: bool = False) -> TaskStatus:
            nonlocal said
            status = await backend.launcher.describe(task, anew=anew)
            said = status.reason
            on_status(status)
            if status.state is TaskState.STOPPED:
                raise _stopped(task, "stopped", status)
            return status

        runs = found is not None and found.status.state is TaskState.RUNNING
        patience = timeouts.call if runs else timeouts.ready
        deadline = anyio.current_time() + (math.inf if patience is None else patience)
        with _ready_by(deadline, task, lambda: said):
            address = await poll(lambda: _address(look), backoff=backoff)
        async with backend.connect(address, secrets=secrets) as renderer:
            worker = Worker(task, look, renderer)
            # The backoff starts anew here: from now on the machine may answer at any moment.
            with _ready_by(deadline, task, lambda: said):
                await poll(lambda: _answers(worker), backoff=backoff)
                if found is not None:
                    await renderer.clear()
            yield worker


async def until_stopped(
    backend: Backend, task: TaskId, backoff: Backoff, on_status: Callable[[TaskStatus], None]
) -> None:
    """Watch a task that was given back until the backend says that it has ended."""

    async def stopped() -> bool | None:
        try:
            status = await backend.launcher.describe(task)
        except (NoAnswerError, ThrottledError):
            return None
        on_status(status)
        return True if status.state is TaskState.STOPPED else None

    try:
        await poll(stopped, backoff=backoff)
    except CloudburstError as exc:
        logger.warning("%s: not seen to have stopped: %s", task, exc)


def _stopped(task: TaskId, how: str, status: TaskStatus) -> WorkerStoppedError:
    reason, failure = status.reason or "no reason given", status.failure
    if failure is not None and failure.do:
        reason = f"{reason} ({failure.told})"
    code = status.stop_code
    over = bool(code) or status.state is TaskState.STOPPED
    error = WorkerStoppedError(
        f"{task} {how}: {reason}",
        task=task,
        stop_code=code,
        died=over and not by_others(code),
    )
    if failure is not None:
        error.remedy = failure.remedy
    return error


async def _address(look: Look) -> str | None:
    return (await look(False)).address


async def _answers(worker: Worker) -> bool | None:
    if await worker.renderer.healthy():
        return True
    await worker.leaving()
    return None


@contextmanager
def _ready_by(deadline: float, task: TaskId, said: Callable[[], str]) -> Generator[None]:
    with anyio.CancelScope(deadline=deadline) as scope:
        yield
    if scope.cancelled_caught:
        why = f": {reason}" if (reason := said()) else ""
        raise WorkerNotReadyError(f"{task} did not become ready in time{why}", task=task)

"""The life of one worker: launch, wait, use, stop."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio

from cloudburst.engine.launch import launched
from cloudburst.engine.polling import poll
from cloudburst.errors import (
    CloudburstError,
    WorkerError,
    WorkerNotReadyError,
    WorkerStoppedError,
)
from cloudburst.models.policy import Backoff, Timeouts
from cloudburst.models.task import TaskId, TaskSpec, TaskState, TaskStatus
from cloudburst.ports import Backend, Renderer


class Worker:
    """A task that answers, and the line to it."""

    def __init__(self, task: TaskId, backend: Backend, renderer: Renderer) -> None:
        self.task = task
        self.backend = backend
        self.renderer = renderer

    async def check(self) -> None:
        """Raise `WorkerStoppedError` if the backend says that the task has ended."""
        _raise_if_stopped(self.task, await self.backend.launcher.describe(self.task))

    async def explain(self, error: WorkerError, *, within: float) -> WorkerError:
        """The same error, or the backend's own reason where it knows one."""
        try:
            with anyio.move_on_after(within):
                await self.check()
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
    on_launch: Callable[[TaskId], None],
) -> AsyncGenerator[Worker]:
    """A ready worker; its task is stopped on every way out."""
    async with launched(backend, spec, timeouts) as (task, secrets):
        on_launch(task)
        deadline = anyio.current_time() + (math.inf if timeouts.ready is None else timeouts.ready)
        with _ready_by(deadline, task):
            address = await poll(lambda: _address(backend, task), backoff=backoff)
        async with backend.connect(address, secrets=secrets) as renderer:
            worker = Worker(task, backend, renderer)
            # The backoff starts anew here: from now on the machine may answer at any moment.
            with _ready_by(deadline, task):
                await poll(lambda: _answers(worker), backoff=backoff)
            yield worker


async def _address(backend: Backend, task: TaskId) -> str | None:
    status = await backend.launcher.describe(task)
    _raise_if_stopped(task, status)
    return status.address


async def _answers(worker: Worker) -> bool | None:
    if await worker.renderer.healthy():
        return True
    await worker.check()
    return None


def _raise_if_stopped(task: TaskId, status: TaskStatus) -> None:
    if status.state is TaskState.STOPPED:
        raise WorkerStoppedError(f"{task} stopped: {status.reason or 'no reason given'}", task=task)


@contextmanager
def _ready_by(deadline: float, task: TaskId) -> Generator[None]:
    with anyio.CancelScope(deadline=deadline) as scope:
        yield
    if scope.cancelled_caught:
        raise WorkerNotReadyError(f"{task} did not become ready in time", task=task)

"""The calls of ``cloudburst-fargate`` for programs without an event loop: they block.

Each runs the coroutine of the same name in an event loop of its own, in the thread that calls it.
In the main thread SIGINT (Ctrl-C) and SIGTERM cancel it and stop its tasks before they do what they
always do; a program that has handlers of its own for them keeps those.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.lowlevel

from cloudburst import compat
from cloudburst.client import AnyScene
from cloudburst.compat import (
    AccountValidity,
    BatchResult,
    CleanupResult,
    FargateCost,
    TaskInfo,
    calculate_fargate_cost,
    calculate_optimal_batch_distribution,
)
from cloudburst.engine.groups import unwrapped
from cloudburst.errors import ConfigurationError
from cloudburst.scenes import scan_scenes_from_folder

__all__ = [
    "FargateOperationV1",
    "calculate_fargate_cost",
    "calculate_optimal_batch_distribution",
    "execute_parallel_batches",
    "scan_scenes_from_folder",
]

P = ParamSpec("P")
T = TypeVar("T")


def _twin(call: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    @wraps(call, assigned=("__name__", "__qualname__", "__doc__"))
    def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
        return _run(partial(call, *args, **kwargs))

    return blocking


execute_parallel_batches = _twin(compat.execute_parallel_batches)


class FargateOperationV1:
    """As `cloudburst.FargateOperationV1`, but its methods block."""

    def __init__(self, config_priority: int = 1) -> None:
        self._operation = compat.FargateOperationV1(config_priority)

    def execute_batch(
        self,
        scenes: Iterable[AnyScene],
        language: str = "english",
        enable_zoom: bool = True,
        **options: Any,
    ) -> BatchResult:
        """Render all scenes on one task; ``options`` are those of its namesake."""
        return _run(
            partial(self._operation.execute_batch, scenes, language, enable_zoom, **options)
        )

    def list_running_tasks(self, filter_animagent_only: bool = True) -> list[TaskInfo]:
        """The tasks that run in the cluster; without the filter, those of others too."""
        return _run(partial(self._operation.list_running_tasks, filter_animagent_only))

    def cleanup_all_tasks(
        self, reason: str = "Cleanup requested", filter_animagent_only: bool = True
    ) -> CleanupResult:
        """Stop all tasks that run in the cluster; without the filter, those of others too."""
        return _run(partial(self._operation.cleanup_all_tasks, reason, filter_animagent_only))

    def check_aws_account_validity(self) -> AccountValidity:
        """Whether AWS takes the credentials."""
        return _run(self._operation.check_aws_account_validity)

    def calculate_fargate_cost(self, seconds: float, task_count: int = 1) -> FargateCost:
        """What tasks of this size cost: see the function of that name."""
        return self._operation.calculate_fargate_cost(seconds, task_count)

    def scan_scenes_from_folder(self, path: Path | str) -> list[dict[str, Any]]:
        """The scenes of a folder: see the function of that name."""
        return scan_scenes_from_folder(path)


def _run(call: Callable[[], Awaitable[T]]) -> T:
    """Call it in an event loop of its own. Raises `ConfigurationError` where one runs already."""
    try:
        anyio.lowlevel.current_token()
    except RuntimeError:  # no loop in this thread
        pass
    else:
        msg = "an event loop runs in this thread: await the call of `cloudburst` that has this name"
        raise ConfigurationError(msg)
    # Not `anyio.run`: in a thread that has the context of a loop (`asyncio.to_thread`) it may take
    # that loop for one that runs here.
    if not (ours := _signals()):
        return asyncio.run(_alone(call))
    answers: list[T] = []
    came: list[signal.Signals] = []
    try:
        asyncio.run(_guarded(call, ours, answers, came))
    finally:
        if came:  # the loop has put back what the signal does
            signal.raise_signal(came[0])
            raise SystemExit(128 + came[0])  # nothing, where we are a container's first process
    return answers[0]


async def _alone(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


async def _guarded(
    call: Callable[[], Awaitable[T]],
    ours: Sequence[signal.Signals],
    answers: list[T],
    came: list[signal.Signals],
) -> None:
    """Cancel the call when a signal comes. Further ones change nothing: stops are bounded."""
    work = anyio.CancelScope()

    async def watch(signals: AsyncIterator[signal.Signals]) -> None:
        async for signum in signals:
            came.append(signum)
            work.cancel()

    with unwrapped(), anyio.open_signal_receiver(*ours) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, signals)
            with work:
                answers.append(await call())
            tasks.cancel_scope.cancel()


def _signals() -> list[signal.Signals]:
    """Those that would end this process, tasks or not; none outside of the main thread."""
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        return []
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    return [signum for signum, handler in usual.items() if signal.getsignal(signum) is handler]

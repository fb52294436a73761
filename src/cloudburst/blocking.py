"""Blocking calls for scripts, notebooks and workers of task queues.

Each call runs the coroutine of the same name in a new event loop: in the calling thread or, if a
loop runs there already, in a new thread. In the main thread, SIGINT (Ctrl-C), SIGTERM and SIGHUP
(the terminal is closed) first cancel the call and stop its tasks, and then have their default
effect. Signals that the program ignores or handles itself are left alone.

If standard error is a terminal and the program has not configured logging, the calls of
``cloudburst-fargate`` print there what the logger ``cloudburst.runs`` logs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable
from concurrent.futures import wait
from contextlib import contextmanager, nullcontext, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.lowlevel
from anyio.from_thread import start_blocking_portal

from cloudburst import compat
from cloudburst.client import client
from cloudburst.compat import (
    AccountValidity,
    BatchResult,
    CleanupResult,
    FargateCost,
    TaskInfo,
    calculate_fargate_cost,
    calculate_optimal_batch_distribution,
    scan_scenes_from_folder,
)
from cloudburst.errors import PublicCall
from cloudburst.models.scene import AnyScene
from cloudburst.programs import InterruptHandler, stop_signals

__all__ = [
    "FargateOperationV1",
    "calculate_fargate_cost",
    "calculate_optimal_batch_distribution",
    "execute_parallel_batches",
    "render",
    "render_all",
    "scan_and_test_folder",
    "scan_scenes_from_folder",
]

logger = logging.getLogger("cloudburst.runs")
P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def _logged_to_terminal() -> Generator[None]:
    """Write log records of runs to a terminal, unless the program has configured logging."""
    if not sys.stderr.isatty() or logging.root.handlers:
        yield
        return
    handler, level = logging.StreamHandler(), logger.level
    handler.setFormatter(logging.Formatter("cloudburst: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _twin(call: Callable[P, Awaitable[T]], *, shown: bool = False) -> Callable[P, T]:
    @wraps(call, assigned=("__name__", "__qualname__", "__doc__"))
    def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
        with _logged_to_terminal() if shown else nullcontext():
            return _run(partial(call, *args, **kwargs))

    return blocking


render = _twin(client.render)
render_all = _twin(client.render_all)
execute_parallel_batches = _twin(compat.execute_parallel_batches, shown=True)
scan_and_test_folder = _twin(compat.scan_and_test_folder, shown=True)


class FargateOperationV1:
    """Blocking variant of `cloudburst.FargateOperationV1`."""

    def __init__(self, config_priority: int = 1) -> None:
        self._operation = compat.FargateOperationV1(config_priority)

    def execute_batch(
        self,
        scenes: Iterable[AnyScene],
        language: str = "english",
        enable_zoom: bool = True,
        **options: Any,
    ) -> BatchResult:
        """Render all scenes on one task.

        `cloudburst.FargateOperationV1.execute_batch` describes ``options``.
        """
        execute = _twin(self._operation.execute_batch, shown=True)
        return execute(scenes, language, enable_zoom, **options)

    def list_running_tasks(self, filter_animagent_only: bool = True) -> list[TaskInfo]:
        """Return the running tasks of the cluster that have the tag of this package.

        With ``filter_animagent_only=False``, return all running tasks of the cluster.
        """
        return _run(partial(self._operation.list_running_tasks, filter_animagent_only))

    def cleanup_all_tasks(
        self, reason: str = "Cleanup requested", filter_animagent_only: bool = True
    ) -> CleanupResult:
        """Stop the running tasks of the cluster that have the tag of this package.

        With ``filter_animagent_only=False``, stop all running tasks of the cluster.
        """
        return _run(partial(self._operation.cleanup_all_tasks, reason, filter_animagent_only))

    def check_aws_account_validity(self) -> AccountValidity:
        """Ask AWS whether it accepts the credentials, and return the result."""
        return _run(self._operation.check_aws_account_validity)

    def calculate_fargate_cost(self, seconds: float, task_count: int = 1) -> FargateCost:
        """Return the cost of tasks of this size that each run for ``seconds``.

        See `cloudburst.calculate_fargate_cost`.
        """
        return self._operation.calculate_fargate_cost(seconds, task_count)

    def scan_scenes_from_folder(self, path: Path | str) -> list[dict[str, Any]]:
        """Return the scenes of a folder: see `cloudburst.scan_scenes_from_folder`."""
        return scan_scenes_from_folder(path)


def _run(call: Callable[[], Awaitable[T]]) -> T:
    answers, taken = list[T](), InterruptHandler(_signals())
    try:
        with PublicCall(), taken:  # until the loop is closed
            if _runs_loop():
                # If a handler of the program raises, the end of the portal cancels the call.
                with start_blocking_portal() as portal:
                    done = portal.start_task_soon(_guarded, call, taken, answers)
                    # A signal that arrives just before a wait, or in another thread, ends no wait.
                    while not done.done():
                        wait([done], timeout=0.1)
                    done.result()
            else:
                # Not `anyio.run`: in a thread with the context of a loop (`asyncio.to_thread`) it
                # may assume that this loop runs here.
                asyncio.run(_guarded(call, taken, answers))
    finally:
        if taken.first_signal is not None:  # the original handler is installed again
            signal.raise_signal(taken.first_signal)
            if taken.first_signal == signal.SIGINT:  # asyncio's handler has not raised it
                raise KeyboardInterrupt
            raise SystemExit(128 + taken.first_signal)  # as process 1, the signal has no effect
    return answers[0]


def _runs_loop() -> bool:
    with suppress(RuntimeError):
        return bool(anyio.lowlevel.current_token())
    return False


async def _guarded(
    call: Callable[[], Awaitable[T]], taken: InterruptHandler, answers: list[T]
) -> None:
    with anyio.CancelScope() as work, taken.call_on_first_signal(work.cancel):
        answers.append(await call())


def _signals() -> list[signal.Signals]:
    """Return which stop signals have Python's own handler; none outside the main thread."""
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        return []
    default = (signal.SIG_DFL, signal.default_int_handler)
    handlers = {signum: signal.getsignal(signum) for signum in stop_signals()}
    return [each for each, how in handlers.items() if how in default or _is_of_asyncio(how)]


def _is_of_asyncio(handler: object) -> bool:
    """Return whether a handler is that of ``asyncio.run``, which waits for the loop to go on."""
    return getattr(getattr(handler, "func", 0), "__module__", "") == asyncio.Runner.__module__

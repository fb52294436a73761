"""What only this package's own programs do: they start faster, and handle signals.

The command, the service and `cloudburst.blocking` must stop their tasks before they exit.

Python's own handler raises `KeyboardInterrupt` at any point of the program. A second signal may
arrive while the event loop closes: then tasks are not stopped, and threads that wait for the loop
keep the process from exiting. Therefore the handlers here only record the signal. They are
installed from before the loop is created until after it is closed.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    import asyncio

_T = TypeVar("_T")

REPEAT_WINDOW = 2.0
"""Seconds after the first signal during which further signals count as repetitions of it: a
terminal signals a whole process group, wrappers such as ``uv run`` and ``npm`` forward signals that
the program has already received, and users press Ctrl-C several times."""


def lighten_start() -> None:
    """Import less in this process, and look for garbage less often: saves 0.08 CPU seconds.

    It changes the process for all other code, so only a program may call it, before its imports.
    """
    # httpx works without its command line (click, pygments), and httpcore without trio.
    for absent in ("httpx._main", "trio"):
        sys.modules[absent] = None  # type: ignore[assignment]
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")
    # What an import makes is no garbage; from 700 objects on, Python would look through all of it.
    gc.set_threshold(50_000)


def run_until_signal(work: Callable[[], Awaitable[_T]]) -> tuple[_T | None, int]:
    """Run a coroutine, and cancel it after SIGINT, SIGTERM or SIGHUP.

    Returns:
        The result, or ``None`` after a signal; and the exit code.
    """
    import anyio  # noqa: PLC0415 - signals of a container are handled before anything slow

    async def run() -> _T | None:
        with anyio.CancelScope() as scope, signals.call_on_first_signal(scope.cancel):
            return await work()
        return None

    with InterruptHandler(stop_signals()) as signals:
        result = anyio.run(run)
    return result, 0 if result is not None else 128 + (signals.first_signal or 0)


def stop_signals() -> list[signal.Signals]:
    """Return which of SIGINT, SIGTERM and SIGHUP (the terminal is closed) are not ignored.

    Signals that are ignored when a program starts stay ignored: ``nohup`` ignores SIGHUP, and
    shell scripts ignore SIGINT in their background processes.
    """
    names = {"SIGINT", "SIGTERM", "SIGHUP"}  # Windows has no SIGHUP
    found = [signum for signum in signal.Signals if signum.name in names]
    return [signum for signum in found if signal.getsignal(signum) is not signal.SIG_IGN]


class InterruptHandler:
    """Context manager that records signals. It has no effect outside the main thread.

    Args:
        signums: Numbers of the signals to handle.
        on_later_signal: Function that is called in the main thread, at any point of its code, for
            each signal that arrives `REPEAT_WINDOW` seconds or more after the first one. ``None``:
            later signals are ignored.
    """

    def __init__(
        self, signums: Iterable[int], *, on_later_signal: Callable[[int], None] | None = None
    ) -> None:
        self.first_signal: int | None = None
        """Number of the first signal that arrived; ``None`` before."""
        self._signums = tuple(signums)
        self._on_later_signal = on_later_signal
        self._first_time = 0.0
        self._notify: Callable[[], object] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in self._signums:
                self._previous[signum] = signal.signal(signum, self._record)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            # ``None``: not installed by Python, so it cannot be restored.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def ignore_from_now_on(self) -> None:
        """Ignore further signals, even after the block, because the process is about to exit.

        Python restores the system's default reaction while it exits, so that a repeated signal
        would kill the process and change its exit code.
        """
        for signum in self._previous:
            signal.signal(signum, signal.SIG_IGN)
        self._previous.clear()

    @contextmanager
    def call_on_first_signal(self, call: Callable[[], object]) -> Generator[None]:
        """Call a function in the running event loop when the first signal arrives.

        If a signal has arrived before the block, the function is called at once.
        """
        import asyncio  # noqa: PLC0415 - the help of the command needs none, nor its 45 modules

        loop = asyncio.get_running_loop()
        self._notify = lambda: loop.call_soon_threadsafe(call)
        if self.first_signal is not None:
            call()
        try:
            with _woken_by_signals(loop):
                yield
        finally:
            self._notify = None

    def _record(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.first_signal is None:
            self.first_signal, self._first_time = signum, now
            if (notify := self._notify) is not None:
                with suppress(RuntimeError):  # the loop was closed
                    notify()
        elif self._on_later_signal is not None and now - self._first_time >= REPEAT_WINDOW:
            self._on_later_signal(signum)


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """Wake the event loop, if it sleeps, when a signal arrives.

    Python runs handlers in the main thread only. If the system delivers a signal to another thread,
    the main thread sleeps on unless a byte arrives at a socket of its event loop.
    """
    import asyncio  # noqa: PLC0415 - as above
    import socket  # noqa: PLC0415 - as above

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or not isinstance(loop, asyncio.SelectorEventLoop) or _is_woken():
        yield
        return
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        loop.add_reader(receiver, receiver.recv, 64)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            loop.remove_reader(receiver)


def _is_woken() -> bool:
    """Return whether an event loop is woken by signals already, as by ``add_signal_handler``.

    Such a loop reads the numbers of signals from its own socket, which must not be replaced.
    """
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd != -1

"""Helpers for structured concurrency: polling, steps, threads, cancellations, errors.

The emulator uses this module, too, so it imports no other module of the package.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, Self, TypeVar, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup

T = TypeVar("T")
# Number of items, such as scenes, that Steps yields before other tasks may run. Their work takes a
# few milliseconds.
ITEMS_PER_STEP = 100
# Seconds for the start of a process, which takes milliseconds and is shielded from cancellation. If
# asyncio.run ends meanwhile, it cancels the task of asyncio that connects the pipes. Some versions
# of Python then wait for the process without end (https://github.com/python/cpython/issues/125502,
# 2026-11).
START_TIMEOUT = 30.0
# Seconds after which opened_in_thread gives up to close something, for a disk that hardly responds.
CLOSE_TIMEOUT = 10.0


async def poll(probe: Callable[[], Awaitable[T | None]], *, delays: Iterable[float]) -> T:
    """Call ``probe`` until it returns something other than ``None``, and return that."""
    for delay in delays:
        if (answer := await probe()) is not None:
            return answer
        await anyio.sleep(delay)
    raise AssertionError("unreachable: delays never end")


@asynccontextmanager
async def while_connected(receive: Callable[[], Awaitable[Any]]) -> AsyncGenerator[TaskGroup]:
    """Yield a task group that is cancelled when the HTTP client disconnects (ASGI), or at the end.

    ``receive`` is the function that returns the next message of the client.
    """

    async def cancel_on_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    with collapse_single():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_on_disconnect)
            yield tasks
            tasks.cancel_scope.cancel()


class Retries:
    """Attempts that are left for one thing, and the delays before them."""

    def __init__(
        self, delays: Iterator[float], *, attempts: float = math.inf, seconds: float = math.inf
    ) -> None:
        self._delays = delays
        self._attempts = attempts
        self._seconds = seconds
        self._end: float | None = None

    async def wait(self, error: Exception, *, at_least: float = 0.0) -> None:
        """Wait before the next attempt; raise the error if there is none.

        The time of all attempts begins with the first failure.
        """
        delay, now = max(next(self._delays), at_least), anyio.current_time()
        self._attempts -= 1
        if self._end is None:
            self._end = now + self._seconds
        if self._attempts <= 0 or now + delay > self._end:
            raise error
        await anyio.sleep(delay)


async def for_each(
    items: Iterable[T], call: Callable[[T], Awaitable[object]], *, at_once: int
) -> None:
    """Call a function for each item, for some of them at once.

    After an error, the calls for the other items are cancelled.

    Raises:
        Exception: The first error of a call, not in an exception group.
    """
    errors: list[Exception] = []
    limiter = anyio.CapacityLimiter(at_once)

    async def call_for(item: T) -> None:
        async with limiter:
            try:
                await call(item)
            except Exception as exc:  # noqa: BLE001 - it is raised below
                errors.append(exc)
                tasks.cancel_scope.cancel()

    with collapse_single():
        async with anyio.create_task_group() as tasks:
            for item in items:
                tasks.start_soon(call_for, item)
    if errors:
        raise errors[0]


async def call_sync_or_async(function: Callable[..., T | Awaitable[T]], *args: Any) -> T:
    """Return the result of a function of the caller, which may be a coroutine function.

    Any other function is called in a thread, because it may block.
    """
    if inspect.iscoroutinefunction(function):
        found: object = function(*args)
    else:
        found = await anyio.to_thread.run_sync(function, *args)
    return await cast("Awaitable[T]", found) if inspect.isawaitable(found) else cast("T", found)


class Steps(Generic[T]):
    """Asynchronous iterator over items that lets other tasks run after `ITEMS_PER_STEP` items.

    >>> async def add_all(numbers: list[int]) -> int:
    ...     total = 0
    ...     async for number in Steps(numbers):
    ...         total += number
    ...     return total
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._number = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._number += 1
        if not self._number % ITEMS_PER_STEP:
            await anyio.lowlevel.checkpoint()
        for item in self._items:
            return item
        raise StopAsyncIteration


async def finish_despite_cancel(call: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """Return the result of a call that finishes even if the calling task is cancelled.

    anyio's shields hold back cancellations by anyio, but not asyncio's own ``Task.cancel()``, which
    web servers and ``asyncio.timeout`` use, and which an anyio scope around ``asyncio.gather``
    repeats in every turn of the event loop. On asyncio, the call therefore runs in a task of its
    own, and a cancellation of the calling task is raised when the call has ended.

    Raises:
        TimeoutError: The call did not finish within ``seconds``.
    """

    async def finish() -> T:
        with anyio.fail_after(seconds, shield=True):
            return await call()

    if not _on_asyncio():
        return await finish()
    ended = _Ended()
    task = asyncio.ensure_future(finish())
    # A program that cancels all of its tasks cancels the calling one, which waits for this one.
    asyncio._unregister_task(task)  # noqa: SLF001 - documented, for extensions of asyncio
    task.add_done_callback(lambda _: ended.set_result(None))
    try:
        with anyio.CancelScope(shield=True):
            await ended
    except asyncio.CancelledError:
        task.exception()  # otherwise asyncio logs it as never retrieved
        raise
    return task.result()


class _Ended(asyncio.Future[None]):
    """Future that cannot be cancelled.

    asyncio raises the cancellation of a task that waits for it when the future is done.
    """

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002
        return False


@asynccontextmanager
async def opened_in_thread(
    open_it: Callable[[], T], close: Callable[[T], object]
) -> AsyncGenerator[T]:
    """Open something in a thread, yield it, and close it in a thread at the end.

    A cancellation is raised when the thread that opens it has ended: see `finish_despite_cancel`.
    """
    opened = list[T]()
    try:
        await finish_despite_cancel(
            lambda: anyio.to_thread.run_sync(lambda: opened.append(open_it())), seconds=math.inf
        )
        yield opened[0]
    finally:
        if opened:
            await finish_despite_cancel(
                lambda: anyio.to_thread.run_sync(close, opened[0]), seconds=CLOSE_TIMEOUT
            )


@contextmanager
def collapse_single() -> Generator[None]:
    """Replace an exception group by its exception if it has only one; keep larger groups.

    On asyncio, a single ``KeyboardInterrupt`` stays in its group. The interrupted task has already
    raised it through the event loop once. Without the group it would be raised through the loop
    again while the loop shuts down, and threads that the interpreter joins at exit would not be
    stopped.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        lone = _lone(group)
        if isinstance(lone, KeyboardInterrupt) and _on_asyncio():
            raise
    else:
        return
    context = lone.__context__
    try:
        raise lone
    finally:
        lone.__context__ = context  # not the group: tracebacks would show the error twice


def _lone(error: BaseException) -> BaseException:
    match error:
        case BaseExceptionGroup(exceptions=(only,)):
            return _lone(only)
        case _:
            return error


def _on_asyncio() -> bool:
    return anyio.get_cancelled_exc_class().__module__.startswith("asyncio")

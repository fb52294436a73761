"""The one object that users hold."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias
from uuid import uuid4

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup

from cloudburst.backends import default_backend
from cloudburst.books import Book, Books, open_books
from cloudburst.engine.figures import Figures
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.polling import insist
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import Run, open_run
from cloudburst.errors import ClosedError, ConfigurationError
from cloudburst.fingerprint import fingerprinted
from cloudburst.history import load_history, save_history
from cloudburst.models.entries import Entry, RunEntry, SceneEntry
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import READINESS, Backoff, Limits, Timeouts
from cloudburst.models.report import Report
from cloudburst.models.scene import CheckedScene, Scene, Video
from cloudburst.models.task import TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.outputs import claimed
from cloudburst.ports import Backend, OpenBackend
from cloudburst.resuming import run_of

AnyScene: TypeAlias = Scene | Mapping[str, Any]
"""A scene, or the dictionary of one."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOMENT = 2.0
"""Seconds that the end of a run waits for its journal: it needs milliseconds, but for a launch that
others want, which may be in vain for long, and for a task whose bill goes on."""


class Client(anyio.AsyncContextManagerMixin):
    """Renders scenes on workers that it starts, shares among all calls, and stops.

    >>> async with Client() as client:  # doctest: +SKIP
    ...     report = await client.render_all(scenes, to="out")

    One client serves many concurrent calls of one event loop; their scenes take turns. Used
    before it was entered, after it was left or from another loop, it raises `ClosedError`.

    Args:
        backend: Where workers run, or several such places in the order of preference. The
            default is Fargate where a subnet is configured (``AWS_SUBNET_ID``), else this machine.
        options: How videos look, unless a call says otherwise.
        tier: Size of a task, where the backend has sizes.
        timeouts: Seconds that things may take.
        limits: How much at once.
        backoff: Delays between two questions whether a starting worker is ready.
    """

    def __init__(
        self,
        backend: OpenBackend | Sequence[OpenBackend] | None = None,
        *,
        options: RenderOptions | None = None,
        tier: Tier = Tier.STANDARD,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        backoff: Backoff = READINESS,
    ) -> None:
        self._backend = backend
        self._options = options or RenderOptions()
        self._spec = TaskSpec(tier=tier)
        self._timeouts = timeouts or Timeouts()
        self._limits = limits or Limits()
        self._backoff = backoff
        self._open: _Open | None = None
        self._names: set[str] = set()  # of the runs that go on

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        with unwrapped():
            async with AsyncExitStack() as stack:
                backends = [await stack.enter_async_context(b) for b in self._backends()]
                books = await stack.enter_async_context(open_books())  # closed after all tasks
                tasks = await stack.enter_async_context(anyio.create_task_group())
                figures = Figures(await load_history())
                pool = WorkerPool(
                    tasks,
                    backends,
                    spec=self._spec,
                    timeouts=self._timeouts,
                    limits=self._limits,
                    backoff=self._backoff,
                    figures=figures,
                )
                loop = anyio.lowlevel.current_token()
                self._open = _Open(pool=pool, loop=loop, tasks=tasks, books=books)
                try:
                    yield self
                    self._open = None
                    await pool.given_back()
                    await save_history(pool.take_samples())
                finally:
                    self._open = None
                    pool.close()
                    tasks.cancel_scope.cancel()

    def _backends(self) -> list[AbstractAsyncContextManager[Backend]]:
        match self._backend:
            case None:
                openers: Sequence[OpenBackend] = [default_backend()]
            case Sequence():
                openers = self._backend
            case _:
                openers = [self._backend]
        return [open_backend(self._timeouts, self._spec.tier) for open_backend in openers]

    async def render(
        self,
        scene: AnyScene,
        *,
        to: Path | str,
        options: RenderOptions | None = None,
        overwrite: bool = False,
    ) -> Video:
        """Render one scene into the folder ``to`` and wait for its video.

        Raises:
            ConfigurationError: What `stream` raises before anything starts.
            CloudburstError: What went wrong with the scene or its worker.
        """
        async with self.stream([scene], to=to, options=options, overwrite=overwrite) as run:
            report = await run.until_done()
        if report.errors:
            raise report.errors[0]
        if not report.videos:
            raise ClosedError("the client was left while the scene was rendered")
        return report.videos[0]

    async def render_all(
        self,
        scenes: Iterable[AnyScene],
        *,
        to: Path | str,
        options: RenderOptions | None = None,
        overwrite: bool = False,
        name: str | None = None,
        resume: bool = False,
    ) -> Report:
        """Render all scenes into the folder ``to``; a scene that fails stops no other.

        Returns when every video is verified and the stop of every task that is not kept warm
        is accepted. `Report.raise_for_failures` turns failed scenes into an exception. ``name``
        and ``resume`` are those of `stream`.

        Raises:
            ConfigurationError: What `stream` raises before anything starts.
        """
        async with self.stream(
            scenes, to=to, options=options, overwrite=overwrite, name=name, resume=resume
        ) as run:
            return await run.until_done()
        raise AssertionError("unreachable: a stream swallows no exception")

    @asynccontextmanager
    async def stream(
        self,
        scenes: Iterable[AnyScene],
        *,
        to: Path | str,
        options: RenderOptions | None = None,
        overwrite: bool = False,
        name: str | None = None,
        resume: bool = False,
    ) -> AsyncGenerator[Run]:
        """Render all scenes into ``to`` and iterate over what happens.

        Leaving the block early cancels what is not done; finished videos stay, and
        ``run.report`` stays readable. ``name`` identifies the run in tags and file names: letters,
        digits, dashes and underscores; no two runs may share one. ``None`` makes one up.

        What happens is written down in ``.cloudburst`` within ``to``. ``resume=True`` goes on with
        the run of that ``name``, or without a name with the newest run there that has one of these
        scenes, however it ended; where there is none, a new run begins. Videos that it has made
        and that are as it has made them are not made again, unless what goes into them has
        changed; its tasks that still run are taken over, or stopped, and are on the bill.

        Raises, before anything is started:
            ConfigurationError: The name is none, a run has it, or its journal cannot be read.
            InvalidScenesError: Everything that is wrong with the scenes and their files.
            OutputExistsError: Videos of these names exist and ``overwrite`` is false; with
                ``resume`` those of the run itself do not count.
            OutputClaimedError: A run that is still alive writes to these names, or is the one to
                go on with.
            BusyError: More scenes would wait than ``Limits.waiting`` allows.
            ClosedError: The client is not open, or belongs to another event loop.
        """
        client = self._opened()
        options = _absolute(options or self._options)
        checked = await anyio.to_thread.run_sync(_check, list(scenes), options, self._limits)
        names, folder = [scene.scene.name for scene in checked], _folder(to)
        if resume and name is None:
            name = await anyio.to_thread.run_sync(run_of, folder, names)
        run_name = uuid4().hex[:12] if name is None else name
        with unwrapped(), _alone(run_name, self._names):
            async with (
                claimed(folder, names, run=run_name, overwrite=overwrite, resume=resume) as paths,
                client.book(folder, run_name, resume=resume) as book,
            ):
                earlier = await book.earlier(checked, paths, overwrite=overwrite, resume=resume)
                async with open_run(
                    run_name,
                    checked,
                    client.pool,
                    to=paths,
                    options=options,
                    timeouts=self._timeouts,
                    limits=self._limits,
                    journal=book.journal,
                    first=self._first(client.pool, run_name, checked, options, book.journal.now()),
                    earlier=earlier,
                ) as book.run:
                    yield book.run
            await save_history(client.pool.take_samples())

    def _first(
        self,
        pool: WorkerPool,
        run: str,
        scenes: Sequence[CheckedScene],
        options: RenderOptions,
        now: float,
    ) -> Sequence[Entry]:
        """What must be known of a run before anything of it begins."""
        life = RunEntry(
            run=run,
            began=now,
            options=options,
            tier=self._spec.tier,
            limits=self._limits,
            backends=tuple(backend.name for backend in pool.backends),
        )
        entries = [
            SceneEntry(scene=one.scene, seconds=one.seconds, fingerprint=one.fingerprint)
            for one in scenes
        ]
        return [life, *entries]

    def _opened(self) -> _Open:
        if self._open is None:
            raise ClosedError("enter the client first: async with Client(...) as client")
        if self._open.loop != anyio.lowlevel.current_token():
            raise ClosedError("the client belongs to another event loop; make one for this loop")
        return self._open


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """What there is only between entering and leaving a client."""

    pool: WorkerPool
    loop: object
    tasks: TaskGroup
    books: Books

    @asynccontextmanager
    async def book(self, folder: Path, run: str, *, resume: bool) -> AsyncGenerator[Book]:
        """The journal of a run. It stays open while tasks are billed that were given back."""
        book = await self.books.open(folder, run, resume=resume)
        try:
            yield book
        finally:
            if book.run is None:
                await self.books.close(book)
            else:
                with suppress(RuntimeError):  # the client was left, and closes all of them
                    self.tasks.start_soon(self.books.close_later, book)
                    await self._closed(book, run)

    async def _closed(self, book: Book, run: str) -> None:
        """Who leaves a run, also one that was cut off, may remove its folder."""
        if self.pool.still_billed(run):
            return
        with suppress(TimeoutError):
            await insist(book.closed.wait, seconds=MOMENT)


async def render(
    scene: AnyScene,
    *,
    to: Path | str,
    backend: OpenBackend | Sequence[OpenBackend] | None = None,
    options: RenderOptions | None = None,
    overwrite: bool = False,
) -> Video:
    """Render one scene with a client of its own: see `Client` and `Client.render`."""
    async with Client(backend, options=options, limits=Limits(workers=1)) as client:
        return await client.render(scene, to=to, overwrite=overwrite)


@contextmanager
def _alone(name: str, names: set[str]) -> Generator[None]:
    """Have the name of a run to oneself: tasks and bills are told apart by it."""
    if not _NAME.fullmatch(name):
        expected = "1 to 64 letters, digits, dashes and underscores of ASCII"
        raise ConfigurationError(f"the run's name is {name!r}; expected {expected}")
    if name in names:
        raise ConfigurationError(f"a run of this client is called {name!r} already")
    names.add(name)
    try:
        yield
    finally:
        names.remove(name)


def _check(
    scenes: Sequence[AnyScene], options: RenderOptions, limits: Limits
) -> tuple[CheckedScene, ...]:
    # Imported here, in a thread: Pillow takes its time, and not every program renders.
    from cloudburst.preflight import check  # noqa: PLC0415

    return fingerprinted(check(scenes, options, limits), options)


def _folder(to: Path | str) -> Path:
    return Path(to).absolute()


def _absolute(options: RenderOptions) -> RenderOptions:
    """As another process, in another folder, would need them."""
    if options.watermark is None:
        return options
    return options.model_copy(update={"watermark": options.watermark.absolute()})

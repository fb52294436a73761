"""Client: the object that owns workers and runs scenes on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Self, Unpack
from uuid import uuid4

import anyio
import anyio.lowlevel
from anyio import to_thread

from cloudburst.client.backends import account_of, backend_list, default_backend
from cloudburst.client.resources import ClientResources, RemoteAccess, RunJournals
from cloudburst.client.run_inputs import SceneIntake, check_inputs, looking_ahead, scene_list
from cloudburst.concurrency import collapse_single, finish_despite_cancel
from cloudburst.display.progress import progress_shown
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.open_run import open_run
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import Run, RunSpec
from cloudburst.engine.scheduler.budget import SharedBudget
from cloudburst.errors import ClosedError, PublicCall
from cloudburst.film.request import film_request
from cloudburst.inputs.scene_fingerprints import InputHashes
from cloudburst.models.film import FilmOptions
from cloudburst.models.journal_entries import ProcessEntry
from cloudburst.models.limits import READINESS_BACKOFF, Backoff, Limits, Timeouts
from cloudburst.models.options import RenderOptions, given_options
from cloudburst.models.remote_file import Download
from cloudburst.models.report import Report
from cloudburst.models.scene import AnyScene, Video
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.outputs.history import read_history, write_history
from cloudburst.ports.backend import OpenBackend

CALLS_TIMEOUT = 10.0
"""Maximum number of seconds that the end of a client waits for its open calls."""


class Client(anyio.AsyncContextManagerMixin):
    """Client that starts workers, renders scenes on them, and stops them.

    >>> async with Client() as client:  # doctest: +SKIP
    ...     report = await client.render_all(scenes, to="out")

    One client serves many concurrent calls of one event loop. The calls share its workers, and
    their scenes take turns. Outside its ``async with`` block, or from another event loop, every
    call raises `ClosedError`. A program that has hooks for its start and its end in place of a
    block, such as the worker of a task queue, calls `open` and `aclose`.

    The ``async with`` block ends when the stop of every task is accepted. A task has stopped some
    15 to 25 s later; only then is its bill final: call `Report.settled` inside the block to wait
    for that, or list the bill later with ``cloudburst runs``.

    Args:
        backend: Backend of the workers, or several in the order of preference. The default is
            Fargate if a subnet is configured (``AWS_SUBNET_ID``), otherwise this machine.
        options: Appearance of the videos, unless a call passes its own options.
        tier: Size of each task on Fargate; other backends ignore it.
        timeouts: Timeouts of requests, start-up, scenes and stops.
        limits: Limits of concurrency, sizes, attempts and cost.
        backoff: Delays between two health checks of a starting worker.
        settings: Settings with which files in S3 are accessed; ``None``: those of the Fargate
            backend, or else those in the environment and ``.env``.
    """

    def __init__(
        self,
        backend: OpenBackend | Sequence[OpenBackend] | None = None,
        *,
        options: RenderOptions | None = None,
        tier: Tier = Tier.STANDARD,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        backoff: Backoff = READINESS_BACKOFF,
        settings: Settings | None = None,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self.options = given_options(options, RenderOptions())
        """Options of runs that name none."""
        self._timeouts = timeouts or Timeouts()
        self.limits = limits or Limits()
        """Limits of concurrency, sizes, attempts and cost."""
        self._shared_budget = SharedBudget(self.limits.max_usd)
        self._spec = TaskSpec(tier=tier, limits=self.limits)
        self._backoff = backoff
        self._open: ClientResources | None = None
        self._owner: tuple[asyncio.Task[None], asyncio.Event] | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        openers = self.backends
        with PublicCall(), collapse_single():
            async with AsyncExitStack() as stack:
                backends = [
                    await stack.enter_async_context(opener(self._timeouts, self._spec.tier))
                    for opener in openers
                ]
                # Before the task group, so that both are closed after all tasks.
                remote = RemoteAccess(
                    await stack.enter_async_context(AsyncExitStack()),
                    partial(account_of, self._settings, openers),
                )
                run_journals = RunJournals()
                stack.push_async_callback(run_journals.close_all)
                tasks = await stack.enter_async_context(anyio.create_task_group())
                pool = WorkerPool(
                    tasks,
                    backends,
                    spec=self._spec,
                    timeouts=self._timeouts,
                    limits=self.limits,
                    backoff=self._backoff,
                    measurements=Measurements(await to_thread.run_sync(read_history)),
                    shared_budget=self._shared_budget,
                )
                self._open = resources = ClientResources(
                    pool=pool,
                    loop=anyio.lowlevel.current_token(),
                    tasks=tasks,
                    run_journals=run_journals,
                    remote=remote,
                )
                try:
                    try:
                        yield self
                    finally:
                        self._open = None
                    await pool.stop_all()
                    samples = pool.scheduler.performances.take_samples()
                    await to_thread.run_sync(write_history, samples)
                finally:
                    pool.close()
                    with suppress(TimeoutError):
                        await finish_despite_cancel(resources.calls_ended, seconds=CALLS_TIMEOUT)
                    tasks.cancel_scope.cancel()

    async def open(self) -> Self:
        """Open the client without an ``async with`` block, and return it (asyncio only).

        `aclose` closes it, also from another task. If it is still open when ``asyncio.run`` ends,
        it is closed then.
        """
        opened, closing = asyncio.Event(), asyncio.Event()

        async def own() -> None:  # a block must be left by the task that has entered it
            try:
                async with self:
                    opened.set()
                    await closing.wait()
            finally:
                opened.set()

        owner = asyncio.create_task(own(), name="cloudburst client")
        try:
            await opened.wait()
        except asyncio.CancelledError:
            owner.cancel()
            raise
        if owner.done():
            await owner  # raises the reason why the client cannot be opened
        self._owner = owner, closing
        return self

    async def aclose(self) -> None:
        """Close a client that `open` has opened, as the end of an ``async with`` block does."""
        if self._owner is not None:
            (owner, closing), self._owner = self._owner, None
            closing.set()
            await asyncio.shield(owner)

    @property
    def settings(self) -> Settings:
        """Settings of the AWS account whose files in S3 the client reads and writes."""
        return account_of(self._settings, self.backends)[0]

    @property
    def backends(self) -> Sequence[OpenBackend]:
        """Backends of the workers, in the order of preference."""
        if self._backend is None:
            self._backend = default_backend()
        return backend_list(self._backend)

    def variant(
        self, backends: Sequence[OpenBackend], *, tier: Tier | None = None, limits: Limits
    ) -> Client:
        """Return a new client with other backends, size of tasks and limits, which is not open.

        ``Limits.max_usd`` of this client limits the bill of both, and of further variants.
        """
        client = Client(
            backends,
            options=self.options,
            tier=tier or self._spec.tier,
            timeouts=self._timeouts,
            limits=limits,
            backoff=self._backoff,
            settings=self._settings,
        )
        client._shared_budget = self._shared_budget
        return client

    @property
    def is_billed(self) -> bool:
        """True if tasks of the open client cost money."""
        with self._opened() as client:
            return any(backend.usd_per_second for backend in client.pool.backends)

    async def render(
        self,
        scene: AnyScene,
        *,
        to: Path | str,
        options: RenderOptions | None = None,
        overwrite: bool = False,
        progress: bool = False,
    ) -> Video:
        """Render one scene into the folder ``to`` and wait for its video.

        ``progress`` is described in `render_all`.

        Raises:
            ConfigurationError: For one of the reasons listed in `stream`; nothing was started.
            CloudburstError: The scene or its worker failed.
        """
        with PublicCall():
            async with (
                progress_shown(progress) as until_done,
                self.stream([scene], to=to, options=options, overwrite=overwrite) as run,
            ):
                report = await until_done(run)
            if report.errors:
                raise report.errors[0]
            if not report.videos:
                raise ClosedError("the client was closed while the scene was rendered")
            return report.videos[0]

    async def render_all(
        self,
        scenes: Iterable[AnyScene] | AsyncIterable[AnyScene],
        *,
        to: Path | str,
        options: RenderOptions | None = None,
        overwrite: bool = False,
        name: str | None = None,
        resume: bool = False,
        progress: bool = False,
        **film: Unpack[FilmOptions],
    ) -> Report:
        """Render all scenes, a list or an asynchronous iterable, into ``to``; return the report.

        A failed scene does not stop the others. The call returns when every video is verified and
        the stop of every task is accepted, except for tasks that are kept for ``Limits.idle``
        seconds. `Report.raise_for_failures` raises the errors of failed scenes. For the other
        parameters see `stream`.

        ``progress=True`` shows scenes, workers, bill and time left until the call returns, which
        needs the extra ``[cli]``: as a live view if standard error is a terminal, in place in a
        notebook, and otherwise as lines on standard error.

        Raises:
            ConfigurationError: For one of the reasons listed in `stream`, or ``progress`` needs a
                package that is not installed; nothing was started.
        """
        with PublicCall():
            async with (
                progress_shown(progress) as until_done,
                self.stream(
                    scenes if isinstance(scenes, AsyncIterable) else scene_list(scenes),
                    to=to,
                    options=options,
                    overwrite=overwrite,
                    name=name,
                    resume=resume,
                    **film,
                ) as run,
            ):
                return await until_done(run)
        raise AssertionError("unreachable: a stream does not suppress exceptions")

    @asynccontextmanager
    async def stream(
        self,
        scenes: Iterable[AnyScene] | AsyncIterable[AnyScene] | None = None,
        *,
        to: Path | str,
        options: RenderOptions | None = None,
        overwrite: bool = False,
        name: str | None = None,
        resume: bool = False,
        **film: Unpack[FilmOptions],
    ) -> AsyncGenerator[Run]:
        """Render all scenes into the folder ``to``; yield the run, an iterator of events.

        ``scenes`` is a list, which is checked before anything is started, or an asynchronous
        iterable, the source of the run. It is asked for a scene while others render; a scene with
        faults, or whose video exists already, is then a failed scene. If the source raises, the
        block is cancelled, and the same exception comes out of it. If the block is left early, a
        generator is closed. Without ``scenes``, they come by `Run.submit` until `Run.close`.

        ``to`` is a folder on this machine, or in S3: ``s3://bucket/folder/``. ``name`` is a unique
        name of the run for tags and file names: letters, digits, dashes and underscores. With
        ``None`` the client generates a name. Leaving the block early cancels unfinished scenes;
        finished videos stay, and ``run.report()`` still returns the report.

        The run has a journal in the folder ``.cloudburst`` below ``to``; for a folder in S3, it is
        in the state folder of this machine. ``resume=True`` resumes the run with this ``name``, or
        without a name the newest run in ``to`` that has one of the listed scenes or the first one
        of the source; without ``scenes``, the newest run whose scenes came. If none matches, a new
        run begins. Finished videos are kept unless they or their inputs have changed. Running tasks
        of earlier processes are adopted or stopped, and are part of the bill.

        ``film`` is an MP4 file in which the videos are joined in the order of the scenes, once all
        of them are finished; subtitles (``.srt``) and a cover picture (``.jpg``) are beside it. It
        is a path on this machine or, for videos in S3, an object such as ``s3://bucket/film.mp4``,
        which a worker makes. From scene to scene there is a ``transition``, ``"cut"`` (the
        default), ``"fade"`` or ``"crossfade"``, of ``transition_seconds`` (0.5 by default), and
        ``film_gap`` seconds of black: see `FilmOptions`. A film that cannot be made is not an error
        of a scene: see `Report.film` and `Report.film_error`.

        Raises, before anything is started:
            ConfigurationError: The name is invalid or in use, the journal cannot be read, or
                ``options`` are not `RenderOptions`.
            InvalidScenesError: Scenes or their files have problems; the error lists all of them.
            OutputExistsError: Videos exist and ``overwrite`` is false; with ``resume``, videos of
                the run itself do not count.
            OutputClaimedError: Another process of this machine works on the run or, for a folder on
                this machine, writes one of the videos.
            ThrottledError, NoAnswerError: S3 has been busy for two minutes.
            BusyError: The queue would exceed ``Limits.queued_scenes`` with a list of scenes.
            ClosedError: The client is not open, or belongs to another event loop.
        """
        source: AsyncIterable[object] | None = scenes if isinstance(scenes, AsyncIterable) else None
        all_known = source is None and scenes is not None
        async with AsyncExitStack() as stack:
            stack.enter_context(PublicCall())
            client = stack.enter_context(self._opened())
            destination = await client.remote.destination(to)
            inputs = await check_inputs(
                scenes if all_known else (),
                destination=destination,
                options=given_options(options, self.options),
                limits=self.limits,
                film=film_request(**film),
                remote=client.remote.inputs(),
                labels=None if all_known else {},
            )
            if resume and name is None:
                names = inputs.names if all_known else None
                if source is not None:
                    names, source = await stack.enter_async_context(
                        looking_ahead(source, client.tasks)
                    )
                name = await destination.newest_run_with(names)
            run_name = uuid4().hex[:12] if name is None else name
            with client.reserved_name(run_name):
                async with (
                    destination.claim(
                        inputs.names,
                        run=run_name,
                        overwrite=overwrite,
                        resume=resume,
                        covers=inputs.covers,
                    ) as claim_more,
                    client.open_run_journal(
                        destination.folder, run_name, resume=resume
                    ) as run_journal,
                    client.remote.claimed_film(
                        inputs.film,
                        inputs.chapters,
                        inputs.remote_files,
                        run=run_name,
                        overwrite=overwrite,
                        resume=resume,
                    ) as maker,
                ):
                    past = run_journal.state
                    known = chain.from_iterable(entry.files for entry in past.results.values())
                    intake = SceneIntake(
                        inputs=inputs,
                        destination=destination,
                        access=client.remote,
                        limits=self.limits,
                        run=run_name,
                        past=past,
                        hash_inputs=InputHashes(inputs.remote_files, known).hash_inputs,
                        claim_more=claim_more,
                        overwrite=overwrite,
                        resume=resume,
                    )
                    spec = RunSpec(
                        run_name,
                        inputs.scenes,
                        to=destination.video,
                        claimed=await intake.look_up(inputs.scenes),
                        intake=None if all_known else intake,
                        source=source,
                        journal=run_journal.journal,
                        process=ProcessEntry(
                            run=run_name,
                            started_at=run_journal.journal.now(),
                            options=inputs.options,
                            tier=self._spec.tier,
                            limits=self.limits,
                            backends=tuple(backend.name for backend in client.pool.backends),
                            film=inputs.film,
                            source_ended=past.source_ended if all_known else False,
                        ),
                        film=maker,
                        hash_inputs=intake.hash_inputs,
                    )
                    async with open_run(spec, client.pool) as run_journal.run:
                        yield run_journal.run
                samples = client.pool.scheduler.performances.take_samples()
                await to_thread.run_sync(write_history, samples)

    def keeping_warm(self) -> AbstractContextManager[None]:
        """Use ``Limits(idle=None)`` in place of ``idle=0`` until the ``with`` block ends."""
        with self._opened() as client:
            kept = client.pool.scheduler.kept_workers
            return nullcontext() if self.limits.idle else kept.keeping_warm()

    async def download_url(self, download: Download) -> str:
        """Return a presigned URL of a file of a run in S3; see also `JobQueue.download_url`."""
        with self._opened() as client:
            return await client.remote.download_url(download)

    @contextmanager
    def _opened(self) -> Generator[ClientResources]:
        """Yield the resources for one call, which the end of the client waits for."""
        if self._open is None:
            raise ClosedError("enter the client first: async with Client(...) as client")
        if self._open.loop != anyio.lowlevel.current_token():
            raise ClosedError("the client belongs to another event loop; make one for this loop")
        with self._open.open_call():
            yield self._open


async def render(
    scene: AnyScene,
    *,
    to: Path | str,
    backend: OpenBackend | Sequence[OpenBackend] | None = None,
    options: RenderOptions | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Video:
    """Render one scene with a new client; see `Client` and `Client.render`."""
    with PublicCall():
        async with Client(backend, options=options, limits=Limits(workers=1)) as client:
            return await client.render(scene, to=to, overwrite=overwrite, progress=progress)


async def render_all(
    scenes: Iterable[AnyScene] | AsyncIterable[AnyScene],
    *,
    to: Path | str,
    backend: OpenBackend | Sequence[OpenBackend] | None = None,
    options: RenderOptions | None = None,
    tier: Tier = Tier.STANDARD,
    limits: Limits | None = None,
    overwrite: bool = False,
    name: str | None = None,
    resume: bool = False,
    progress: bool = False,
    **film: Unpack[FilmOptions],
) -> Report:
    """Render all scenes with a new client; see `Client` and `Client.render_all`."""
    with PublicCall():
        async with Client(backend, options=options, tier=tier, limits=limits) as client:
            return await client.render_all(
                scenes,
                to=to,
                overwrite=overwrite,
                name=name,
                resume=resume,
                progress=progress,
                **film,
            )
    raise AssertionError("unreachable: a client does not suppress exceptions")

"""Resources of an open client: pool, journals of runs, and access to remote files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import Run
from cloudburst.errors import ConfigurationError
from cloudburst.film.folder_film import ChapterSource, claimed_film
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.inputs.remote_readers import open_https_reader
from cloudburst.models.film import FilmRequest
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.locations import (
    RemoteLocation,
    S3Object,
    is_path_of_s3,
    is_s3,
    parse_s3_prefix,
)
from cloudburst.models.remote_file import Download, RemoteFile
from cloudburst.models.settings import Settings
from cloudburst.outputs.destinations import Destination, FolderDestination
from cloudburst.outputs.journal.pruning import remove_journal
from cloudburst.outputs.journal.reader import is_run_name
from cloudburst.outputs.journal.writer import SqliteJournal, open_journal
from cloudburst.ports.outputs import FilmMaker
from cloudburst.ports.remote_files import FolderReader, RemoteFiles

if TYPE_CHECKING:
    from cloudburst.aws.s3.object_store import ObjectStore

JOURNAL_CLOSE_TIMEOUT = 2.0
"""Maximum number of seconds that the end of a run waits for its journal to close: milliseconds,
unless a launch for other runs is unanswered or a task of the run is still billed."""


class RemoteAccess:
    """Access of a client to remote files, whose connections are closed with the stack."""

    def __init__(self, stack: AsyncExitStack, account: Callable[[], tuple[Settings, Any]]) -> None:
        self._stack = stack
        self._find_account = account
        self._store: ObjectStore | None = None
        self._opening = anyio.Lock()

    # A run without remote files needs no settings of AWS.
    @cached_property
    def _account(self) -> tuple[Settings, Any]:
        """Settings of the AWS account, and its session of aioboto3, if any."""
        return self._find_account()

    def inputs(self) -> RemoteInputs:
        """Return access for a check."""
        return RemoteInputs(
            open_s3=self._folder_reader,
            open_https=lambda: open_https_reader(self._account[0]),
            font_folder=lambda: self._account[0].fonts,
        )

    @asynccontextmanager
    async def _folder_reader(self) -> AsyncGenerator[FolderReader]:
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.folder_reader")
        reader: FolderReader = module.S3FolderReader(store)
        yield reader

    async def destination(self, to: Path | str) -> Destination:
        """Return the folder for videos, from a path or ``s3://bucket/folder/``."""
        if is_path_of_s3(to):
            msg = f"to: the path {to}; expected the text s3://bucket/folder/, which is not a path"
            raise ConfigurationError(msg)
        if not isinstance(to, str) or not is_s3(to):
            return FolderDestination(Path(to).absolute())  # noqa: ASYNC240 - reads nothing
        try:
            prefix = parse_s3_prefix(to)
        except ValueError as exc:
            raise ConfigurationError(f"to: {exc}") from exc
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.outputs.s3_destination")
        destination: Destination = module.S3Destination(prefix, store)
        return destination

    async def files(
        self,
        run: str,
        inputs: Mapping[RemoteLocation, RemoteFile],
        destination: Destination,
        *,
        overwrite: bool,
        max_input_bytes: int,
    ) -> RemoteFiles | None:
        """Return the access of a run, if it has remote files."""
        in_s3 = not isinstance(destination, FolderDestination)
        if not inputs and not in_s3:
            return None
        needs_store = in_s3 or any(isinstance(location, S3Object) for location in inputs)
        store = await self._object_store() if needs_store else None
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.remote_files")
        files: RemoteFiles = module.S3RemoteFiles(
            store,
            run=run,
            inputs=inputs,
            overwrite=overwrite,
            private_inputs=self._account[0].private_inputs,
            max_input_bytes=max_input_bytes,
        )
        return files

    @asynccontextmanager
    async def claimed_film(
        self,
        film: FilmRequest | None,
        sources: Sequence[ChapterSource],
        inputs: Mapping[RemoteLocation, RemoteFile],
        *,
        run: str,
        overwrite: bool,
        resume: bool,
    ) -> AsyncGenerator[FilmMaker | None]:
        """Claim the files of a film, if one is requested, and yield its maker.

        Raises `OutputExistsError`, `OutputClaimedError`, or `ConfigurationError` if the film cannot
        be written to its place.
        """
        if film is None:
            yield None
            return
        if isinstance(film.path, Path):
            async with claimed_film(
                film, sources, run=run, overwrite=overwrite, replace_film=resume
            ) as maker:
                yield maker
            return
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.film.s3_film")
        claim: AbstractAsyncContextManager[FilmMaker] = module.claimed_s3_film(
            store,
            film,
            sources,
            inputs,
            run=run,
            overwrite=overwrite,
            resume=resume,
            private_inputs=self._account[0].private_inputs,
        )
        async with claim as maker:
            yield maker

    async def download_url(self, download: Download) -> str:
        """Return a URL with which anyone can get a file of a run from S3, for at most an hour."""
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.remote_files")
        url: str = await module.sign_download(store, download)
        return url

    async def _object_store(self) -> ObjectStore:
        async with self._opening:
            if self._store is not None:
                return self._store
            # Importing boto takes a quarter of a second.
            aws = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.client.client")
            s3 = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.object_store")
            settings, session = self._account
            client = await self._stack.enter_async_context(aws.open_aws(settings, session=session))
            store: ObjectStore = s3.ObjectStore(client, settings)
            self._store = store
            return store
        raise AssertionError("unreachable: the lock suppresses no exception")


# Maximum number of seconds for the removal of an empty journal
_REMOVE_TIMEOUT = 10.0


@dataclass(eq=False, slots=True, kw_only=True)
class RunJournal:
    """Open journal of a run."""

    journal: SqliteJournal
    state: JournalState
    run: Run | None = None
    closed: anyio.Event = field(default_factory=anyio.Event)


class RunJournals:
    """Open journals of a client."""

    def __init__(self) -> None:
        self._open: dict[RunJournal, AsyncExitStack] = {}

    async def open(self, folder: Path, run: str, *, resume: bool) -> RunJournal:
        """Open the journal of a run whose videos are claimed.

        Raises `ConfigurationError` for a run that exists already, unless it is resumed.
        """
        async with AsyncExitStack() as stack:
            journal = await stack.enter_async_context(open_journal(folder, run))
            past = JournalState() if journal.trouble else await journal.read()
            if past.processes and not resume:
                msg = (
                    f"run {run!r} exists already in {folder}: resume it with resume=True or "
                    f"`cloudburst resume {run}`, or choose another name"
                )
                raise ConfigurationError(msg)
            run_journal = RunJournal(journal=journal, state=past)
            self._open[run_journal] = stack.pop_all()
        return run_journal

    async def close_later(self, run_journal: RunJournal) -> None:
        """Close the journal when its last entry is written."""
        if run_journal.run is not None and run_journal.run.writer is not None:
            await run_journal.run.writer.done.wait()
        await self.close(run_journal)

    async def close(self, run_journal: RunJournal) -> None:
        """Close the journal now, even when cancelled. A journal without entries is removed."""
        if (stack := self._open.get(run_journal)) is not None:
            await stack.aclose()
            if run_journal.run is None and not run_journal.state.processes:
                path = run_journal.journal.path
                remove = partial(remove_journal, path.parent.parent, path.stem)
                await finish_despite_cancel(
                    lambda: anyio.to_thread.run_sync(remove), seconds=_REMOVE_TIMEOUT
                )
            self._open.pop(run_journal, None)
            run_journal.closed.set()

    async def close_all(self) -> None:
        """Close every open journal."""
        for run_journal in tuple(self._open):
            await self.close(run_journal)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientResources:
    """Resources of an open client."""

    pool: WorkerPool
    loop: object
    tasks: TaskGroup
    run_journals: RunJournals
    remote: RemoteAccess
    run_names: set[str] = field(default_factory=set[str])
    calls: set[anyio.Event] = field(default_factory=set[anyio.Event])

    @contextmanager
    def open_call(self) -> Generator[None]:
        """Let the end of the client wait for the ``with`` block of a call."""
        ended = anyio.Event()
        self.calls.add(ended)
        try:
            yield
        finally:
            self.calls.remove(ended)
            ended.set()

    async def calls_ended(self) -> None:
        """Wait for all open calls: they still write their journals and claims."""
        for ended in tuple(self.calls):
            await ended.wait()

    @asynccontextmanager
    async def open_run_journal(
        self, folder: Path, run: str, *, resume: bool
    ) -> AsyncGenerator[RunJournal]:
        """Open the journal of a run, until its tasks are settled: perhaps longer than the block."""
        run_journal = await self.run_journals.open(folder, run, resume=resume)
        try:
            yield run_journal
        finally:
            if run_journal.run is None:
                await self.run_journals.close(run_journal)
            else:
                with suppress(RuntimeError):  # the client is being closed, and closes every journal
                    self.tasks.start_soon(self.run_journals.close_later, run_journal)
                    if not self.pool.supervisors.still_billed(run):
                        with suppress(TimeoutError):
                            await finish_despite_cancel(
                                run_journal.closed.wait, seconds=JOURNAL_CLOSE_TIMEOUT
                            )

    @contextmanager
    def reserved_name(self, name: str) -> Generator[None]:
        """Reserve the valid name of a run within the client."""
        if not is_run_name(name):
            expected = "1 to 64 ASCII letters, digits, dashes and underscores, and not lock"
            raise ConfigurationError(f"the name of the run is {name!r}; expected {expected}")
        if name in self.run_names:
            raise ConfigurationError(f"this client already has a run with the name {name!r}")
        self.run_names.add(name)
        try:
            yield
        finally:
            self.run_names.remove(name)

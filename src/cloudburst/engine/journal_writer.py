"""Writers of run journals, by which a run can be resumed, and of post-mortems of failed tasks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from cloudburst.concurrency import Steps, finish_despite_cancel
from cloudburst.engine.records import PhaseSpan, WorkerRecord
from cloudburst.errors import ClosedError, WorkerStoppedError
from cloudburst.models.failures import is_spot_interruption
from cloudburst.models.fingerprint import HashedInputs
from cloudburst.models.journal_entries import (
    AttemptEntry,
    Entry,
    ErrorEntry,
    LaunchEntry,
    PhaseEntry,
    ResultEntry,
    SceneEntry,
    TaskEntry,
)
from cloudburst.models.post_mortem_page import file_name
from cloudburst.models.scene import CheckedScene, Video
from cloudburst.models.task import TaskId
from cloudburst.ports.backend import Backend
from cloudburst.ports.outputs import Journal
from cloudburst.text import printable, short_task

logger = logging.getLogger(__name__)

# Seconds after which entries that are not urgent are written, such as the usage of a running
# task. The usage changes every two seconds. The final usage is written by the process that sees
# the task stop.
LAZY_SECONDS = 30.0


class JournalWriter:
    """Writer of one run's journal, which collects entries and writes them in the background."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.left = anyio.Event()
        """Event that is set when the run's ``with`` block has ended; the last entries follow
        later."""
        self.done = anyio.Event()
        """Event that is set when the last entry is written."""
        self._lock = anyio.Lock()
        self._noted: dict[WorkerRecord, None] = {}
        self._added: list[Entry] = []
        self._urgent = anyio.Event()

    def note(self, record: WorkerRecord, *, lazily: bool = False) -> None:
        """Schedule an entry with the state of a worker."""
        if record.task:
            self._noted[record] = None
            if not lazily:
                self._urgent.set()

    def add(self, *entries: Entry) -> None:
        """Schedule entries, and return without waiting until they are written."""
        self._added += entries
        self._urgent.set()

    async def run(self) -> None:
        """Write scheduled entries in the background until cancelled."""
        while True:
            with anyio.move_on_after(LAZY_SECONDS):
                await self._urgent.wait()
            await self._flush()

    async def flush(self, *, within: float) -> None:
        """Write all scheduled entries now, even if the calling task is being cancelled."""
        try:
            await finish_despite_cancel(self._flush, seconds=within)
        except TimeoutError:
            late = len(self._noted) + len(self._added)
            logger.warning("%d entries of the journal are not written yet", late)

    async def result(
        self,
        video: Video,
        inputs: HashedInputs,
        attempts: int,
        spans: Sequence[PhaseSpan],
    ) -> None:
        """Write the entry of a finished video, and wait until it would survive a power failure."""
        ahead = self.journal.now() - anyio.current_time()
        entry = ResultEntry(
            video=video,
            fingerprint=inputs.fingerprint,
            attempts=attempts,
            phases=_phases(spans, ahead),
            files=inputs.lasting,
        )
        await self.write(entry)

    async def write_scenes(
        self, scenes: Iterable[CheckedScene], fingerprints: Mapping[str, str], *first: Entry
    ) -> None:
        """Write the entries of scenes after other entries, and wait: see `write`."""
        entries = [
            SceneEntry(
                scene=one.given or one.scene,
                audio_seconds=one.audio_seconds,
                fingerprint=fingerprints.get(one.scene.name, ""),
            )
            async for one in Steps(scenes)
        ]
        await self.write(*first, *entries)

    async def write(self, *entries: Entry) -> None:
        """Write entries, and wait until they would survive a power failure."""
        try:
            await self.journal.write(*entries)
        except ClosedError:  # the client was left without waiting
            logger.warning("%d entries came too late for the journal", len(entries))

    async def _flush(self) -> None:
        async with self._lock:  # a flush ends no sooner than one that has taken the entries
            self._urgent = anyio.Event()
            noted, self._noted = self._noted, {}
            added, self._added = self._added, []
            if not noted and not added:
                return
            ahead = self.journal.now() - anyio.current_time()
            try:
                await self.write(*[task_entry(record, ahead) for record in noted], *added)
            except BaseException:
                self._noted = noted | self._noted
                self._added = added + self._added
                raise


class JournalWriters:
    """Journal writers of all runs of a pool."""

    def __init__(
        self, tasks: TaskGroup, none_left: Callable[[str], Awaitable[None]], *, within: float
    ) -> None:
        self._tasks = tasks
        self._none_left = none_left
        self._within = within
        self._writers: dict[str, JournalWriter] = {}

    @contextmanager
    def writing(self, run: str, journal: Journal) -> Generator[JournalWriter]:
        """Write the journal of a run in the background, and yield the writer."""
        # Writing continues after the block until all tasks of the run are settled.
        writer = self._writers[run] = JournalWriter(journal)
        self._tasks.start_soon(self._write, run, writer, name=f"cloudburst journal of {run}")
        try:
            yield writer
        finally:
            writer.left.set()

    async def _write(self, run: str, writer: JournalWriter) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run)
            await writer.left.wait()
            await self._none_left(run)
            tasks.cancel_scope.cancel()
        await writer.flush(within=self._within)
        if self._writers.get(run) is writer:  # else the run was resumed in this client
            del self._writers[run]
        writer.done.set()

    async def done(self) -> None:
        """Wait until the journals of all runs whose ``with`` block has ended are complete."""
        for writer in tuple(self._writers.values()):
            if writer.left.is_set():
                await writer.done.wait()

    async def launching(self, record: WorkerRecord) -> None:
        """Write to the journal of a worker's run that its launch request is about to be sent."""
        writer = self._writers.get(record.run)
        if writer is not None and record.token is not None:
            now = writer.journal.now()
            await writer.write(
                LaunchEntry(token=record.token, backend=record.backend, requested_at=now)
            )

    def note(self, record: WorkerRecord, *, lazily: bool = False) -> JournalWriter | None:
        """Schedule an entry with the state of a worker: see `JournalWriter.note`."""
        writer = self._writers.get(record.run)
        if writer is not None:
            writer.note(record, lazily=lazily)
        return writer


def task_entry(record: WorkerRecord, ahead: float) -> TaskEntry:
    """Return the journal entry of a worker's task."""

    def epoch(time: float | None) -> float | None:
        return None if time is None else time + ahead

    launched = anyio.current_time() if record.launched is None else record.launched
    return TaskEntry(
        task=record.task,
        backend=record.backend,
        token=record.token,
        launched_at=launched + ahead,
        ready_at=epoch(record.ready),
        stopped_at=epoch(record.stopped),
        usage=record.usage,
        settled=record.settled,
        error=None if record.failure is None else ErrorEntry.of(record.failure),
        attempts=tuple(
            AttemptEntry(each.scene, each.finished, _phases(each.spans, ahead))
            for each in record.attempts
            if each.run == record.run and each.spans and (each.is_film or not each.finished)
        ),
    )


def _phases(spans: Iterable[PhaseSpan], ahead: float) -> tuple[PhaseEntry, ...]:
    return tuple(PhaseEntry(name, start + ahead, end + ahead) for name, start, end in spans)


# Timeout of one post-mortem, in seconds. It takes a few requests to the backend, each of which
# may be repeated.
POST_MORTEM_TIMEOUT = 15.0
# Longest time for which a post-mortem delays the end of a run, in seconds from the start of the
# post-mortem.
POST_MORTEM_GRACE = 5.0


class PostMortems:
    """Writer of post-mortems, each in a background task.

    None delays the stop of a task, makes a run fail, or delays its end by more than
    `POST_MORTEM_GRACE`.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._open: dict[WorkerRecord, float] = {}  # by record: time of its start
        self._changed = anyio.Event()

    def start(self, backend: Backend, record: WorkerRecord, journal: Journal | None) -> None:
        """Start the post-mortem of a worker, if it failed and its run has a journal."""
        error = record.failure
        if journal is None or not record.task or error is None or isinstance(error, ClosedError):
            return
        if isinstance(error, WorkerStoppedError) and is_spot_interruption(error.stop_code):
            return
        self._open[record] = anyio.current_time()
        name = f"cloudburst post-mortem of {record.task}"
        self._tasks.start_soon(self._write, backend, record, journal, name=name)

    async def done(self, run: str) -> None:
        """Wait until the post-mortems of a run are written."""
        while started := [since for record, since in self._open.items() if record.run == run]:
            left = max(started) + POST_MORTEM_GRACE - anyio.current_time()
            if left <= 0:
                return
            with anyio.move_on_after(left):
                await self._changed.wait()

    async def _write(self, backend: Backend, record: WorkerRecord, journal: Journal) -> None:
        task = TaskId(record.task)
        try:
            with anyio.move_on_after(POST_MORTEM_TIMEOUT) as scope:
                text = await backend.launcher.post_mortem(task)
                if text is not None:
                    text = _with_error(text, record)
                    record.post_mortem = await journal.save_file(file_name(task), text)
                    logger.warning("task %s failed; see %s", short_task(task), record.post_mortem)
            if scope.cancelled_caught:
                logger.warning("%s: no post-mortem within %g s", task, POST_MORTEM_TIMEOUT)
        except Exception:  # a post-mortem fails no run
            logger.warning("%s: no post-mortem", task, exc_info=True)
        finally:
            del self._open[record]
            self._changed.set()
            self._changed = anyio.Event()


def _with_error(text: str, record: WorkerRecord) -> str:
    # The backend's reason alone may mislead: if the client stopped the task because of its own
    # error, the backend's reason is only that stop.
    title, blank, rest = text.partition("\n\n")
    error = record.error
    seen = printable(f"{type(error).__name__}: {error}".replace("\n", " "), keep="\t")
    return f"{title}{blank}Seen from here: {seen}\n\n{rest}"

"""Run of all scenes of one call, with one stream of events and one report."""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectSendStream

from cloudburst.engine.failure_groups import failures_progress
from cloudburst.engine.film import FilmStep
from cloudburst.engine.journal_writer import JournalWriter
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.records import RecoveredState, SceneRecord, WorkerRecord
from cloudburst.engine.report import SceneOutcome, make_report, status
from cloudburst.engine.run_log import log_event
from cloudburst.engine.run_view import RunView
from cloudburst.errors import ClosedError, ConfigurationError
from cloudburst.events import Event, SceneCompleted, SceneEvent, SceneFailed, SceneProgress
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import ProcessEntry
from cloudburst.models.locations import OutputLocation
from cloudburst.models.report import Prediction, Report, Status
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import AnyScene, CheckedScene, SceneLabels, Video
from cloudburst.models.task import usd_billed
from cloudburst.ports.outputs import FilmMaker, Journal
from cloudburst.ports.remote_files import RemoteFiles


@dataclass(eq=False, slots=True)
class _Unread:
    event: Event


class EventStream:
    """Stream that keeps every event until it is read, but only the newest progress of each scene.

    Writing never waits, so that a slow reader does not delay a worker that is billed.
    """

    def __init__(self) -> None:
        self._events: deque[_Unread] = deque()
        self._progress: dict[str, _Unread] = {}  # by scene, while a newer one may replace it
        self._written = anyio.Event()
        self._closed = False

    def write(self, event: Event) -> None:
        """Add an event to the stream.

        A progress event replaces the previous event of its scene if that is an unread progress
        event.
        """
        unread = _Unread(event)
        if isinstance(event, SceneProgress):
            if event.scene in self._progress:
                self._progress[event.scene].event = event
                return
            self._progress[event.scene] = unread
        elif isinstance(event, SceneEvent):
            self._progress.pop(event.scene, None)
        self._events.append(unread)
        self._written.set()

    def close(self) -> None:
        """End the iteration of every reader after the last event."""
        self._closed = True
        self._written.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await anyio.lowlevel.checkpoint()
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            if self._written.is_set():  # otherwise another reader waits for it
                self._written = anyio.Event()
            await self._written.wait()
        event = self._events.popleft().event
        if isinstance(event, SceneProgress):
            self._progress.pop(event.scene, None)
        return event


class ClaimedScenes(NamedTuple):
    """What is known of scenes whose videos are claimed for the run."""

    earlier: RecoveredState | None = None
    """State that earlier processes of the run left; ``None`` if there is none."""
    remote: RemoteFiles | None = None
    """Access to remote files, if there are any."""
    bytes_checked: int = 0
    """Number of bytes of remote files that the checks have read."""

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Fingerprints of the scenes whose files were compared."""
        return {} if self.earlier is None else self.earlier.fingerprints


class Intake(Protocol):
    """Checks and claims of scenes that come while the run is open."""

    async def check(self, scene: object, labels: SceneLabels) -> CheckedScene:
        """Check a scene; ``labels`` are those of all scenes that came before.

        Raises `InvalidScenesError` with all faults of the scene.
        """
        ...

    async def claim(self, scene: CheckedScene) -> ClaimedScenes:
        """Claim the video of a checked scene, which the run then has.

        Raises `OutputExistsError` or `OutputClaimedError` for a video that may not be written.
        """
        ...


_MIN_FILM_PROGRESS = 0.1
"""Share of the film from which its progress says how long it takes."""
_NOTHING_CLAIMED = ClaimedScenes()


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Specification of a run to start."""

    name: str
    scenes: Sequence[CheckedScene]
    """Scenes that are known when the run starts."""
    to: Callable[[str], OutputLocation]
    """Function that returns the location of the video of a scene."""
    intake: Intake | None = None
    """Checks of further scenes; ``None``: there are none, and the run is never open."""
    source: AsyncIterable[object] | None = None
    """Further scenes; ``None``: they come by `Run.submit`."""
    journal: Journal | None = None
    """Journal of the run; ``None``: the run cannot be resumed."""
    process: ProcessEntry | None = None
    """Entry of this process for the journal."""
    claimed: ClaimedScenes = _NOTHING_CLAIMED
    """What is known of these scenes."""
    film: FilmMaker | None = None
    hash_inputs: HashInputs | None = None
    """Function that hashes the files of a scene before they are sent; ``None``: without
    fingerprints, a resumed run makes the videos again."""


@dataclass(eq=False, slots=True)
class Submission:
    """Scene that waits to be accepted."""

    scene: object
    name: str = ""
    """Name of the scene, once it is checked."""
    error: Exception | None = field(default_factory=lambda: ClosedError("the run has ended"))
    """Reason why it was not accepted; ``None`` if it was."""
    answered: anyio.Event = field(default_factory=anyio.Event)


class Run:
    """Run that was started. Iterating over it yields its events; `report` can always be called."""

    def __init__(self, name: str, pool: WorkerPool) -> None:
        self.name = name
        """Name of the run, in tags, reports and file names."""
        self.began_at: float | None = None
        """Time at which the run began, in seconds since the epoch; ``None``: not known."""
        self.writer: JournalWriter | None = None
        """Writer of the run's journal; ``None`` if the run has no journal."""
        self.predicted: Prediction | None = None
        """Time and cost that were predicted when the run started; ``None`` if its scenes were not
        known then."""
        self.records = list[SceneRecord]()
        """Records of the scenes, in the caller's order."""
        self.view = RunView()
        """State of the scenes and workers at this moment, also before its events are read."""
        self.is_open = False
        """True while the run may get further scenes."""
        self._submissions: MemoryObjectSendStream[Submission] | None = None
        self.source_error: Exception | None = None
        """Error that the source of the scenes has raised, which ends the run."""
        self.film: FilmStep | None = None
        """Step that makes the film of the run; ``None`` if no film was requested."""
        self._pool = pool
        self.bytes_checked = 0
        """Number of bytes of remote files that the checks of the scenes have read."""
        self._by_name = dict[str, SceneRecord]()
        self._workers: dict[WorkerRecord, None] = {}
        self._launching: tuple[WorkerRecord, ...] = ()  # when the run ended
        self._events = EventStream()
        self._started_at = anyio.current_time()
        self._seconds: float | None = None  # wall time, once the run has ended

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def submit(self, scene: AnyScene) -> str:
        """Add a scene to a run that was started without scenes, and return the scene's name.

        The call waits while ``Limits.queued_scenes`` scenes of the run wait for a worker. When it
        returns, the scene is checked and in the journal. If the call is cancelled, the run may have
        the scene or not.

        Raises:
            InvalidScenesError: The scene or its files have problems; the error lists all of them.
            OutputExistsError: The video exists and may not be replaced.
            OutputClaimedError: Another process writes the video.
            ClosedError: The run was closed or has ended, or its scenes come from elsewhere.
        """
        if self._submissions is None:
            raise ClosedError(f"run {self.name} takes no further scenes")
        submission = Submission(scene)
        with suppress(anyio.BrokenResourceError), self._submissions.clone() as submissions:
            await submissions.send(submission)
            await submission.answered.wait()
        if submission.error is not None:
            # Not an error of a caller that is cancelled together with the run.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise submission.error
        return submission.name

    @contextmanager
    def submitted(self) -> Generator[AsyncIterable[Submission]]:
        """Yield the scenes of `submit`, which end when the run is closed."""
        self._submissions, taken = anyio.create_memory_object_stream[Submission]()
        try:
            with taken:
                yield taken
        finally:
            self.close()

    def close(self) -> None:
        """Take no further scenes by `submit`, so that the run ends when the present ones are done.

        Further calls, and calls for other runs, do nothing.
        """
        if self._submissions is not None:
            self._submissions.close()
            self._submissions = None

    async def video(self, name: str) -> Video:
        """Wait for the video of the scene with this name, and return it.

        Raises:
            ConfigurationError: The run has no such scene.
            ClosedError: The run has ended before the scene did.
            CloudburstError: The scene has failed.
        """
        record = self._by_name.get(name)
        if record is None:
            raise ConfigurationError(f"run {self.name} has no scene {name!r}")
        await record.ended.wait()
        if record.error is not None:
            raise record.error
        if record.video is None:
            raise ClosedError(f"run {self.name} has ended before the scene {name}")
        return record.video

    async def until_done(self) -> Report:
        """Wait for the end of the run, discard its events, and return its report.

        A run that takes scenes by `submit` is closed first. Failed scenes raise no error here; the
        report lists them.
        """
        self.close()
        async for _ in self:
            pass
        return await self.report()

    async def report(self) -> Report:
        """Return the current report, also during the run and after a cancellation.

        The call lets other tasks run while it makes a large report, and a cancellation does not
        interrupt it.
        """
        launched = (worker for worker in self._launching if worker.task)
        report = await make_report(
            self.name,
            self.records,
            (*self._workers, *launched),
            began_at=self.began_at,
            started_at=self._started_at,
            seconds=self._now() if self._seconds is None else self._seconds,
            predicted=self.predicted,
            is_open=self.is_open,
            bytes_checked=self.bytes_checked,
            **self.film_facts(),
        )
        return report.with_settlement(self.settled)

    def film_facts(self) -> dict[str, Any]:
        """Return the fields of the report that describe the film."""
        return {
            "film": None if self.film is None else self.film.path,
            "film_error": None if self.film is None else self.film.error,
            "film_started_at": self.view.film_started_at,
            "film_finished_at": self.view.film_finished_at,
        }

    def progress(self) -> RunProgress:
        """Return the progress at this moment: scenes, bill, workers and the time left.

        With 100 workers, the call takes about 20 ms, so call it once a second at most.
        """
        view, pool = self.view, self._pool
        usages = [worker.usage for worker in self._workers if worker.run == self.name]
        bills = [usd_billed(usage) for usage in usages if usage is not None]
        is_billed = bool(bills) or any(backend.usd_per_second for backend in pool.backends)
        unfinished = len(view.scenes) - view.done - view.failed
        stopping = {each.record.task for each in pool.scheduler.workers if each.stopping}
        left = pool.scheduler.seconds_left() if unfinished else None
        return RunProgress(
            at=self._now() if self._seconds is None else self._seconds,
            scenes=len(view.scenes),
            done=view.done,
            failed=view.failed,
            share=view.share,
            encodes=view.encodes,
            film=None if self.film is None else view.film or 0.0,
            usd=sum(bills, Decimal()) if is_billed else None,
            max_usd=pool.limits.max_usd if is_billed else None,
            seconds_left=left.expected if left else self._film_seconds_left(),
            seconds_left_low=left and left.low,
            seconds_left_high=left and left.high,
            workers=tuple(view.workers_progress(stopping)),
            failures=tuple(failures_progress(view.failures.values())),
        )

    def _film_seconds_left(self) -> float | None:
        """Return the rest of a film that this machine makes, from its progress so far."""
        done, began = self.view.film or 0.0, self.view.film_started_at
        if began is None or done < _MIN_FILM_PROGRESS or (self.film and self.film.needs_worker):
            return None
        return (self._now() - began) * (1 - done) / done

    @property
    def scenes(self) -> Sequence[str]:
        """Names of the scenes, in the caller's order."""
        return [scene.name for scene in self.records]

    async def settled(self) -> Report:
        """Return the report once every task of the run has stopped: see `Report.settled`."""
        await self._pool.wait_settled(self.name)
        return await self.report()

    def _now(self) -> float:
        return anyio.current_time() - self._started_at

    @property
    def status(self) -> Status:
        """Current status of the run."""
        outcomes = [SceneOutcome(scene.video, scene.error) for scene in self.records]
        return status(outcomes, is_open=self.is_open)

    def task_ids(self) -> set[str]:
        """Return the ids of all tasks that this process has started for the run or used in it."""
        records = self._pool.supervisors.records(self.name)
        return {worker.task for worker in (*records, *self._workers)}

    def add(self, record: SceneRecord) -> None:
        """Add the record of a scene."""
        self.records.append(record)
        self._by_name[record.name] = record
        self.view.add(record.name)

    def emit(self, event: type[Any], **fields: Any) -> None:
        """Add an event of this class to the stream, with the seconds since the run started."""
        written = event(at=self._now(), **fields)
        self.view.apply(written)
        self._events.write(written)
        log_event(self.name, written, self.view)
        if event in {SceneCompleted, SceneFailed}:
            self._by_name[fields["scene"]].ended.set()

    def on_worker_event(
        self, worker: WorkerRecord, event: type[Any], fields: Mapping[str, Any]
    ) -> None:
        """Emit an event of a worker, and include the worker in the report from then on."""
        self._workers[worker] = None
        self.emit(event, task=worker.task, backend=worker.backend, **fields)

    def add_workers(self, workers: Iterable[WorkerRecord]) -> None:
        """Add workers of earlier processes to the report."""
        self._workers |= dict.fromkeys(workers)

    def end(self, launching: Iterable[WorkerRecord] = ()) -> None:
        """End the stream of events, and fix the wall time of the run.

        Workers that are being launched are in the report once their launch is answered.
        """
        self._launching = tuple(worker for worker in launching if worker not in self._workers)
        self._seconds = self._now()
        if self.film is not None:
            self.film.end()
        self._events.close()
        for record in self.records:
            record.ended.set()

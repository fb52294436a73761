"""Builder of a run's report from the records of its scenes and workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from cloudburst.engine.cost_breakdown import cost_of, covered_seconds, scene_costs, total_cost
from cloudburst.engine.film_step import FilmStep
from cloudburst.engine.scene_record import SceneRecord
from cloudburst.engine.worker_record import WorkerRecord
from cloudburst.errors import BudgetError, ClosedError, CloudburstError, Remedy
from cloudburst.models.report import Cost, Prediction, Report, SceneReport, Status, WorkerReport
from cloudburst.models.scene import Video

ENTRIES_PER_STEP = 200
"""Number of entries that are made in one step, which takes a few milliseconds. The entry of a
worker counts as one more for each of its attempts, because they share its cost."""


class Outcome(NamedTuple):
    """Video or error of a scene; neither while the scene is not finished."""

    video: Video | None
    error: CloudburstError | None


class ReportBuilder:
    """Builder of a run's report, in steps so that a large report does not block the event loop.

    The cost of a task is on the bill of the run for which it was started.

    Args:
        run: Name of the run.
        scenes: Records of the run's scenes.
        workers: Records of the run's workers, and of workers of other runs that the run has used.
        started_at: Time at which the run started, on anyio's clock.
        seconds: Wall time of the run, in seconds.
        predicted: Prediction that was made when the run started.
        bytes_checked: Number of bytes of remote files that were read before the run started.
        film: Step that makes the film of the run; ``None`` if no film was requested.
    """

    def __init__(
        self,
        run: str,
        scenes: Sequence[SceneRecord],
        workers: Sequence[WorkerRecord],
        *,
        started_at: float,
        seconds: float,
        predicted: Prediction | None,
        bytes_checked: int = 0,
        film: FilmStep | None = None,
    ) -> None:
        self._run = run
        self._scenes = scenes
        self._names = {scene.name for scene in scenes}
        self._workers = workers
        self._started_at = started_at
        self._seconds = seconds
        self._predicted = predicted
        self._bytes_checked = bytes_checked
        self._film = film
        self._scene_reports: list[SceneReport] = []
        self._outcomes: list[Outcome] = []
        self._worker_reports: list[WorkerReport] = []
        self._costs: list[Cost | None] = []
        self._scene_usd: dict[str, Decimal] = {}

    def steps(self) -> Iterator[None]:
        """Make the entries of the report, and yield after every `ENTRIES_PER_STEP` entries.

        Scenes and workers may change between two steps: each entry is as its step has found it.
        """
        made = 0
        for worker in self._workers:
            self._add_worker(worker)
            made += 1 + len(worker.attempts)
            if made >= ENTRIES_PER_STEP:
                made = 0
                yield
        for scene in self._scenes:
            self._scene_reports.append(self._scene_report(scene))
            self._outcomes.append(Outcome(scene.video, scene.error))
            made += 1
            if made >= ENTRIES_PER_STEP:
                made = 0
                yield

    def finish(self) -> Report:
        """Return the report. All `steps` must have been made."""
        return Report(
            run=self._run,
            status=status(self._outcomes),
            wall_seconds=self._seconds,
            scenes=tuple(self._scene_reports),
            workers=tuple(self._worker_reports),
            cost=total_cost(self._costs),
            problem=_problem(self._outcomes),
            predicted=self._predicted,
            bytes_checked=self._bytes_checked,
            film=None if self._film is None else self._film.path,
            film_error=None if self._film is None else self._film.error,
            errors=tuple(one.error for one in self._outcomes if one.error is not None),
        )

    def _add_worker(self, worker: WorkerRecord) -> None:
        run = self._run
        if worker.run != run and not any(attempt.run == run for attempt in worker.attempts):
            return
        cost = cost_of(worker) if worker.run == run else None
        for (of_run, scene), usd in scene_costs(worker, cost).items():
            if of_run == run:
                self._scene_usd[scene] = self._scene_usd.get(scene, Decimal()) + usd
        self._costs.append(cost)
        self._worker_reports.append(self._worker_report(worker, cost))

    def _worker_report(self, worker: WorkerRecord, cost: Cost | None) -> WorkerReport:
        def on_run_clock(time: float | None) -> float | None:
            return None if time is None else time - self._started_at

        attempts = [attempt for attempt in worker.attempts if attempt.run == self._run]
        spans = [span for attempt in attempts for span in attempt.spans if span.phase == "encode"]
        return WorkerReport(
            task=worker.task,
            backend=worker.backend,
            size=worker.size,
            launched_at=on_run_clock(worker.launched),
            ready_at=on_run_clock(worker.ready),
            stopped_at=on_run_clock(worker.stopped),
            encode_seconds=covered_seconds((span.started_at, span.ended_at) for span in spans),
            scenes=sum(attempt.finished for attempt in attempts if attempt.scene in self._names),
            cost=cost,
            possibly_running=worker.possibly_running,
            error=_text(worker.failure),
            post_mortem=worker.post_mortem,
        )

    def _scene_report(self, scene: SceneRecord) -> SceneReport:
        size = scene.video.size if scene.video else 0
        return SceneReport(
            scene=scene.name,
            video=scene.video,
            error=_text(scene.error),
            task=scene.task,
            attempts=scene.attempts,
            queued_seconds=scene.queued_seconds,
            upload_seconds=scene.phase_seconds.get("upload", 0.0),
            slot_wait_seconds=scene.slot_wait_seconds,
            encode_seconds=scene.phase_seconds.get("encode", 0.0),
            download_seconds=scene.phase_seconds.get("download", 0.0),
            bytes_sent=scene.bytes_sent,
            bytes_received=0 if scene.written_by_worker else size,
            bytes_fetched=scene.bytes_fetched,
            bytes_delivered=size if scene.written_by_worker else 0,
            usd=self._scene_usd.get(scene.name),
            skipped=scene.skipped,
        )


def status(scenes: Sequence[Outcome]) -> Status:
    """Return the status of a run from the outcomes of its scenes.

    It is `Status.INTERRUPTED` if any scene has neither a video nor an error, also while the run
    continues.
    """
    if any(scene.video is None and scene.error is None for scene in scenes):
        return Status.INTERRUPTED
    if any(isinstance(scene.error, BudgetError) for scene in scenes):
        return Status.BUDGET
    if all(scene.video is not None for scene in scenes):
        return Status.COMPLETE
    return Status.PARTIAL if any(scene.video is not None for scene in scenes) else Status.FAILED


def _problem(scenes: Sequence[Outcome]) -> str | None:
    """Return the text of the first error that requires a new setup; ``None`` if none does."""
    for scene in scenes:
        error = scene.error
        if error is None or isinstance(error, BudgetError | ClosedError):
            continue
        if error.remedy is Remedy.FIX_SETUP:
            return _text(error)
    return None


def _text(error: CloudburstError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"

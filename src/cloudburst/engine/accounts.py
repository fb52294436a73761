"""From what happened to what the report says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudburst.engine.scene import SceneRecord
from cloudburst.engine.slot import WorkerRecord
from cloudburst.errors import CloudburstError
from cloudburst.models.report import SceneReport, Status, WorkerReport


def status(scenes: Sequence[SceneRecord]) -> Status:
    """How the run stands: interrupted as long as a scene has neither video nor error."""
    if any(scene.video is None and scene.error is None for scene in scenes):
        return Status.INTERRUPTED
    if all(scene.video is not None for scene in scenes):
        return Status.COMPLETE
    return Status.PARTIAL if any(scene.video is not None for scene in scenes) else Status.FAILED


def scene_report(scene: SceneRecord) -> SceneReport:
    """One scene's entry."""
    return SceneReport(
        scene=scene.name,
        video=scene.video,
        error=_told(scene.error),
        task=scene.task,
        attempts=scene.attempts,
        queued=scene.queued,
        uploading=scene.uploading,
        waiting=scene.waiting,
        generating=scene.generating,
        downloading=scene.downloading,
        sent=scene.sent,
        received=scene.video.size if scene.video else 0,
    )


def worker_report(
    worker: WorkerRecord, scenes: Iterable[SceneRecord], began: float
) -> WorkerReport:
    """One worker's entry; ``began`` is the run's begin on the records' clock."""
    scenes = tuple(scenes)
    encodes = [(a, b) for s in scenes for task, a, b in s.encodes if task == worker.task]

    def on_run_clock(time: float | None) -> float | None:
        return None if time is None else time - began

    return WorkerReport(
        task=worker.task,
        backend=worker.backend,
        launched=on_run_clock(worker.launched),
        ready=on_run_clock(worker.ready),
        stopped=on_run_clock(worker.stopped),
        encoding=covered(encodes),
        scenes=sum(s.video is not None and s.video.task == worker.task for s in scenes),
        error=_told(worker.error),
    )


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie within at least one of the spans."""
    total, end = 0.0, float("-inf")
    for a, b in sorted(spans):
        total += max(0.0, b - max(a, end))
        end = max(end, b)
    return total


def _told(error: CloudburstError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"

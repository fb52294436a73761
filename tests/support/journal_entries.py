"""Entries of a journal, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from cloudburst.errors import UploadError
from cloudburst.models.journal_entries import (
    ErrorEntry,
    JournalState,
    LaunchEntry,
    PhaseEntry,
    ProcessEndEntry,
    ProcessEntry,
    ResultEntry,
    SceneEntry,
    SceneFailureEntry,
    TaskEntry,
)
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions
from cloudburst.models.prices import Rates
from cloudburst.models.report import Status
from cloudburst.models.scene import Scene, Video
from cloudburst.models.task import Usage
from cloudburst.models.tier import Tier
from cloudburst.models.video_format import Effect

WATERMARK = Path("/pictures/\udcff \U0001f3b5/mark.png")
"""A name that is no UTF-8."""


def process(began=1000.25, run="r1", **more):
    return ProcessEntry(
        run=run,
        started_at=began,
        options=RenderOptions(watermark=WATERMARK, effects=(Effect.PAN_LEFT,), is_portrait=True),
        tier=Tier.MAXIMUM_PERFORMANCE,
        limits=Limits(max_usd=Decimal("0.10"), workers=7),
        backends=("local", "fargate"),
        **more,
    )


def scene(name="第 1 幕", fingerprint="f1"):
    files = Scene(name=name, image=Path(f"/in/{name}.png"), audio=Path(f"/in/{name}.mp3"))
    return SceneEntry(scene=files, audio_seconds=12.5, fingerprint=fingerprint)


def launch(token="k1"):
    return LaunchEntry(token=token, backend="fargate", requested_at=1001.0)


def task(name="t1", **more):
    usage = Usage(
        rates=Rates(
            vcpu=Decimal("0.000011244"),
            memory_gb=Decimal("0.000001235"),
            disk_gb=Decimal("0.0000000308"),
        ),
        vcpu=2,
        memory_gb=4,
        public_ipv4=True,
        created_at=1001.0,
        pull_started_at=1002.125,
        last_seen_at=1100.0,
    )
    entry = TaskEntry(task=name, backend="fargate", token="k1", launched_at=1001.5, usage=usage)
    return replace(entry, **more)


def result(name="第 1 幕", fingerprint="f1"):
    video = Video(
        scene=name, path=Path(f"/out/{name}.mp4"), task="t1", size=7, sha256="ab", seconds=12.52
    )
    spans = (PhaseEntry("upload", 1003.0, 1004.5), PhaseEntry("encode", 1004.5, 1020.0))
    return ResultEntry(video=video, fingerprint=fingerprint, attempts=2, phases=spans)


def failure(name="第 1 幕", kills=1):
    return SceneFailureEntry(
        scene=name,
        failures=1,
        worker_failures=0,
        worker_losses=kills,
        error=ErrorEntry.of(UploadError("𝄞", scene=name)),
        given_up=True,
    )


def end(status=Status.COMPLETE, ended=1200.0):
    return ProcessEndEntry(ended_at=ended, status=status)


def one_of_each():
    return [process(), scene(), launch(), task(), result(), failure(), end()]


@dataclass
class Model:
    """What a journal should say."""

    processes: dict = field(default_factory=dict)
    scenes: dict = field(default_factory=dict)
    launches: dict = field(default_factory=dict)
    tasks: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)
    scene_failures: dict = field(default_factory=dict)
    end: ProcessEndEntry | None = None

    def write(self, *entries):
        for entry in entries:
            match entry:
                case ProcessEntry():
                    if entry.started_at not in self.processes:
                        self.end = None
                    self.processes[entry.started_at] = entry
                case SceneEntry():
                    self.scenes[entry.scene.name] = entry
                case LaunchEntry():
                    self.launches[entry.token] = entry
                case TaskEntry():
                    self.tasks[entry.task] = entry
                case ResultEntry():
                    self.results[entry.video.scene] = entry
                case SceneFailureEntry():
                    self.scene_failures[entry.scene] = entry
                case ProcessEndEntry():
                    self.end = entry
        return self

    @property
    def past(self):
        return JournalState(
            processes=tuple(self.processes.values()),
            scenes=self.scenes,
            launches=self.launches,
            tasks=self.tasks,
            results=self.results,
            scene_failures=self.scene_failures,
            end=self.end,
        )


def same(past, model):
    """Equal, in the same order too."""
    assert past == model.past
    for name in ("scenes", "launches", "tasks", "results", "scene_failures"):
        assert list(getattr(past, name)) == list(getattr(model, name))
    return True


async def inline(function):
    """Calls what blocks on the loop itself: for clocks that jump."""
    return function()

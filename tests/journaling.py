"""Entries of a journal, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from cloudburst.models.entries import (
    EndEntry,
    FaultEntry,
    LaunchEntry,
    ResultEntry,
    RunEntry,
    SceneEntry,
    SpanEntry,
    TaskEntry,
)
from cloudburst.models.options import Effect, RenderOptions
from cloudburst.models.past import Past
from cloudburst.models.policy import Limits
from cloudburst.models.prices import US_EAST_1
from cloudburst.models.report import Status
from cloudburst.models.scene import Scene, Video
from cloudburst.models.task import Usage
from cloudburst.models.tier import Tier

WATERMARK = Path("/pictures/\udcff \U0001f3b5/mark.png")
"""A name that is no UTF-8."""


def life(began=1000.25, run="r1", **more):
    return RunEntry(
        run=run,
        began=began,
        options=RenderOptions(watermark=WATERMARK, effects=(Effect.PAN_LEFT,), is_portrait=True),
        tier=Tier.MAXIMUM_PERFORMANCE,
        limits=Limits(max_usd=Decimal("0.10"), workers=7),
        backends=("local", "fargate"),
        **more,
    )


def scene(name="第 1 幕", fingerprint="f1"):
    files = Scene(name=name, image=Path(f"/in/{name}.png"), audio=Path(f"/in/{name}.mp3"))
    return SceneEntry(scene=files, seconds=12.5, fingerprint=fingerprint)


def launch(token="k1"):
    return LaunchEntry(token=token, backend="fargate", asked=1001.0)


def task(name="t1", **more):
    usage = Usage(
        rates=US_EAST_1,
        vcpu=2,
        memory_gb=4,
        public_ipv4=True,
        created=1001.0,
        pull_started=1002.125,
        seen=1100.0,
    )
    entry = TaskEntry(task=name, backend="fargate", token="k1", launched=1001.5, usage=usage)
    return replace(entry, **more)


def result(name="第 1 幕", fingerprint="f1"):
    video = Video(
        scene=name, path=Path(f"/out/{name}.mp4"), task="t1", size=7, sha256="ab", seconds=12.52
    )
    spans = (SpanEntry("uploading", 1003.0, 1004.5), SpanEntry("generating", 1004.5, 1020.0))
    return ResultEntry(video=video, fingerprint=fingerprint, attempts=2, spans=spans)


def fault(name="第 1 幕", kills=1):
    return FaultEntry(scene=name, failures=1, moves=0, kills=kills, kind="UploadError", message="𝄞")


def end(status=Status.COMPLETE, ended=1200.0):
    return EndEntry(ended=ended, status=status)


def one_of_each():
    return [life(), scene(), launch(), task(), result(), fault(), end()]


@dataclass
class Model:
    """What a journal should say."""

    lives: dict = field(default_factory=dict)
    scenes: dict = field(default_factory=dict)
    launches: dict = field(default_factory=dict)
    tasks: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)
    faults: dict = field(default_factory=dict)
    end: EndEntry | None = None

    def write(self, *entries):
        for entry in entries:
            match entry:
                case RunEntry():
                    if entry.began not in self.lives:
                        self.end = None
                    self.lives[entry.began] = entry
                case SceneEntry():
                    self.scenes[entry.scene.name] = entry
                case LaunchEntry():
                    self.launches[entry.token] = entry
                case TaskEntry():
                    self.tasks[entry.task] = entry
                case ResultEntry():
                    self.results[entry.video.scene] = entry
                case FaultEntry():
                    self.faults[entry.scene] = entry
                case EndEntry():
                    self.end = entry
        return self

    @property
    def past(self):
        return Past(
            lives=tuple(self.lives.values()),
            scenes=self.scenes,
            launches=self.launches,
            tasks=self.tasks,
            results=self.results,
            faults=self.faults,
            end=self.end,
        )


def same(past, model):
    """Equal, in the same order too."""
    assert past == model.past
    for name in ("scenes", "launches", "tasks", "results", "faults"):
        assert list(getattr(past, name)) == list(getattr(model, name))
    return True


async def inline(function):
    """Calls what blocks on the loop itself: for clocks that jump."""
    return function()

"""How fast tasks of one kind are: what is assumed of them, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Measure: TypeAlias = Literal["start", "encode", "move", "stop"]
"""From a launch to the first answer; an encode; upload and download of a scene; from the end of
the last scene to the end of the bill."""

Range: TypeAlias = tuple[float, float]
"""What something takes at best and at worst, as parts of what is expected."""

EXACTLY: Range = (1.0, 1.0)
GUESSED: Range = (0.5, 2.0)
"""Of a figure that is only assumed: half or double. A choice for caution, and no measurement."""

PLACING_SECONDS = 18
"""Assumed of Fargate: from a launch to ``pullStartedAt``, where the bill begins.

Between 12 and 24 in five answers and events that can be read in public, 18 in the middle: those of
AWS's pages on StopTask (12) and on task state changes (18,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html, 2026-11), and of
three people (13, 20, 24).
"""
PULL_SECONDS = 40
"""Assumed of Fargate: from ``pullStartedAt`` until the worker answers.

Every task pulls its whole image, for Fargate keeps none
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-pull-behavior.html). A few
hundred MB take 20 to 40 seconds from ECR in the same region, about a minute from elsewhere
(https://elasticscale.com/blog/reduce-aws-fargate-pull-times-with-soci, 2024-04: 57 s for 413 MB).
"""
STOP_SECONDS = 23
"""Assumed of Fargate: from the end of the last scene to ``stoppedAt``, where the bill ends.

From the end of the container, which does not wait for anything, to ``stoppedAt`` it is 14, 23, 23
and 24 in four events of stopped tasks that can be read in public.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What to expect of tasks of one kind. All in seconds."""

    start: float = 0.0
    """From a launch to the first answer."""
    scene: float = 0.0
    """Of an encoder slot, for any scene however short."""
    ratio: float = 1.0
    """Of an encoder slot besides, for each second of work: see `cloudburst.engine.figures.work`."""
    moving: float = 0.0
    """Upload and download of one scene."""
    stop: float = 0.0
    """From the end of the last scene to the end of the bill."""
    placing: float = 0.0
    """Of the start: what passes before the bill begins."""
    starts: Range = EXACTLY
    encodes: Range = EXACTLY
    measured: frozenset[Measure] = frozenset()
    """What of this was measured; the rest is assumed."""

    def encode(self, work: float) -> float:
        """Seconds of an encoder slot for a scene with so many seconds of work."""
        return self.scene + self.ratio * work

    @property
    def best(self) -> Pace:
        """The same when all goes well."""
        return self._at(0)

    @property
    def worst(self) -> Pace:
        """The same when all is slow."""
        return self._at(1)

    def _at(self, end: Literal[0, 1]) -> Pace:
        start, encode = self.starts[end], self.encodes[end]
        return replace(
            self,
            start=self.placing + start * (self.start - self.placing),
            scene=encode * self.scene,
            ratio=encode * self.ratio,
            starts=EXACTLY,
            encodes=EXACTLY,
        )


UNKNOWN = Pace()
"""Nothing is known, and nothing assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One thing that was measured once."""

    kind: str
    """Which tasks: see ``Backend.kind``."""
    measure: Measure
    seconds: float
    sound: float = 0.0
    """Seconds of work of the scene, where there is one: see `cloudburst.engine.figures.work`."""

"""How fast tasks of one kind are: what is assumed of them, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Measure: TypeAlias = Literal["start", "encode", "move", "stop"]
"""From a launch to the first answer; an encode; upload and download of a scene; from the end of
the last scene to the end of the bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What to expect of tasks of one kind. All in seconds."""

    start: float = 0.0
    """From a launch to the first answer."""
    scene: float = 0.0
    """Of an encoder slot, for any scene however short."""
    ratio: float = 1.0
    """Of an encoder slot besides, for each second of sound."""
    moving: float = 0.0
    """Upload and download of one scene."""
    stop: float = 0.0
    """From the end of the last scene to the end of the bill."""
    measured: frozenset[Measure] = frozenset()
    """What of this was measured; the rest is assumed."""

    def encode(self, sound: float) -> float:
        """Seconds of an encoder slot for a scene with so many seconds of sound."""
        return self.scene + self.ratio * sound


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
    """Seconds of sound of the scene, where there is one."""

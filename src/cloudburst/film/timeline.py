"""Timeline of a film: where each scene begins, and which of its frames a transition changes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from cloudburst.models.film import Transition, changed_seconds
from cloudburst.renderer.audio_frames import SAMPLE_RATE


class ScenePlace(NamedTuple):
    """Place of a scene in a film. All numbers are frames."""

    start: int
    """Number of the film's frame that shows the first frame of the scene."""
    frames: int
    """Length of the scene."""
    head: int
    """Frames at the start of the scene that the transition from the previous scene changes."""
    tail: int
    """Frames at the end of the scene that the transition to the next scene changes."""


class Timeline:
    """Places of all scenes of a film, from their lengths in frames.

    ``seconds`` is the length of a transition; ignored for cuts.
    """

    def __init__(
        self, lengths: Sequence[int], fps: Fraction, transition: Transition, seconds: float
    ) -> None:
        self.fps = fps
        self.overlaps = transition == "crossfade"
        changed = transition_frames(transition, seconds, fps)
        self.places: list[ScenePlace] = []
        start = 0
        for number, frames in enumerate(lengths):
            head = changed if number else 0
            tail = changed if number < len(lengths) - 1 else 0
            self.places.append(ScenePlace(start, frames, head, tail))
            start += frames - (tail if self.overlaps else 0)
        self.frames = start
        """Length of the film, in frames."""

    def samples(self, frames: int) -> int:
        """Return the number of samples of sound in a number of frames from the start."""
        return round(frames * SAMPLE_RATE / self.fps)

    def seconds(self, frames: int) -> float:
        """Return the length of a number of frames, in seconds."""
        return float(frames / self.fps)


def transition_frames(transition: Transition, seconds: float, fps: Fraction | int) -> int:
    """Return the number of frames of one scene that a transition changes, at one of its ends."""
    if transition == "cut":
        return 0
    return max(1, round(changed_seconds(transition, seconds) * fps))

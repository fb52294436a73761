"""Timeline of a film: where each scene begins, and which of its frames a transition changes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from cloudburst.models.film import Transition, transition_frames
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
    body: int
    """First frame of the scene that is not mixed with the previous scene."""
    end: int
    """Frame of the scene after the last one that is not mixed with the next scene."""


class Timeline:
    """Places of all scenes of a film, from their lengths in frames.

    ``transitions`` are those between the scenes, and ``seconds`` is the length of one that is no
    cut. ``gap`` is the length of the black between two scenes, in seconds.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        fps: Fraction,
        transitions: Sequence[Transition],
        seconds: float,
        gap: float = 0.0,
    ) -> None:
        self.fps = fps
        self.places: list[ScenePlace] = []
        black = round(gap * fps)
        self.has_gaps = black > 0
        start = 0
        for frames, (before, after) in zip(
            lengths, pairwise(("cut", *transitions, "cut")), strict=True
        ):
            head, tail = (transition_frames(each, seconds, fps) for each in (before, after))
            body = head if before == "crossfade" else 0
            end = frames - (tail if after == "crossfade" else 0)
            self.places.append(ScenePlace(start, frames, head, tail, body, end))
            start += end + black
        self.frames = start - black
        """Length of the film, in frames."""

    def samples(self, frames: int) -> int:
        """Return the number of samples of sound in a number of frames from the start."""
        return round(frames * SAMPLE_RATE / self.fps)

    def seconds(self, frames: int) -> float:
        """Return the length of a number of frames, in seconds."""
        return float(frames / self.fps)

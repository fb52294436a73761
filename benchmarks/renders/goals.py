"""Goals of the benchmark of renders, and verdicts on them."""

from __future__ import annotations

from typing import NamedTuple

AGAINST: dict[tuple[str, int], float] = {
    ("effects_only", 10): 2.2,
    ("effects_only", 30): 2.5,
    ("effects_only", 300): 3.5,
    ("full_featured", 10): 1.8,
    ("full_featured", 30): 1.9,
    ("full_featured", 300): 2.5,
}
"""CPU seconds of libx264's own B pictures (commit ae2d394) over ours, at least, by scenario and by
seconds of audio: mean of the pictures."""
STILL = 0.97
"""The same for still pictures of any length, which are encoded as before: 1, less noise."""
PUBLIC_IMAGE: dict[tuple[str, int], float] = {
    ("baseline", 10): 30,
    ("subtitles_only", 10): 25,
    ("effects_only", 10): 23,
    ("full_featured", 10): 26,
    ("baseline", 30): 50,
    ("subtitles_only", 30): 30,
    ("effects_only", 30): 20,
    ("full_featured", 30): 22,
}
"""CPU seconds of the public image's code over ours, at least, by scenario and seconds of audio."""
PEAK = 200
"""Memory of a render process and its descendants, in megabytes, at most: median of the runs of one
row."""
SIZE, MEAN_SIZE = 1.07, 0.95
"""Size of our video over that of the other renderer, at most, for each picture; and the mean for
zooms."""
VMAF_LOSS = 0.2
"""Points of VMAF by which our mean may be lower, for each picture."""
EDGE_STEP, EDGE_STEP_SECONDS = 0.07, 10
"""Largest change of edge energy between two frames, at most, in zooms of up to this length."""


class Verdict(NamedTuple):
    """Measured value of a figure, its goal, and whether the goal is met."""

    text: str
    found: float
    goal: float
    met: bool

    def __str__(self) -> str:
        word = "met   " if self.met else "MISSED"
        return f"  {word} {self.text}: {self.found:.2f}, goal {self.goal:g}"


def at_least(text: str, found: float, goal: float, tolerance: float = 0.0) -> Verdict:
    """Return the verdict on a figure whose goal is a lower limit."""
    return Verdict(text, found, goal, found >= goal - tolerance)


def at_most(text: str, found: float, goal: float) -> Verdict:
    """Return the verdict on a figure whose goal is an upper limit."""
    return Verdict(text, found, goal, found <= goal)

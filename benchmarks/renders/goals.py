"""Goals of the benchmark of renders, and verdicts on them."""

from __future__ import annotations

from typing import NamedTuple

AGAINST: dict[tuple[str, int], float] = {
    ("baseline", 10): 5,
    ("baseline", 30): 10,
    ("baseline", 300): 22,
    ("subtitles_only", 30): 4.8,
    ("effects_only", 10): 1.85,
    ("effects_only", 30): 1.85,
    ("full_featured", 10): 1.85,
    ("full_featured", 30): 1.85,
}
"""CPU seconds of the replaced renderer (commit f760254) over ours, at least, by scenario and by
seconds of audio."""
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
SIZE = {True: 1.15, False: 1.1}
"""Size of our video over that of the other renderer, at most, for moving and still pictures."""
VMAF_TOLERANCE = 0.05
"""Points of VMAF by which our score may be lower: half of the last digit that is printed."""


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

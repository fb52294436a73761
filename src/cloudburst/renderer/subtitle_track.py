"""Subtitles of a video: which are visible in which frames, and how they look."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from cloudburst.media.subtitles import Cue
from cloudburst.renderer.planes import Layer
from cloudburst.renderer.subtitle_painter import SubtitlePainter

# Seconds in which a cue that pops grows into its place, and its size at the start in proportion.
POP_SECONDS, POP_START = 0.12, 0.5


class SubtitleState(NamedTuple):
    """Cues that are shown from one frame until the first frame of the next state."""

    first_frame: int
    shown: tuple[int, ...]
    """Indices of the cues, in the order in which they appear."""
    words: tuple[int, ...] = ()
    """Index of the current word of each cue in `Cue.words`, -1 for none; empty if no cue has a
    current word."""
    scales: tuple[float, ...] = ()
    """Size of each cue in proportion, 1 for its whole size; may be empty if no cue grows."""


class _Span(NamedTuple):
    """Frames in which a cue is shown, from ``first`` up to but not including ``end``."""

    first: int
    cue: int
    """Index of the cue."""
    end: int


def subtitle_states(
    cues: Sequence[Cue], frames: int, fps: int, *, with_words: bool = False, pops: bool = False
) -> list[SubtitleState]:
    """Return the states of the subtitles of a video with this number of frames.

    A cue is shown in each frame whose time lies in [start, end); the time of frame ``n`` is exactly
    ``n / fps`` seconds. The first state begins at frame 0, and two states in a row differ. States
    ``with_words`` change with the current words, too, and cues that pop in their first frames.
    """
    # A cue that repeats text and position of a cue that ends in the same frame is the same
    # picture, so the index of the earlier cue stays in the state. The work is proportional to the
    # cues plus the sum of the lengths of all states, which `MAX_AT_ONCE` of the subtitles limits.
    spans = _spans(cues, frames, fps, with_words=with_words)
    changes = sorted(
        [(span.first, 1, rank) for rank, span in enumerate(spans)]
        + [(span.end, 0, rank) for rank, span in enumerate(spans) if span.end < frames]
    )
    states = [SubtitleState(0, ())]
    ranks: list[int] = []  # ranks of the shown spans, ascending, so the first to appear is first
    for frame, group in groupby(changes, key=itemgetter(0)):
        for _, begins, rank in group:
            if begins:
                insort(ranks, rank)
            else:
                ranks.remove(rank)
        state = SubtitleState(frame, tuple(spans[rank].cue for rank in ranks))
        if frame == 0:
            states[0] = state
        elif state.shown != states[-1].shown:
            states.append(state)
    if not with_words and not pops:
        return states
    return _divided(states, cues if with_words else (), frames, fps, _growth(fps) if pops else ())


def _growth(fps: int) -> list[float]:
    """Return the sizes of a cue that pops, frame by frame."""
    frames = round(POP_SECONDS * fps)
    left = ((frames - number) / (frames + 1) for number in range(frames))
    return [*(1 - (1 - POP_START) * part**2 for part in left), 1.0]


def _divided(
    states: Sequence[SubtitleState],
    cues: Sequence[Cue],
    frames: int,
    fps: int,
    growth: Sequence[float],
) -> list[SubtitleState]:
    words: dict[int, int] = {}
    scales: dict[int, float] = {}
    changes: dict[int, list[tuple[dict[int, Any], int, float]]] = {}
    shown: frozenset[int] = frozenset()
    for state in states:
        changes.setdefault(state.first_frame, [])
        for index in frozenset(state.shown) - shown:
            for number, word in enumerate(cues[index].words if cues else ()):
                first, end = _frames(word.start, word.end, frames, fps)
                if first < end:
                    changes.setdefault(first, []).append((words, index, number))
                    changes.setdefault(end, []).append((words, index, -1))
            for frame, scale in enumerate(growth, state.first_frame):
                changes.setdefault(frame, []).append((scales, index, scale))
        shown = frozenset(state.shown)
    divided: list[SubtitleState] = []
    rest = iter([*states[1:], SubtitleState(frames, ())])
    state, following = states[0], next(rest)
    for frame in sorted(frame for frame in changes if frame < frames):
        if frame == following.first_frame:
            state, following = following, next(rest)
        for values, index, value in changes[frame]:  # a word that ends comes before the next one
            values[index] = value
        current = tuple(words.get(index, -1) for index in state.shown)
        new = SubtitleState(
            frame,
            state.shown,
            current if max(current, default=-1) >= 0 else (),
            tuple(scales.get(index, 1.0) for index in state.shown),
        )
        if not divided or new[1:] != divided[-1][1:]:
            divided.append(new)
    return divided


def _frames(start: int, end: int, frames: int, fps: int) -> tuple[int, int]:
    first, after = (min(frames, -(-time * fps // 1000)) for time in (start, end))
    return first, after


def _spans(cues: Sequence[Cue], frames: int, fps: int, *, with_words: bool) -> list[_Span]:
    # A cue is joined with one of the same look that ends in the frame in which it begins. Cues
    # with words that are shown are not joined.
    order = sorted(range(len(cues)), key=lambda index: (cues[index].start, index))
    spans: list[_Span] = []
    last: dict[tuple[str, int | None], int] = {}  # place in `spans` of the last cue of each look
    for index in order:
        cue = cues[index]
        first, end = _frames(cue.start, cue.end, frames, fps)
        if first >= end:
            continue
        look = cue.text, cue.position
        before = last.get(look)
        joined = not (with_words and cue.words)
        if joined and before is not None and spans[before].end == first:
            spans[before] = spans[before]._replace(end=end)
            continue
        last[look] = len(spans)
        spans.append(_Span(first, index, end))
    return spans


class VisibleState(NamedTuple):
    """Frames in a row that show the same subtitles."""

    number: int
    """Number of the state, for `SubtitleTrack.layers`."""
    frames: int


class SubtitleTrack:
    """Subtitles of a video: states, each from its first frame on, and their painter."""

    def __init__(
        self,
        states: Sequence[SubtitleState] = (SubtitleState(0, ()),),
        painter: SubtitlePainter | None = None,
    ) -> None:
        self._states = states
        self._starts = [state.first_frame for state in states]
        self._painter = painter
        self._painted = -1
        self._layers: list[Layer] = []

    def parts(self, frames: int) -> list[int]:
        """Return the lengths of the parts of a video of ``frames`` that are encoded apart."""
        return [frames]

    def states(self, first: int, frames: int) -> list[VisibleState]:
        """Return the states of a part of the video, which has at least one frame."""
        end = first + frames
        found: list[VisibleState] = []
        for index in range(bisect_right(self._starts, first) - 1, len(self._starts)):
            begin = max(first, self._starts[index])
            following = self._starts[index + 1] if index + 1 < len(self._starts) else end
            if begin >= end:
                break
            found.append(VisibleState(index, min(following, end) - begin))
        return found

    def layers_at(self, frame: int) -> list[Layer]:
        """Return the layers of a frame, in the order in which they are blended."""
        return self.layers(self.states(frame, 1)[0].number)

    def layers(self, index: int) -> list[Layer]:
        """Return the layers of a state, in the order in which they are blended."""
        # They do not depend on the states that were drawn before: the place of a cue is always
        # found from the cues that were visible when it appeared.
        if self._painter is None or not self._states[index].shown:
            return []
        if index != self._painted:
            for state in self._states[self._first_to_place(index) : index]:
                self._painter.place(state.shown)
            state = self._states[index]
            self._layers = self._painter.paint(state.shown, state.words, state.scales)
            self._painted = index
        return self._layers

    def check_font(self) -> None:
        """Find errors of a job's font file."""
        if self._painter is not None:
            self._painter.check_font()

    def _first_to_place(self, index: int) -> int:
        """Return the first state whose cues must be placed before a state is painted."""
        # From it on, some cue was visible without interruption. States up to the last painted one
        # are not placed again: each is placed once, even if another process encodes some GOPs.
        first = index
        while first not in (0, self._painted + 1) and self._share_cue(first - 1, first):
            first -= 1
        return first

    def _share_cue(self, one: int, other: int) -> bool:
        return not set(self._states[one].shown).isdisjoint(self._states[other].shown)

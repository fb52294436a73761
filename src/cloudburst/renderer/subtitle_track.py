"""Subtitles of a video: which are visible in which frames, and how they look."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from cloudburst.renderer.cue_timeline import SubtitleState
from cloudburst.renderer.layers import Layer
from cloudburst.renderer.subtitle_painter import SubtitlePainter


class VisibleState(NamedTuple):
    """Frames in a row that show the same subtitles."""

    number: int
    """Number of the state in the video, for `SubtitleTrack.layers`."""
    frames: int


class SubtitleTrack:
    """Subtitles of a video.

    Args:
        states: States of the whole video, each from its first frame on.
        painter: Painter of the states; ``None`` if there are no cues.
    """

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
        """Return the layers of a frame of the video, in the order in which they are blended."""
        return self.layers(self.states(frame, 1)[0].number)

    def layers(self, index: int) -> list[Layer]:
        """Return the layers of a state, in the order in which they are blended.

        The result does not depend on the states that were drawn before: the place of a cue is
        always found from the cues that were visible when it appeared.
        """
        if self._painter is None or not self._states[index].shown:
            return []
        if index != self._painted:
            for state in self._states[self._first_to_place(index) : index]:
                self._painter.place(state.shown)
            state = self._states[index]
            self._layers = self._painter.paint(state.shown, state.words)
            self._painted = index
        return self._layers

    def check_font(self) -> None:
        """Find errors of a job's font file; see `SubtitlePainter.check_font`."""
        if self._painter is not None:
            self._painter.check_font()

    def _first_to_place(self, index: int) -> int:
        """Return the first state whose cues must be placed before a state is painted.

        From this state on, some cue was visible without interruption. States up to the last painted
        one are not placed again, so that each state is placed once even if another process encodes
        some GOPs.
        """
        first = index
        while first not in (0, self._painted + 1) and self._share_cue(first - 1, first):
            first -= 1
        return first

    def _share_cue(self, one: int, other: int) -> bool:
        return not set(self._states[one].shown).isdisjoint(self._states[other].shown)

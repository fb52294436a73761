"""Fades of a video from black and to black: a layer of black over everything else."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from cloudburst.models.video_format import DEFAULT_FPS
from cloudburst.renderer.encoder import EncodedPicture
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import Gop, Progress, divide_parts
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.planes import BLACK, Layer, Planes
from cloudburst.renderer.still_video import StillVideo
from cloudburst.renderer.subtitle_track import SubtitleTrack, VisibleState

_OPAQUE = 255
# Number of opacities of a layer.
_OPACITIES = _OPAQUE + 1


class Fades(NamedTuple):
    """Lengths of the fades of a video, in frames."""

    start: int
    """The first frame is black."""
    end: int
    """The last frame is black."""
    frames: int
    """Length of the video."""

    def opacity(self, frame: int) -> int:
        """Return the opacity of the black over a frame, from 0 to 255."""
        light = 1.0
        if frame < self.start:
            light = frame / self.start
        if (left := self.frames - 1 - frame) < self.end:
            light = min(light, left / self.end)
        return round(_OPAQUE * (1 - light))


def plan_fades(fade_in: float, fade_out: float, frames: int, fps: int) -> Fades | None:
    """Return the fades of a video, from their lengths in seconds; ``None`` if both are 0."""
    # In a video that is shorter than both together, each gets its share of the length, so that the
    # options of a run also fit its shortest scenes.
    if not fade_in and not fade_out:
        return None
    start, end = round(fade_in * fps), round(fade_out * fps)
    if start + end > frames:
        start = round(frames * start / (start + end))
        end = frames - start
    return Fades(start, end, frames)


class FadedTrack(SubtitleTrack):
    """Subtitles of a video, with the black of its fades over them.

    Each state of the subtitles is divided into states of the same black. A state has the number of
    its subtitles times 256, plus the opacity of the black.
    """

    def __init__(self, subtitles: SubtitleTrack, fades: Fades, size: tuple[int, int]) -> None:
        super().__init__()
        self._subtitles = subtitles
        self._fades = fades
        self._size = size

    def parts(self, frames: int) -> list[int]:
        """Return the lengths of the fades, and of what is between them."""
        start, end, _ = self._fades
        return [start, frames - start - end, end]

    def states(self, first: int, frames: int) -> list[VisibleState]:
        """Return the states of a part of the video."""
        found: list[VisibleState] = []
        for state in self._subtitles.states(first, frames):
            shown = range(first, first + state.frames)
            for opacity, same in groupby(shown, self._fades.opacity):
                found.append(VisibleState(state.number * _OPACITIES + opacity, len(list(same))))
            first += state.frames
        return found

    def layers(self, index: int) -> list[Layer]:
        """Return the layers of a state; see `SubtitleTrack.layers`."""
        number, opacity = divmod(index, _OPACITIES)
        layers = self._subtitles.layers(number)
        return [*layers, self._black(opacity)] if opacity else layers

    def _black(self, opacity: int) -> Layer:
        width, height = self._size
        mask = bytes([opacity]) * (width * height)
        return Layer(0, 0, width, height, mask, mask[: len(mask) // 4], BLACK)


class FadedStillVideo:
    """Content of a video without camera motion, with fades; a `GopSource`."""

    # Fades are encoded as videos with motion are, in GOPs of their own: with B pictures, they take
    # a quarter of the bytes.

    def __init__(
        self,
        picture: Planes,
        frames: int,
        subtitles: SubtitleTrack,
        fades: Fades,
        *,
        fps: int = DEFAULT_FPS,
    ) -> None:
        faded = FadedTrack(subtitles, fades, (picture.width, picture.height))
        self._still = StillVideo(picture, subtitles, fps=fps)
        self._fading = MotionVideo(picture, frames, None, None, faded, fps=fps)
        self._fades = fades

    def gops(self, frames: int) -> list[Gop]:
        """Return the GOPs of the video; see `GopSource`."""
        start, end = self._fades.start, self._fades.end
        fade, still = self._fading.gop_frames, self._still.gop_frames
        return divide_parts([start, frames - start - end, end], [fade, still, fade])

    def choose_quantizer(self) -> int:
        """Return the quantizer; see `GopSource`."""
        return self._still.choose_quantizer()

    def draw(self, frame: int, *, subtitles: bool = True) -> Frame:
        """Draw a frame; see `GopSource`."""
        return self._source(frame).draw(frame, subtitles=subtitles)

    def encode(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
        """Return the pictures of a GOP; see `GopSource`."""
        return self._source(gop.first).encode(gop, quantizer, progress)

    def _source(self, frame: int) -> StillVideo | MotionVideo:
        is_still = self._fades.start <= frame < self._fades.frames - self._fades.end
        return self._still if is_still else self._fading

"""Video of a picture over which a camera moves: every frame is drawn and encoded."""

from __future__ import annotations

from collections.abc import Callable

from cloudburst.renderer.encoder import MOTION_GOP_FRAMES, EncodedPicture, GopEncoder, VideoSize
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import Gop, Progress
from cloudburst.renderer.motion import Window
from cloudburst.renderer.planes import PictureLayer, Planes
from cloudburst.renderer.quantizers import (
    TRIAL_FRAMES,
    TRIAL_QUANTIZER,
    motion_quantizer,
)
from cloudburst.renderer.subtitle_track import SubtitleTrack


class MotionVideo:
    """Content of a video with camera motion; a `GopSource`.

    Args:
        picture: The picture over which the camera moves.
        frames: Length of the video, in frames.
        window: Function that returns the visible part of the picture for the number of a frame.
        watermark: Watermark that stays in place; ``None`` for none.
        subtitles: Subtitles of the video.
    """

    gop_frames = MOTION_GOP_FRAMES

    def __init__(
        self,
        picture: Planes,
        frames: int,
        window: Callable[[int], Window],
        watermark: PictureLayer | None,
        subtitles: SubtitleTrack,
    ) -> None:
        self._size = VideoSize(picture.width, picture.height)
        self._picture = Frame(*self._size)
        self._picture.fill(picture)
        self._canvas = Frame(*self._size)
        self._frames = frames
        self._window = window
        self._watermark = watermark
        self._subtitles = subtitles

    def choose_quantizer(self) -> int:
        """Return the quantizer, chosen by a trial in the middle of the video; see `GopSource`."""
        length = min(self._frames, TRIAL_FRAMES)
        trial = Gop(0, (self._frames - length) // 2, length)
        return motion_quantizer(self.encode(trial, TRIAL_QUANTIZER, lambda _frames: None))

    def encode(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
        """Return the pictures of a GOP; see `GopSource`."""
        encoder = GopEncoder(self._size, quantizer)
        pictures: list[EncodedPicture] = []
        position = 0
        for state in self._subtitles.states(gop.first, gop.frames):
            layers = self._subtitles.layers(state.number)
            for _ in range(state.frames):
                self._canvas.zoom_from(self._picture, self._window(gop.first + position))
                if self._watermark is not None:
                    self._canvas.overlay(self._watermark)
                for layer in layers:
                    self._canvas.blend(layer)
                pictures += encoder.add(self._canvas.video)
                position += 1
                progress(position)
        return pictures + encoder.finish()

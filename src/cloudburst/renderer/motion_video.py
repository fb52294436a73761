"""Video of a picture over which a camera moves: every frame is drawn and encoded."""

from __future__ import annotations

from cloudburst.models.video_format import DEFAULT_FPS, VideoFormat, VideoSize
from cloudburst.renderer.encoder import (
    MAX_GOP_BYTES,
    MOTION_GOP_SECONDS,
    EncodedPicture,
    GopEncoder,
)
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import Gop, Progress, divide
from cloudburst.renderer.motion import WHOLE_PICTURE, Camera, Window
from cloudburst.renderer.planes import Layer, Planes
from cloudburst.renderer.quantizers import (
    TRIAL_FRAMES,
    TRIAL_QUANTIZER,
    TRIAL_SCENE_FRAMES,
    motion_quantizer,
)
from cloudburst.renderer.subtitle_track import SubtitleTrack


class MotionVideo:
    """Content of a video with camera motion; a `GopSource`.

    A ``camera`` of ``None`` does not move. The watermark stays in place.
    """

    def __init__(
        self,
        picture: Planes,
        frames: int,
        camera: Camera | None,
        watermark: Layer | None,
        subtitles: SubtitleTrack,
        *,
        fps: int = DEFAULT_FPS,
    ) -> None:
        self.gop_frames = MOTION_GOP_SECONDS * fps
        self._size = VideoSize(
            *((picture.width, picture.height) if camera is None else camera.size)
        )
        self._format = VideoFormat(self._size, fps)
        self._picture = Frame(picture.width, picture.height)
        self._picture.fill(picture)
        self._canvas = Frame(*self._size)
        self._frames = frames
        self._camera = camera
        self._watermark = watermark
        self._subtitles = subtitles

    def gops(self, frames: int) -> list[Gop]:
        """Return the GOPs of the video."""
        return divide(frames, self.gop_frames)

    def choose_quantizer(self) -> int:
        """Return the quantizer, chosen by a trial."""
        # The trial encodes the middle of a scene of `TRIAL_SCENE_FRAMES` without subtitles, so
        # that videos of the same picture have the same quantizer, for any length. A panorama moves
        # as fast as other pictures.
        encoder = GopEncoder(self._format, TRIAL_QUANTIZER)
        pictures: list[EncodedPicture] = []
        length = 1.0 if self._camera is None else self._camera.path_length
        frames = round(TRIAL_SCENE_FRAMES * length)
        first = (frames - TRIAL_FRAMES) // 2
        for frame in range(first, first + TRIAL_FRAMES):
            self._draw_picture(self._window(frame, frames))
            pictures += encoder.add(self._canvas.video)
        return motion_quantizer(pictures + encoder.finish(), self._size)

    def encode(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
        """Return the pictures of a GOP."""
        encoder = GopEncoder(self._format, quantizer, max_bytes=MAX_GOP_BYTES)
        pictures: list[EncodedPicture] = []
        for position in range(gop.frames):
            pictures += encoder.add(self.draw(gop.first + position).video)
            progress(position + 1)
        return pictures + encoder.finish()

    def draw(self, frame: int, *, subtitles: bool = True) -> Frame:
        """Draw a frame; see `GopSource`."""
        self._draw_picture(self._window(frame, self._frames))
        if subtitles:
            for layer in self._subtitles.layers_at(frame):
                self._canvas.blend(layer)
        return self._canvas

    def _draw_picture(self, window: Window) -> None:
        self._canvas.zoom_from(self._picture, window)
        if self._watermark is not None:
            self._canvas.blend(self._watermark)

    def _window(self, frame: int, frames: int) -> Window:
        return WHOLE_PICTURE if self._camera is None else self._camera.window(frame, frames)

"""Video of a picture over which a camera moves: every frame is drawn and encoded."""

from __future__ import annotations

import os
from av.video.frame import VideoFrame

from cloudburst.models.video_format import DEFAULT_FPS, VideoFormat, VideoSize
from cloudburst.renderer.encoder import (
    MAX_GOP_BYTES,
    MOTION_GOP_SECONDS,
    EncodedPicture,
    GopEncoder,
)
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import Gop, Progress, divide
from cloudburst.renderer.kernel.interface import Rectangle
from cloudburst.renderer.known_vectors import Scenery, encode_references, find_references
from cloudburst.renderer.motion import WHOLE_PICTURE, Camera, Window
from cloudburst.renderer.planes import Layer, Planes
from cloudburst.renderer.quantizers import (
    TRIAL_FRAMES,
    TRIAL_QUANTIZER,
    TRIAL_SCENE_FRAMES,
    motion_quantizer,
)
from cloudburst.renderer.subtitle_track import SubtitleTrack


DISTANCE=int(os.environ.get("KV_DISTANCE","6"))
LOWER=int(os.environ.get("KV_LOWER","0"))
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
        scenery = self._scenery(gop)
        references = find_references(scenery, self._size, DISTANCE)
        if references is None:
            return self._encode_all(gop, quantizer, progress)

        def draw(position: int) -> VideoFrame:
            progress(position + 1)
            return self.draw(gop.first + position).video

        return encode_references(scenery, references, self._format, quantizer - LOWER, draw)

    def _scenery(self, gop: Gop) -> Scenery:
        states: list[int] = []
        texts: list[list[Rectangle]] = []
        for number, state in enumerate(self._subtitles.states(gop.first, gop.frames)):
            states += [number] * state.frames
            texts.append([layer.area for layer in self._subtitles.layers(state.number)])
        frames = range(gop.first, gop.first + gop.frames)
        windows = [self._window(frame, self._frames) for frame in frames]
        return Scenery(windows, states, texts, [] if self._watermark is None else [self._watermark.area])

    def _encode_all(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
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

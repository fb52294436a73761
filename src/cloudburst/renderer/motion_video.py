"""Video of a picture over which a camera moves."""

from __future__ import annotations

from functools import cached_property

from av.video.frame import VideoFrame

from cloudburst.models.video_format import DEFAULT_FPS, VideoFormat, VideoSize
from cloudburst.renderer import known_vectors
from cloudburst.renderer.encoder import (
    MAX_GOP_BYTES,
    MOTION_GOP_SECONDS,
    EncodedPicture,
    GopEncoder,
)
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import Gop, Progress, divide_parts
from cloudburst.renderer.known_vectors import Plan, Scenery
from cloudburst.renderer.motion import WHOLE_PICTURE, Camera, Window
from cloudburst.renderer.planes import Layer, Planes
from cloudburst.renderer.quantizers import (
    TRIAL_DISTANCE,
    TRIAL_PICTURES,
    TRIAL_QUANTIZER,
    TRIAL_SCENE_FRAMES,
    Trial,
    motion_trial,
)
from cloudburst.renderer.subtitle_track import SubtitleTrack


class MotionVideo:
    """Content of a video with camera motion; a `GopSource`.

    A ``camera`` of ``None`` does not move. The watermark stays in place. With ``search``, libx264
    looks for the movement in all frames; else most pictures follow from the camera.
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
        search: bool = False,
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
        self._search = search

    def gops(self, frames: int) -> list[Gop]:
        """Return the GOPs of the video."""
        parts = self._subtitles.parts(frames)
        return divide_parts(parts, [self.gop_frames] * len(parts))

    def choose_quantizer(self) -> int:
        """Return the quantizer, chosen by a trial."""
        return self._trial.quantizer

    @cached_property
    def _trial(self) -> Trial:
        # The trial encodes the middle of a scene of `TRIAL_SCENE_FRAMES` without subtitles, so
        # that videos of the same picture have the same quantizer, for any length. A panorama moves
        # as fast as other pictures. Each process that encodes GOPs makes the trial, which takes as
        # long as three frames.
        encoder = GopEncoder(self._format, TRIAL_QUANTIZER, only_p=True)
        pictures: list[EncodedPicture] = []
        length = 1.0 if self._camera is None else self._camera.path_length
        frames = round(TRIAL_SCENE_FRAMES * length)
        first = frames // 2 - TRIAL_DISTANCE * (TRIAL_PICTURES // 2)
        for number in range(TRIAL_PICTURES):
            self._draw_picture(self._window(first + number * TRIAL_DISTANCE, frames))
            pictures += encoder.add_p(self._canvas.video)
        return motion_trial(pictures + encoder.finish(), self._size)

    def encode(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
        """Return the pictures of a GOP."""
        planned = self._plan(gop, quantizer)
        if planned is not None:
            quantizer = planned.quantizer
        encoder = GopEncoder(
            self._format, quantizer, only_p=planned is not None, max_bytes=MAX_GOP_BYTES
        )

        def draw(position: int) -> VideoFrame:
            progress(position + 1)
            return self.draw(gop.first + position).video

        if planned is not None:
            return known_vectors.encode(planned, self._size, encoder, draw)
        pictures: list[EncodedPicture] = []
        for position in range(gop.frames):
            pictures += encoder.add(draw(position))
        return pictures + encoder.finish()

    def _plan(self, gop: Gop, quantizer: int) -> Plan | None:
        states = self._subtitles.states(gop.first, gop.frames)
        # In a fade, each frame has a state of its own.
        if self._search or len(states) > known_vectors.MAX_P_SHARE * gop.frames:
            return None
        windows = [self._window(gop.first + n, self._frames) for n in range(gop.frames)]
        numbers = [number for number, state in enumerate(states) for _ in range(state.frames)]
        texts = [[layer.area for layer in self._subtitles.layers(state.number)] for state in states]
        marks = [] if self._watermark is None else [self._watermark.area]
        scenery = Scenery(windows, numbers, texts, marks)
        return known_vectors.plan(scenery, self._size, quantizer, self._trial)

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

"""Video of a picture that does not move: each distinct state is encoded once, and then repeated.

A state is the picture with the subtitles of a time. A few frames after a state has begun, further
frames of it are P pictures in which every macroblock is skipped. They do not depend on what is
visible, and differ only in the counters of their slice headers, which repeat after `PERIOD`
pictures (`cloudburst.renderer.encoder` says why). Therefore the encoder makes `PERIOD` of them
once, from a grey picture, and copies of them fill the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from cloudburst.models.video_format import DEFAULT_FPS, VideoFormat, VideoSize
from cloudburst.renderer.encoder import (
    MAX_GOP_BYTES,
    STILL_GOP_SECONDS,
    EncodedPicture,
    GopEncoder,
    without_settings,
)
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import Gop, Progress, divide
from cloudburst.renderer.planes import GREY, Layer, Planes, uniform
from cloudburst.renderer.quantizers import STILL_TRIAL_QUANTIZER, still_quantizer
from cloudburst.renderer.subtitle_track import SubtitleTrack, VisibleState

# Pictures after which the counters of slice headers repeat: ``frame_num`` has 4 bits, and
# ``pic_order_cnt_lsb`` has 5 bits and advances by two for each picture.
PERIOD = 16
# Frames of a state that are encoded before it is repeated: the first one, and three in which the
# encoder improves what is left of the previous state.
SETTLED_FRAMES = 4

# Bytes at the start of a skipped picture that may differ from another one: the start code, the
# type of the NAL unit, and the slice header.
_COUNTER_BYTES = 9
# Bytes at the end of a skipped picture that may differ: libx264 fills bits of the last byte that
# decoders ignore, depending on the number of the picture.
_FLUSH_BYTES = 1
_MAX_SKIPPED_BYTES = 220
# Maximum size of a picture in which every macroblock is skipped: 220 bytes, and one more for this
# number of pixels. At 1920x1080 it has 68 bytes.
_PIXELS_PER_SKIPPED_BYTE = 10_000


class _SingleState(NamedTuple):
    layers: Sequence[Layer]
    quantizer: int
    pictures: list[bytes]


class RepetitionError(Exception):
    """Error for an encoder whose skipped pictures cannot be repeated."""


class StillVideo:
    """Content of a video without camera motion; a `GopSource`.

    Raises `RepetitionError` if the encoder does not behave as this class needs it.
    """

    def __init__(
        self, picture: Planes, subtitles: SubtitleTrack, *, fps: int = DEFAULT_FPS
    ) -> None:
        size = VideoSize(picture.width, picture.height)
        self.gop_frames = STILL_GOP_SECONDS * fps
        self._format = VideoFormat(size, fps)
        self._skipped = skipped_pictures(self._format)
        self._picture = Frame(*size)
        self._picture.fill(picture)
        self._canvas = Frame(*size)
        self._canvas.fill(picture)
        self._subtitles = subtitles
        self._layers: Sequence[Layer] = ()
        self._single: _SingleState | None = None

    def gops(self, frames: int) -> list[Gop]:
        """Return the GOPs of the video; see `GopSource`."""
        return divide(frames, self.gop_frames)

    def choose_quantizer(self) -> int:
        """Return the quantizer, chosen by the size of the picture's key frame."""
        encoder = GopEncoder(self._format, STILL_TRIAL_QUANTIZER, still=True)
        key, *_ = [*encoder.add_p(self._picture.video), *encoder.finish()]
        return still_quantizer(len(without_settings(key.data)), self._format.size)

    def encode(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
        """Return the pictures of a GOP; see `GopSource`."""
        states = self._subtitles.states(gop.first, gop.frames)
        counts = [encoded_frames(state.frames) for state in states[:-1]]
        counts.append(min(SETTLED_FRAMES, states[-1].frames))
        encoded = iter(self._encoded(states, counts, quantizer))
        pictures: list[bytes] = []
        for state, count in zip(states, counts, strict=True):
            pictures += islice(encoded, count)
            start = len(pictures)
            repeated = range(start, start + state.frames - count)
            pictures += (self._skipped[position % PERIOD] for position in repeated)
            progress(len(pictures))
        return [EncodedPicture(data, position) for position, data in enumerate(pictures)]

    def draw(self, frame: int, *, subtitles: bool = True) -> Frame:
        """Draw a frame; see `GopSource`."""
        self._show(self._subtitles.layers_at(frame) if subtitles else ())
        return self._canvas

    def _encoded(
        self, states: Sequence[VisibleState], counts: Sequence[int], quantizer: int
    ) -> list[bytes]:
        """Return the encoded frames of all states: the first ``count`` frames of each."""
        single = len(states) == 1
        if single and (last := self._single) is not None:
            layers = self._subtitles.layers(states[0].number)
            if last[:2] == (layers, quantizer) and len(last.pictures) == counts[0]:
                return last.pictures  # most GOPs of a video without subtitles are equal
        encoder = GopEncoder(self._format, quantizer, max_bytes=MAX_GOP_BYTES, still=True)
        encoded: list[EncodedPicture] = []
        for state, count in zip(states, counts, strict=True):
            self._show(self._subtitles.layers(state.number))
            for _ in range(count):
                encoded += encoder.add_p(self._canvas.video)
        encoded += encoder.finish()
        pictures = [picture.data for picture in encoded]
        if single:
            self._single = _SingleState(self._layers, quantizer, pictures)
        return pictures

    def _show(self, layers: Sequence[Layer]) -> None:
        for layer in self._layers:
            self._canvas.copy_rectangle(self._picture, layer.x, layer.y, layer.width, layer.height)
        self._layers = layers
        for layer in layers:
            self._canvas.blend(layer)


def encoded_frames(frames: int) -> int:
    """Return how many frames of a state are encoded if another state follows in the same GOP."""
    # The rest is repeated. The counters of the next state's first picture must fit to its
    # position, so the number of repeated frames is a multiple of `PERIOD`.
    if frames <= SETTLED_FRAMES:
        return frames
    return SETTLED_FRAMES + (frames - SETTLED_FRAMES) % PERIOD


def skipped_pictures(video_format: VideoFormat) -> list[bytes]:
    """Return `PERIOD` pictures that repeat the previous picture, by their position modulo `PERIOD`.

    Raises `RepetitionError` if they are not alike.
    """
    size = video_format.size
    frame = Frame(*size)
    frame.fill(uniform(*size, GREY))
    encoder = GopEncoder(video_format, STILL_TRIAL_QUANTIZER, still=True)
    pictures: list[EncodedPicture] = []
    for _ in range(1 + PERIOD):
        pictures += encoder.add_p(frame.video)
    pictures += encoder.finish()
    skipped = {picture.position % PERIOD: picture.data for picture in pictures[1:]}
    contents = {data[_COUNTER_BYTES:-_FLUSH_BYTES] for data in skipped.values()}
    largest = max(map(len, skipped.values()))
    allowed = _MAX_SKIPPED_BYTES + size.width * size.height // _PIXELS_PER_SKIPPED_BYTE
    if len(skipped) != PERIOD or len(contents) != 1 or largest > allowed:
        sizes = [len(picture.data) for picture in pictures]
        msg = f"libx264 makes different pictures of the same frame: {sizes} bytes"
        raise RepetitionError(msg)
    return [skipped[position] for position in range(PERIOD)]

"""H.264 encoder of closed groups of pictures (GOPs), with one set of parameters for every video.

Every GOP has an encoder of its own. It starts with an IDR picture and refers to nothing outside of
it, so GOPs can be encoded in any order and process. Every video of a format has the same parameter
sets (SPS and PPS), also with another quantizer, so any two videos can be joined without encoding
them again.
"""

# PyAV's type of `encode` is incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import av
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from cloudburst.models.video_format import VideoFormat
from cloudburst.renderer.h264_levels import (
    MAX_QUANTIZER,
    BitrateError,
    lowest_level,
    max_second_bytes,
)

# Pictures by which decoding must be ahead of display, because B pictures refer to later ones.
REORDERED_PICTURES = 1
# Seconds between key frames in videos with camera motion. A player can only start there.
MOTION_GOP_SECONDS = 5
# Seconds between key frames in videos without camera motion. Key frames are nearly all of such a
# file, so twice the distance makes half the file.
STILL_GOP_SECONDS = 10

# Size of a GOP from which it is not encoded further, in bytes, because its pictures are kept in
# memory until the last one. Noise in 1080p has 140 MB; only larger videos of noise reach the
# limit.
MAX_GOP_BYTES = 200_000_000

_PRESET = "superfast"
# Options of libx264 for all videos. ``stitchable`` keeps the quantizer out of the parameter sets.
# Without adaptive quantization, macroblock tree and lookahead, the encoder takes 40 % less CPU
# time and 110 MB less memory at about the same quality and size, because movements are slow and
# have no cuts. With at most 5 B pictures and no pyramid, the counters in slice headers repeat
# after 16 pictures, which `cloudburst.renderer.still_video` makes use of. The level depends on
# size and frame rate.
_PARAMETERS = (
    "stitchable=1:aq-mode=0:mbtree=0:rc-lookahead=0:sync-lookahead=0:"
    "b-pyramid=none:b-adapt=0:scenecut=0:weightp=0:direct=spatial:ref=1:min-keyint=1:"
    "keyint=infinite:slices=1:sliced-threads=0:sar=1/1"
)

_MOTION_PARAMETERS = "subme=2:ipratio=1.4:pbratio=2.5"
# Further options with and without motion. Without motion there is nothing to search, and nearly
# all of a file are its key frames, so their quantizer is not much lower than that of other frames.
_STILL_PARAMETERS = "subme=0:ipratio=1.4"

# Type of the NAL unit with the settings of the encoder (H.264, table 7-1).
_SEI = 6
# ``AV_CODEC_FLAG_GLOBAL_HEADER``: parameter sets are stored in the file's header.
_GLOBAL_HEADER = 1 << 22


class EncodedPicture(NamedTuple):
    """Encoded picture of a GOP, in decoding order."""

    data: bytes
    """NAL units, each after a start code."""
    position: int
    """Number of its frame in the GOP, from 0 for the IDR picture."""


class GopEncoder:
    """Encoder of one GOP.

    ``quantizer`` is that of P pictures. With ``still`` or ``only_p`` there are no B pictures. From
    a size of ``max_bytes`` on, `add` raises `BitrateError`.
    """

    def __init__(
        self,
        video_format: VideoFormat,
        quantizer: int,
        *,
        still: bool = False,
        only_p: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        # libx264 keeps as many frames as B pictures may follow each other, 12 MB each in 4K. With
        # 2, the parameter sets are the same. It names the number in the first picture of a video,
        # so that smaller videos have the usual one.
        large = math.prod(video_format.size) > 1920 * 1080
        b_pictures = 2 if (still or only_p) and large else 5
        configure(context, video_format, quantizer, still=still, b_pictures=b_pictures)
        # Frames have a constant rate, for which libx264 keeps one less. The parameter sets do not
        # say so, because those of earlier videos do not.
        context.options |= {"x264-params": f"{context.options['x264-params']}:force-cfr=1"}
        context.flags |= _GLOBAL_HEADER
        self._context = context
        self._format = video_format
        self._time_base = Fraction(1, video_format.fps)
        self._max_bytes = max_bytes if quantizer < MAX_QUANTIZER else None
        self._bytes = 0
        self._frames = 0

    def add(self, frame: VideoFrame) -> list[EncodedPicture]:
        """Encode the next frame; return the pictures that are complete."""
        frame.pict_type = PictureType.NONE
        return self._encode(frame)

    def add_p(self, frame: VideoFrame, position: int | None = None) -> list[EncodedPicture]:
        """Encode the next frame as a P picture, the first one as an IDR picture.

        With a ``position`` in the GOP, frames before it are left out.
        """
        self._frames = self._frames if position is None else position
        frame.pict_type = PictureType.P if self._frames else PictureType.I
        return self._encode(frame)

    def add_idr(self, frame: VideoFrame) -> list[EncodedPicture]:
        """Encode the next frame as an IDR picture; ``idr_pic_id`` is 0 in the first, then 1."""
        frame.pict_type = PictureType.I
        return self._encode(frame)

    def finish(self) -> list[EncodedPicture]:
        """Return the pictures that are still missing."""
        return [_picture(packet) for packet in self._context.encode(None)]

    def _encode(self, frame: VideoFrame) -> list[EncodedPicture]:
        frame.pts, frame.time_base = self._frames, self._time_base
        self._frames += 1
        pictures = [_picture(packet) for packet in self._context.encode(frame)]
        self._bytes += sum(len(picture.data) for picture in pictures)
        if self._max_bytes is not None and self._bytes > self._max_bytes:
            second = self._bytes * self._format.fps // self._frames
            raise BitrateError(second, max_second_bytes(self._format))
        return pictures


def configure(
    context: VideoCodecContext,
    video_format: VideoFormat,
    quantizer: int = 26,
    *,
    still: bool = False,
    b_pictures: int = 5,
) -> None:
    """Set the parameters of all videos of a format on a context of libx264 that is not open."""
    # The parameter sets do not depend on the quantizer, except on 0, which is lossless.
    context.width, context.height = video_format.size
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = Fraction(1, video_format.fps), Fraction(video_format.fps)
    context.sample_aspect_ratio = Fraction(1)
    # 1 is BT.709 for the three of them (H.264, tables E-3 to E-5), and limited range.
    context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1
    context.thread_count = 1
    parameters = (
        f"qp={quantizer}:level={lowest_level(video_format).number}:bframes={b_pictures}"
        f":{_PARAMETERS}"
        f":{_STILL_PARAMETERS if still else _MOTION_PARAMETERS}"
    )
    context.options = {"preset": _PRESET, "forced-idr": "1", "x264-params": parameters}


def without_settings(data: bytes) -> bytes:
    """Return a picture without a first NAL unit that names the encoder's settings.

    libx264 writes it into the first picture of each encoder. A video keeps only its first.
    """
    start = 3 if data.startswith(b"\0\0\1") else 4
    if data[start] & 0x1F != _SEI:
        return data
    end = data.index(b"\0\0\1", start)
    return data[end:] if data[end - 1] else data[end - 1 :]


def _picture(packet: Packet[Stream]) -> EncodedPicture:
    assert packet.pts is not None
    return EncodedPicture(bytes(packet), packet.pts)

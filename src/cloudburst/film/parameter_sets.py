"""H.264 parameter sets (SPS and PPS): the same in all videos that can be joined.

An encoder gives them as NAL units after start codes (ITU-T H.264, annex B), an MP4 file in its
decoder configuration record, with lengths (ISO/IEC 14496-15, 5.3.3.1).
"""

from __future__ import annotations

import re
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext

from cloudburst.models.video_format import FRAME_RATES, MAX_SIDE, VideoFormat, VideoSize
from cloudburst.renderer.encoder import configure

IDR, SPS, PPS = 5, 7, 8
"""Types of NAL units (H.264, table 7-1)."""
_START_CODE = re.compile(b"\0*\0\0\1")
_ANY_QUANTIZER = 26
"""Quantizer of an encoder from which only the parameter sets are taken."""
_GLOBAL_HEADER = 1 << 22
"""``AV_CODEC_FLAG_GLOBAL_HEADER``: parameter sets are stored in ``extradata``."""


def length_prefixed(data: bytes) -> bytes:
    """Return a picture of the encoder in the form of MP4: lengths of 4 bytes, no start codes."""
    units = _START_CODE.split(data)
    return b"".join(len(unit).to_bytes(4) + unit for unit in units if unit)


def is_idr(data: bytes) -> bool:
    """Return whether a picture of an MP4 file, with lengths of 4 bytes, is an IDR picture."""
    position = 0
    while position + 4 < len(data):
        if data[position + 4] & 0x1F == IDR:
            return True
        position += 4 + int.from_bytes(data[position : position + 4])
    return False


def stored_sets(configuration: bytes) -> list[bytes] | None:
    """Return the parameter sets in the decoder configuration record of an MP4 file.

    Return ``None`` for another record, and for one whose pictures have lengths of other than 4
    bytes.
    """
    if len(configuration) < 7 or configuration[0] != 1 or configuration[4] & 3 != 3:
        return None
    units: list[bytes] = []
    position = 5
    for mask in (0x1F, 0xFF):
        count, position = configuration[position : position + 1], position + 1
        for _ in range(count[0] & mask if count else 0):
            size = int.from_bytes(configuration[position : position + 2])
            units.append(configuration[position + 2 : position + 2 + size])
            position += 2 + size
    return units


def our_sets(size: VideoSize, fps: Fraction) -> list[bytes] | None:
    """Return the parameter sets of this package's videos of a size and frame rate.

    Return ``None`` if this package makes no videos of this kind.
    """
    if fps not in FRAME_RATES or any(side % 2 or side > MAX_SIDE for side in size):
        return None
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    configure(context, VideoFormat(size, int(fps)), _ANY_QUANTIZER)
    context.flags |= _GLOBAL_HEADER
    context.open()
    units = _START_CODE.split(context.extradata or b"")
    return [unit for unit in units if unit and unit[0] & 0x1F in (SPS, PPS)]

"""Levels of H.264: the sizes, frame rates and bit rates that decoders must support."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from cloudburst.models.video_format import VideoFormat

# Width and height of a macroblock, in pixels.
_MACROBLOCK = 16
# A side of a picture has at most the square root of this number times `Level.frame_macroblocks`,
# in macroblocks (H.264, section A.3.1).
_SIDE_FACTOR = 8
# Bits per second for each unit of the table's MaxBR in the High profile (``cpbBrVclFactor``, table
#
_HIGH_PROFILE_BITS = 1250

# Quantizer at which a video may have any size. Even noise stays far below the limit with it.
MAX_QUANTIZER = 48
# Steps of the quantizer that halve the size of a video, roughly (H.264, section 8.5).
_QUANTIZERS_PER_HALF = 6


class Level(NamedTuple):
    """Level of H.264 with its limits, in macroblocks of 16x16 pixels."""

    number: int
    """Ten times the number, as in the parameter sets: 40 is level 4."""
    macroblocks_per_second: int
    frame_macroblocks: int
    max_bit_rate: int
    """Maximum bit rate of the table, in units of `_HIGH_PROFILE_BITS`."""

    @property
    def max_second_bytes(self) -> int:
        """Maximum size of a second in the High profile."""
        return self.max_bit_rate * _HIGH_PROFILE_BITS // 8

    def allows(self, video_format: VideoFormat) -> bool:
        """Return whether the level allows the size and the frame rate of a video."""
        width, height = (-(-side // _MACROBLOCK) for side in video_format.size)
        return (
            width * height * video_format.fps <= self.macroblocks_per_second
            and width * height <= self.frame_macroblocks
            and max(width, height) ** 2 <= _SIDE_FACTOR * self.frame_macroblocks
        )


# Levels of a video (H.264, table A-1). Levels below 2 are left out, because they allow less than 1
# Mbit/s, and level 4.1, which differs from 4 only in its bit rate.
LEVELS = (
    Level(20, 11_880, 396, 2_000),
    Level(21, 19_800, 792, 4_000),
    Level(22, 20_250, 1_620, 4_000),
    Level(30, 40_500, 1_620, 10_000),
    Level(31, 108_000, 3_600, 14_000),
    Level(32, 216_000, 5_120, 20_000),
    Level(40, 245_760, 8_192, 20_000),
    Level(42, 522_240, 8_704, 50_000),
    Level(50, 589_824, 22_080, 135_000),
    Level(51, 983_040, 36_864, 240_000),
    Level(52, 2_073_600, 36_864, 240_000),
    Level(60, 4_177_920, 139_264, 240_000),
)


def lowest_level(video_format: VideoFormat) -> Level:
    """Return the lowest level for the size and the frame rate of a video, or raise `ValueError`."""
    for level in LEVELS:
        if level.allows(video_format):
            return level
    msg = f"{video_format}: expected a size and a frame rate that level 6 of H.264 allows"
    raise ValueError(msg)


class BitrateError(Exception):
    """Error for a part of a video that exceeds the maximum bitrate."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes in a second; at most {limit}")
        self.size = size
        """Size of one second of the video, in bytes."""
        self.limit = limit
        """Maximum of that size, in bytes."""


class BitrateMeter:
    """Sum of the sizes of the last pictures of a video, compared with the limit."""

    # The limit keeps a constant quantizer from making huge files: 25 Mbit in a second for
    # 1920x1080 at 30 frames per second. With camera motion, photographs take about 1 Mbit, pages
    # of text 10 (benchmarks/README.md); only noise comes close to it.

    def __init__(self, video_format: VideoFormat, quantizer: int) -> None:
        self._limit = max_second_bytes(video_format) if quantizer < MAX_QUANTIZER else None
        self._frames_per_second = video_format.fps
        self._sizes: deque[int] = deque(maxlen=video_format.fps)
        self._sum = 0

    def add(self, sizes: Iterable[int]) -> None:
        """Add the sizes of the following pictures, in bytes.

        Raises `BitrateError` with the size of the largest second among them, so that the next
        quantizer is high enough.
        """
        largest = 0
        for size in sizes:
            if len(self._sizes) == self._frames_per_second:
                self._sum -= self._sizes[0]
            self._sizes.append(size)
            self._sum += size
            largest = max(largest, self._sum)
        if self._limit is not None and largest > self._limit:
            raise BitrateError(largest, self._limit)


def max_second_bytes(video_format: VideoFormat) -> int:
    """Return the maximum size of any second of a video of this format, in bytes."""
    return lowest_level(video_format).max_second_bytes


def higher_quantizer(quantizer: int, error: BitrateError) -> int:
    """Return a higher quantizer, with which the second of an error is probably small enough."""
    steps = math.ceil(_QUANTIZERS_PER_HALF * math.log2(error.size / error.limit))
    return min(quantizer + max(1, steps), MAX_QUANTIZER)

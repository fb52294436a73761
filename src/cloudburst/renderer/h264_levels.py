"""Levels of H.264: which sizes, frame rates and bit rates a decoder must support."""

from __future__ import annotations

from typing import NamedTuple

from cloudburst.models.video_format import VideoFormat

_MACROBLOCK = 16
"""Width and height of a macroblock, in pixels."""
_SIDE_FACTOR = 8
"""A side of a picture has at most the square root of this number times `Level.frame_macroblocks`,
in macroblocks (H.264, section A.3.1)."""
_HIGH_PROFILE_BITS = 1250
"""Bits per second for each unit of the table's MaxBR in the High profile (``cpbBrVclFactor``,
table A-2)."""


class Level(NamedTuple):
    """Level of H.264 with its limits, in macroblocks of 16x16 pixels."""

    number: int
    """Ten times the number of the level, as in the parameter sets: 40 is level 4."""
    macroblocks_per_second: int
    frame_macroblocks: int
    max_bit_rate: int
    """Maximum bit rate of the table, in units of `_HIGH_PROFILE_BITS`."""

    @property
    def max_second_bytes(self) -> int:
        """Maximum size of any second of a video of the High profile, in bytes."""
        return self.max_bit_rate * _HIGH_PROFILE_BITS // 8

    def allows(self, video_format: VideoFormat) -> bool:
        """Return whether the level allows the size and the frame rate of a video."""
        width, height = (-(-side // _MACROBLOCK) for side in video_format.size)
        return (
            width * height * video_format.fps <= self.macroblocks_per_second
            and width * height <= self.frame_macroblocks
            and max(width, height) ** 2 <= _SIDE_FACTOR * self.frame_macroblocks
        )


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
"""Levels of a video (H.264, table A-1). Levels below 2 are left out, because they allow less than 1
Mbit/s, and level 4.1, which differs from 4 only in its bit rate."""


def lowest_level(video_format: VideoFormat) -> Level:
    """Return the lowest level that allows the size and the frame rate of a video.

    Raises:
        ValueError: No level does.
    """
    for level in LEVELS:
        if level.allows(video_format):
            return level
    msg = f"{video_format}: expected a size and a frame rate that level 6 of H.264 allows"
    raise ValueError(msg)

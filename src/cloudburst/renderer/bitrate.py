"""Limit of a video's bitrate, which keeps a constant quantizer from making huge files.

No second of a video is larger than its level of H.264 allows. For 1920x1080 at 30 frames per second
these are 25 Mbit. With camera motion, photographs then take about 1 Mbit in a second, pages of text
10 (``docs/benchmarks.md``); only noise comes close to the limit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from cloudburst.models.video_format import VideoFormat
from cloudburst.renderer.h264_levels import lowest_level

MAX_QUANTIZER = 48
"""Quantizer at which a video may have any size. Even noise stays far below the limit with it."""
_QUANTIZERS_PER_HALF = 6
"""Steps of the quantizer that halve the size of a video, roughly (H.264, section 8.5)."""


class BitrateError(Exception):
    """Error for a part of a video that exceeds the maximum bitrate at the present quantizer."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes in a second; at most {limit}")
        self.size = size
        """Size of one second of the video, in bytes."""
        self.limit = limit
        """Maximum of that size, in bytes."""


class BitrateMeter:
    """Sum of the sizes of the last pictures of a video, which it compares with the limit."""

    def __init__(self, video_format: VideoFormat, quantizer: int) -> None:
        self._limit = max_second_bytes(video_format) if quantizer < MAX_QUANTIZER else None
        self._frames_per_second = video_format.fps
        self._sizes: deque[int] = deque(maxlen=video_format.fps)
        self._sum = 0

    def add(self, sizes: Iterable[int]) -> None:
        """Add the sizes of the following pictures, in bytes.

        Raises:
            BitrateError: A second of the video exceeds the limit. The error has the size of the
                largest second among these pictures, so that the next quantizer is high enough.
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
    """Return the quantizer with which the second of an error probably stays within its limit.

    It is higher than the present ``quantizer``, and at most `MAX_QUANTIZER`.
    """
    steps = math.ceil(_QUANTIZERS_PER_HALF * math.log2(error.size / error.limit))
    return min(quantizer + max(1, steps), MAX_QUANTIZER)

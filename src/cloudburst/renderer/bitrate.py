"""Limit of a video's bitrate, which keeps a constant quantizer from making huge files."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from cloudburst.renderer.encoder import FPS, EncodedPicture

MAX_SECOND_BYTES = 25_000_000 // 8
"""Maximum size of any second of a video, in bytes: 25 Mbit, the maximum rate of level 4.0 and the
High profile (H.264, table A-1 and section A.3.3). With camera motion, photographs take about 1
Mbit in a second, pages of text 10 (``docs/benchmarks.md``); only noise comes close to the limit."""
MAX_QUANTIZER = 48
"""Quantizer at which a video may have any size. Even noise stays far below the limit with it."""
_QUANTIZERS_PER_HALF = 6
"""Steps of the quantizer that halve the size of a video, roughly (H.264, section 8.5)."""


class BitrateError(Exception):
    """Error for a part of a video that exceeds the maximum bitrate at the present quantizer."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes in a second; at most {MAX_SECOND_BYTES}")
        self.size = size
        """Size of one second of the video, in bytes."""


class BitrateMeter:
    """Sum of the sizes of the last pictures of a video, which it compares with the limit."""

    def __init__(self, quantizer: int) -> None:
        self._limited = quantizer < MAX_QUANTIZER
        self._sizes: deque[int] = deque(maxlen=FPS)
        self._sum = 0

    def add(self, pictures: Iterable[EncodedPicture]) -> None:
        """Add the following pictures.

        Raises:
            BitrateError: A second of the video exceeds the limit. The error has the size of the
                largest second among these pictures, so that the next quantizer is high enough.
        """
        largest = 0
        for picture in pictures:
            if len(self._sizes) == FPS:
                self._sum -= self._sizes[0]
            self._sizes.append(len(picture.data))
            self._sum += len(picture.data)
            largest = max(largest, self._sum)
        if self._limited and largest > MAX_SECOND_BYTES:
            raise BitrateError(largest)


def higher_quantizer(quantizer: int, size: int) -> int:
    """Return the quantizer with which a second of ``size`` bytes probably stays within the limit.

    It is higher than the present ``quantizer``, and at most `MAX_QUANTIZER`.
    """
    steps = math.ceil(_QUANTIZERS_PER_HALF * math.log2(size / MAX_SECOND_BYTES))
    return min(quantizer + max(1, steps), MAX_QUANTIZER)

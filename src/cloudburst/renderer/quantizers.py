"""Choice of the quantizer (QP) of P pictures, one for each video."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cloudburst.renderer.encoder import B_PICTURES, EncodedPicture

STILL_QUANTIZER = 21
"""Quantizer of videos without camera motion. Measured on five kinds of pictures with
``benchmarks/render.py``: VMAF is at least that of libx264's ``crf=21`` with the preset
``superfast``, and files are about as large."""

MIN_MOTION_QUANTIZER = 18
"""Quantizer of videos with camera motion over simple pictures, and of the trial."""
MAX_MOTION_QUANTIZER = 24
"""Highest quantizer that the trial chooses."""
TRIAL_FRAMES = 1 + 2 * (B_PICTURES + 1)
"""Frames that are encoded to choose a quantizer, of which two are P pictures."""

_SIMPLE_KEY_BYTES = 150_000
"""Size of the key frame of a simple picture, up to which the lowest quantizer is used; from twice
the size on, the quantizer is one higher."""
_SOFT_SHARE = 0.04
"""Size of a P picture relative to the key frame, up to which a picture counts as soft."""
_STEPS_PER_DOUBLING = 1.6
"""Steps of the quantizer for each doubling of that share."""


def motion_quantizer(trial: Sequence[EncodedPicture]) -> int:
    """Return the quantizer of a video with camera motion, chosen by the sizes of a trial.

    Hard edges, as in text and drawings, take many bits in every P picture, because no prediction
    at fractions of a pixel is exact; they also hide coding errors, so their quantizer is higher.
    Errors in simple pictures are easily seen, so their quantizer is lower. The constants were
    measured on nine pictures with `MIN_MOTION_QUANTIZER` (photographs, a painting, line art, text,
    a dark gradient, noise): compared with libx264's ``crf=21`` and preset ``superfast``, VMAF is
    not lower, and the file is at most 1.15 times as large.
    """
    key = len(trial[0].data)
    last = max(picture.position for picture in trial)
    sizes = [
        len(picture.data)
        for picture in trial[1:]
        if picture.position % (B_PICTURES + 1) == 0 or picture.position == last
    ]
    share = sum(sizes) / max(1, len(sizes)) / key
    detail = min(1.0, max(0.0, math.log2(key / _SIMPLE_KEY_BYTES)))
    hardness = _STEPS_PER_DOUBLING * math.log2(max(1.0, share / _SOFT_SHARE))
    return min(MIN_MOTION_QUANTIZER + round(detail + hardness), MAX_MOTION_QUANTIZER)

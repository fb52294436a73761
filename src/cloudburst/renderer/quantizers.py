"""Choice of the quantizer (QP) of P pictures, one for each video."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cloudburst.renderer.encoder import B_PICTURES, EncodedPicture

STILL_QUANTIZER = 21
"""Quantizer of videos without camera motion. Measured on five kinds of pictures with
``benchmarks/render.py``: VMAF is at least that of libx264's ``crf=21`` with the preset
``superfast``, and files are about as large."""

MIN_MOTION_QUANTIZER = 20
MAX_MOTION_QUANTIZER = 26
"""Limits of the quantizer of videos with camera motion."""
TRIAL_FRAMES = 1 + 2 * (B_PICTURES + 1)
"""Frames that are encoded to choose a quantizer, of which two are P pictures."""

_SMOOTH_SHARE = 0.007
"""Size of a P picture, relative to the key frame, for a soft photograph."""
_STEPS_PER_DOUBLING = 0.7
"""Steps of the quantizer for each doubling of that share."""


def motion_quantizer(trial: Sequence[EncodedPicture]) -> int:
    """Return the quantizer of a video with camera motion.

    It is chosen by the first pictures of a trial with `MIN_MOTION_QUANTIZER`. Hard edges, as in
    text and drawings, take many bits in every P picture, because no prediction at fractions of a
    pixel is exact; they also hide coding errors. The constants make size and VMAF like those of
    libx264's ``crf=21`` with the preset ``superfast``, measured on a soft and a detailed
    photograph and on a page of text.
    """
    key = len(trial[0].data)
    last = max(picture.position for picture in trial)
    sizes = [
        len(picture.data)
        for picture in trial[1:]
        if picture.position % (B_PICTURES + 1) == 0 or picture.position == last
    ]
    share = sum(sizes) / max(1, len(sizes)) / key
    steps = round(_STEPS_PER_DOUBLING * math.log2(max(share, _SMOOTH_SHARE) / _SMOOTH_SHARE))
    return min(MIN_MOTION_QUANTIZER + steps, MAX_MOTION_QUANTIZER)

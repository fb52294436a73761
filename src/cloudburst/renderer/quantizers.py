"""Choice of the quantizer (QP) of P pictures, one for each video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cloudburst.models.video_format import VideoSize
from cloudburst.renderer.encoder import EncodedPicture

# Quantizer of the trial for videos without camera motion.
STILL_TRIAL_QUANTIZER = 21
# Lowest and highest quantizer that this trial leads to.
MIN_STILL_QUANTIZER, MAX_STILL_QUANTIZER = 12, 24
# Quantizer of most photographs.
_USUAL_STILL_QUANTIZER = 20
# Sizes of the trial's key frame between which the usual quantizer is kept, in bytes per pixel.
_SMOOTH_KEY, _DETAILED_KEY = 150_000 / (1920 * 1080), 300_000 / (1920 * 1080)
# Steps of the quantizer for each halving of the smaller size, and for each doubling of the larger
# one.
_SMOOTH_STEPS, _DETAILED_STEPS = 1.5, 6.0

# Quantizer of the trial for videos with camera motion.
TRIAL_QUANTIZER = 17
# Highest quantizer that a trial leads to.
MAX_MOTION_QUANTIZER = 24
# Frames from one picture of the trial to the next one, and the number of its pictures.
TRIAL_DISTANCE, TRIAL_PICTURES = 6, 3
# Length of the scene whose camera movement the trial has, in frames: 10 s at 30 frames per second.
# Frames of a short scene, or of one with fewer frames per second, differ more from each other,
# which must not change their quality.
TRIAL_SCENE_FRAMES = 300

# Size of the trial's key frame, in bytes per pixel, for which `TRIAL_QUANTIZER` is kept.
_KEY_BYTES_PER_PIXEL = 130_000 / (1920 * 1080)
# Steps of the quantizer for each doubling of the key frame, within `_DETAIL_RANGE`.
_DETAIL_STEPS = 1.25
_DETAIL_RANGE = (-3.0, 3.0)
# Size of a P picture relative to the key frame, up to which a picture counts as soft.
_SOFT_SHARE = 0.15
# Steps of the quantizer for each doubling of that share.
_HARD_STEPS = 3.0


def still_quantizer(key: int, size: VideoSize) -> int:
    """Return the quantizer of a video without camera motion, by a key frame of a trial."""
    # Smooth pictures get a low quantizer, which costs few bytes: VMAF of a dark gradient rises by
    # 0.9 for 24 kB. Text, drawings and noise get a high one: 24 in place of 21 makes their key
    # frames 12 to 14 % smaller, and VMAF stays above that of libx264's ``crf=21`` with the preset
    # ``superfast``. The constants were fitted to five kinds of pictures and five photographs
    # (``benchmarks/README.md``).
    share = key / (size.width * size.height)
    smooth = _SMOOTH_STEPS * math.log2(min(1.0, share / _SMOOTH_KEY))
    detailed = _DETAILED_STEPS * math.log2(max(1.0, share / _DETAILED_KEY))
    chosen = _USUAL_STILL_QUANTIZER + round(smooth + detailed)
    return min(MAX_STILL_QUANTIZER, max(MIN_STILL_QUANTIZER, chosen))


class Trial(NamedTuple):
    """What the trial of a video with camera motion says."""

    quantizer: int
    """Quantizer of the video."""
    share: float
    """Size of a P picture relative to the key frame, which grows with hard edges."""


def motion_trial(pictures: Sequence[EncodedPicture], size: VideoSize) -> Trial:
    """Choose by an IDR picture and P pictures at a distance of `TRIAL_DISTANCE`."""
    # Detailed pictures get a higher quantizer, as with libx264's ``crf``, because they hide coding
    # errors. So do hard edges, as in text and drawings, which take many bits in every P picture,
    # because no prediction at fractions of a pixel is exact. The constants were fitted to ten
    # pictures (photographs, a painting, line art, text, a dark gradient, noise), so that size and
    # VMAF are about those of ``crf=21`` with the preset ``superfast`` (``benchmarks/README.md``).
    key, *others = (len(picture.data) for picture in pictures)
    share = sum(others) / len(others) / key
    key_bytes = _KEY_BYTES_PER_PIXEL * size.width * size.height
    low, high = _DETAIL_RANGE
    detail = min(high, max(low, _DETAIL_STEPS * math.log2(key / key_bytes)))
    hardness = _HARD_STEPS * math.log2(max(1.0, share / _SOFT_SHARE))
    quantizer = min(TRIAL_QUANTIZER + round(detail + hardness), MAX_MOTION_QUANTIZER)
    return Trial(quantizer, share)

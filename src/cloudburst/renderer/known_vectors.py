"""Groups of pictures whose movement is known: most of their pictures hold vectors and nothing else.

libx264 encodes an IDR picture and P pictures. Between them are B pictures that the kernel writes,
without residual: every macroblock has the vectors that follow from the camera. They are neither
drawn nor given to libx264. The parameter sets are those of every other video, and ``frame_num``,
which does not count B pictures, is as libx264 wrote it; only ``pic_order_cnt_lsb`` of the P
pictures is changed, to the place of the picture in the group.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from av.video.frame import VideoFrame

from cloudburst.models.video_format import VideoSize
from cloudburst.renderer.encoder import EncodedPicture, GopEncoder
from cloudburst.renderer.kernel.interface import (
    BLOCK_SIZE,
    EARLIER,
    FIXED,
    LATER,
    BPicture,
    Motion,
    Rectangle,
)
from cloudburst.renderer.kernel.library import load_kernel
from cloudburst.renderer.motion import Window
from cloudburst.renderer.quantizers import Trial

# Pictures from a P picture to the next one, at most. ``pic_order_cnt_lsb`` has 5 bits, and a
# picture is found from it if it is at most 16 after the last reference picture (H.264, 8.2.1.1).
MAX_DISTANCE = 16
# Samples by which a picture moves from a frame to the next one, at which it counts as slow. Then
# the mean of two pictures is as good as what libx264 finds, at any distance.
_SLOW = 0.06
# How far any part moves from a P picture to the next one, at most: in samples, and for videos with
# text or a watermark, below which the picture stands still in between, as a share of their smaller
# side.
_MAX_SHIFT, _MAX_STILL_SHIFT = 62.0, 2.6 / 1080
# Distance at which libx264 puts them. If they are nearer, the video has the same quality with a
# higher quantizer.
_USUAL_DISTANCE = 6
# Share of P pictures above which libx264 encodes all pictures, at less cost.
MAX_P_SHARE = 1 / 3

# Quantizer of the trial up to which a picture is smooth, and sizes of its P pictures relative to
# the key frame up to which it is soft, and from which it has many hard edges.
_SMOOTH_QUANTIZER = 14
_SOFT_SHARE, _HARD_SHARE = 0.1, 0.3

# Samples beside a macroblock that its prediction reads.
_PREDICTION_REACH = 3
_START_CODE = b"\0\0\0\1"
# Type of a NAL unit with a slice, and the bits after it in a P picture: first_mb_in_slice 0,
# slice_type 5, pic_parameter_set_id 0.
_P_SLICE, _P_PICTURE = 1, 0b1_00110_1


class Scenery(NamedTuple):
    """What frames in a row show: windows of a picture, and areas that stay in place."""

    windows: Sequence[Window]
    states: Sequence[int]
    """Number of the state of the text in each frame."""
    texts: Sequence[Sequence[Rectangle]]
    """Areas of the text of each state."""
    marks: Sequence[Rectangle]
    """Areas that are the same in all frames."""


def motion(window: Window, other: Window) -> Motion:
    """Return the movement of the samples from one window of a picture to another."""
    left, top = (window.left - other.left) * other.zoom, (window.top - other.top) * other.zoom
    return Motion(left, top, other.zoom / window.zoom - 1)


def shift(window: Window, other: Window, size: VideoSize) -> float:
    """Return the largest movement of a sample from one window to another."""
    return max(map(abs, motion(window, other).shifts(size)))


class Spacing(NamedTuple):
    """Distance of P pictures, and by how much their quantizer is lower for it; negative: higher."""

    distance: int
    lower: int
    # Whether B pictures take the nearest reference alone, not the mean of both.
    nearest: bool = False


def choose_spacing(trial: Trial) -> Spacing:
    """Return the spacing for a picture that is neither slow nor has text over it."""
    # Hard edges lose detail between P pictures, but rarer ones leave many bytes to make them
    # better. The numbers were chosen with eight kinds of pictures in zooms of 10, 30 and 300 s.
    if trial.quantizer <= _SMOOTH_QUANTIZER:
        # Most bytes would be those of vectors: half as many with one reference, and more at a
        # larger distance.
        return Spacing(8, 0, nearest=True)
    if trial.share < _SOFT_SHARE:
        return Spacing(12, 0)
    return Spacing(12, 3) if trial.share < _HARD_SHARE else Spacing(8, 2)


class Plan(NamedTuple):
    """How a group of pictures is encoded."""

    scenery: Scenery
    quantizer: int
    references: list[int]
    """Positions of the IDR picture and the P pictures, the last picture among them."""
    nearest: bool = False  # as in `Spacing`


def plan(scenery: Scenery, size: VideoSize, quantizer: int, trial: Trial) -> Plan | None:
    """Plan a group by the quantizer of the video; ``None`` if libx264 encodes it at less cost."""
    windows, states = scenery.windows, scenery.states
    speed = max((shift(*pair, size) for pair in pairwise(windows)), default=0.0)
    distance, lower, nearest = choose_spacing(trial)
    if quantizer > trial.quantizer:
        lower = 0  # the video would exceed its bitrate
    if speed <= _SLOW:
        distance, lower = MAX_DISTANCE, 0
    else:
        still = scenery.marks or any(scenery.texts)
        allowed = int((_MAX_STILL_SHIFT * min(size) if still else _MAX_SHIFT) / speed)
        if allowed < distance:
            distance, lower = allowed, 0 if allowed >= _USUAL_DISTANCE else -1
    references, last = [0], len(windows) - 1
    while (end := references[-1]) < last:
        state, furthest = states[end], min(last, end + max(1, distance))
        while end < furthest and states[end] == state:
            end += 1
        references.append(end)
    few = len(references) <= MAX_P_SHARE * len(windows)
    return Plan(scenery, quantizer - lower, references, nearest) if few else None


def encode(
    planned: Plan, size: VideoSize, encoder: GopEncoder, draw: Callable[[int], VideoFrame]
) -> list[EncodedPicture]:
    """Return the pictures of a group in decoding order; only its references are drawn."""
    scenery = planned.scenery
    encoded: list[EncodedPicture] = []
    for position in planned.references:
        encoded += encoder.add_p(draw(position), position)
    first, *others = (*encoded, *encoder.finish())
    # Players are used to order counts that go by two, which 5 bits allow up to a distance of 8.
    spans = list(pairwise(planned.references))
    longest = max((after - before for before, after in spans), default=1)
    order = 2 if longest <= MAX_DISTANCE // 2 else 1
    pictures = [first]
    for number, (picture, (before, after)) in enumerate(zip(others, spans, strict=True), 2):
        pictures.append(picture._replace(data=with_order(picture.data, order * after)))
        still = still_blocks(scenery, before, after, size)
        for position in range(before + 1, after):
            window = scenery.windows[position]
            later, earlier = (motion(window, scenery.windows[n]) for n in (after, before))
            weight = round(64 * (after - position) / (after - before))
            if planned.nearest:
                weight = 64 if weight >= 32 else 0
            counters = number % 16, order * position % 32
            described = BPicture(size, *counters, weight, (later, earlier), still)
            unit = load_kernel().write_b_picture(described)
            pictures.append(EncodedPicture(_START_CODE + unit, position))
    return pictures


def still_blocks(scenery: Scenery, before: int, after: int, size: VideoSize) -> bytes:
    """Return `BPicture.still` for the pictures between two references."""
    # They show the text of the earlier picture. A macroblock that moves does not take letters from
    # beside it.
    old, new = scenery.states[before], scenery.states[after]
    columns, rows = (-(-side // BLOCK_SIZE) for side in size)
    blocks = bytearray([EARLIER | LATER]) * (columns * rows)
    moved = shift(scenery.windows[before], scenery.windows[after], size)
    margin = math.ceil(moved) + _PREDICTION_REACH

    def mark(areas: Iterable[Rectangle], taken: int, added: int) -> None:
        for area in areas:
            left, right = _blocks(area.x, area.width, margin, columns)
            top, bottom = _blocks(area.y, area.height, margin, rows)
            for start in range(top * columns, bottom * columns, columns):
                for block in range(start + left, start + right):
                    blocks[block] = blocks[block] & taken | added

    mark(scenery.marks, EARLIER | LATER, FIXED)
    mark(scenery.texts[old], FIXED | EARLIER | (LATER if old == new else 0), FIXED)
    if old != new:
        mark(scenery.texts[new], FIXED | EARLIER, 0)
    return bytes(blocks.replace(bytes([EARLIER | LATER]), b"\0"))


def _blocks(start: int, length: int, margin: int, count: int) -> tuple[int, int]:
    first, end = (start - margin) // BLOCK_SIZE, -((-start - length - margin) // BLOCK_SIZE)
    return max(0, first), min(count, end)


def with_order(data: bytes, order: int) -> bytes:
    """Return a P picture of libx264 with another ``pic_order_cnt_lsb``.

    Raises `ValueError` for a picture that begins otherwise than those of libx264 with our options.
    """
    # The number ends with the third byte of the NAL unit: 8 bits of its head, 7 bits as in
    # `_P_PICTURE`, 4 of ``frame_num``, and 5.
    start = data.index(b"\0\0\1") + 3
    unit = data[start:].replace(b"\0\0\3", b"\0\0")
    if unit[0] & 0x1F != _P_SLICE or unit[1] >> 1 != _P_PICTURE or b"\0\0\1" in data[start:]:
        msg = f"libx264 made a picture that begins with {data[:8].hex()}; expected a P picture"
        raise ValueError(msg)
    changed = bytes([*unit[:2], unit[2] & 0xE0 | order % 32]) + unit[3:]
    return data[:start] + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", changed)

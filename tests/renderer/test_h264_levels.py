"""The level of a video: the lowest that allows its size and its frame rate."""

from __future__ import annotations

from itertools import product

import pytest

from cloudburst.models.video_format import FRAME_RATES, MAX_SIDE, MIN_SIDE, VideoFormat, VideoSize
from cloudburst.renderer.h264_levels import LEVELS, lowest_level
from support.drawn_frames import header
from support.h264 import annex_b, read_sps

EXPECTED = [
    (240, 240, 50, 20),
    (240, 240, 60, 21),
    (320, 240, 25, 20),
    (320, 240, 60, 21),  # 18,000 macroblocks per second
    (426, 240, 50, 22),  # 20,250 of them, exactly the limit
    (426, 240, 60, 30),
    (640, 360, 30, 30),
    (640, 360, 50, 31),
    (1280, 720, 30, 31),  # 108,000 macroblocks per second, exactly the limit
    (1280, 720, 50, 32),
    (1280, 720, 60, 32),
    (1080, 1080, 30, 32),
    (1080, 1350, 30, 40),
    (1920, 1080, 24, 40),
    (1920, 1080, 30, 40),
    (1080, 1920, 30, 40),
    (1920, 1080, 50, 42),
    (1920, 1080, 60, 42),
    (2560, 1440, 30, 50),
    (3840, 2160, 30, 51),
    (3840, 2160, 60, 52),
    (4096, 2160, 60, 52),  # 2,073,600 macroblocks per second, exactly the limit
    (4096, 4096, 24, 60),
    (4096, 4096, 60, 60),
    (4096, 240, 24, 40),  # 256 macroblocks wide, as wide as the level allows
]


@pytest.mark.parametrize(("width", "height", "fps", "level"), EXPECTED)
def test_the_lowest_level_is_in_the_parameter_sets(
    width: int, height: int, fps: int, level: int
) -> None:
    size = VideoSize(width, height)
    assert lowest_level(VideoFormat(size, fps)).number == level
    parameters = header(size, fps=fps)
    sps = read_sps(annex_b(parameters)[0])
    assert (sps.level_idc, sps.size, sps.profile_idc) == (level, size, 100)
    assert (sps.log2_max_frame_num, sps.log2_max_pic_order_cnt_lsb) == (4, 5)
    assert header(size, 48, still=True, fps=fps) == parameters


def test_every_format_has_a_level() -> None:
    sides = (MIN_SIDE, 1080, MAX_SIDE)
    for width, height, fps in product(sides, sides, FRAME_RATES):
        assert lowest_level(VideoFormat(VideoSize(width, height), fps)) in LEVELS
    with pytest.raises(ValueError, match=r"level 6 of H\.264"):
        lowest_level(VideoFormat(VideoSize(8192, 8192), 60))


def test_higher_levels_allow_more() -> None:
    for limits in zip(*LEVELS, strict=True):
        assert list(limits) == sorted(limits)

"""Choice of the quantizer of videos with and without camera motion."""

from __future__ import annotations

import pytest
from PIL import Image

from cloudburst.models.video_format import Effect, VideoSize
from cloudburst.renderer.encoder import EncodedPicture
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.planes import to_planes
from cloudburst.renderer.quantizers import (
    MAX_MOTION_QUANTIZER,
    MAX_STILL_QUANTIZER,
    MIN_STILL_QUANTIZER,
    TRIAL_QUANTIZER,
    motion_trial,
    still_quantizer,
)
from cloudburst.renderer.still_video import StillVideo
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.drawn_frames import block_track, dark_gradient, line_art, noise

SIZE = VideoSize(1920, 1080)


def trial(key: int, later: int) -> list[EncodedPicture]:
    """Pictures of a trial with these sizes of the key frame and of P pictures, in bytes."""
    return [EncodedPicture(bytes(size), place) for place, size in enumerate((key, later, later))]


@pytest.mark.parametrize(
    ("key", "later", "steps"),
    [
        (130_000, 0, 0),
        (1_000, 0, -3),
        (80_000, 0, -1),
        (260_000, 0, 1),
        (10_000_000, 0, 3),
        (130_000, 19_500, 0),
        (130_000, 39_000, 3),
        (260_000, 78_000, 4),
        (1_000_000, 1_000_000, MAX_MOTION_QUANTIZER - TRIAL_QUANTIZER),
    ],
)
def test_detail_and_hard_edges_raise_the_quantizer(key: int, later: int, steps: int) -> None:
    assert motion_trial(trial(key, later), SIZE) == (TRIAL_QUANTIZER + steps, later / key)


@pytest.mark.parametrize(
    ("key", "chosen"),
    [
        (1, MIN_STILL_QUANTIZER),
        (5_000, 13),
        (35_000, 17),
        (95_000, 19),
        (150_000, 20),
        (300_000, 20),
        (340_000, 21),
        (480_000, 24),
        (9_000_000, MAX_STILL_QUANTIZER),
    ],
)
def test_smooth_still_pictures_get_a_low_quantizer(key: int, chosen: int) -> None:
    assert still_quantizer(key, SIZE) == chosen
    assert still_quantizer(key * 4, VideoSize(2 * SIZE[0], 2 * SIZE[1])) == chosen


def test_still_pictures_have_a_trial() -> None:
    chosen = [
        StillVideo(to_planes(picture(SIZE).convert("RGB")), SubtitleTrack()).choose_quantizer()
        for picture in (dark_gradient, line_art, noise)
    ]
    assert chosen == [MIN_STILL_QUANTIZER, 20, MAX_STILL_QUANTIZER]


def chosen(picture: Image.Image, frames: int, track: SubtitleTrack) -> int:
    planes = to_planes(picture.convert("RGB"))
    camera = Camera(Effect.ZOOM_IN, picture.size)
    return MotionVideo(planes, frames, camera, None, track).choose_quantizer()


def test_a_dark_gradient_gets_a_low_quantizer_and_line_art_a_high_one() -> None:
    assert chosen(dark_gradient(SIZE), 300, SubtitleTrack()) <= TRIAL_QUANTIZER
    assert chosen(line_art(SIZE), 300, SubtitleTrack()) >= TRIAL_QUANTIZER + 5


def test_the_quantizer_does_not_depend_on_length_or_subtitles() -> None:
    """Short scenes move faster, and their pictures are larger, as are those with subtitles."""
    size = VideoSize(480, 272)
    track, _ = block_track([4, 3, 4, 289], size)
    short = [(frames, SubtitleTrack()) for frames in (1, 13, 60)]
    others = [*short, (300, track), (9000, SubtitleTrack())]
    picture = dark_gradient(size)
    expected = chosen(picture, 300, SubtitleTrack())
    assert [chosen(picture, *other) for other in others] == [expected] * len(others)

"""The limit of the bitrate: any second of a video, also across GOPs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models.video_format import VideoFormat, VideoSize
from cloudburst.renderer import motion_video, process_limits, still_video
from cloudburst.renderer.encoder import GopEncoder
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.h264_levels import (
    MAX_QUANTIZER,
    BitrateError,
    BitrateMeter,
    higher_quantizer,
    max_second_bytes,
)
from cloudburst.renderer.job import RenderJob
from cloudburst.renderer.planes import to_planes
from cloudburst.renderer.render import render
from cloudburst.renderer.still_video import StillVideo
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.drawn_frames import encode_all, noise
from support.render_job import lay_job

QUANTIZER = 20
FORMAT = VideoFormat(VideoSize(1920, 1080))
FPS = FORMAT.fps
MAX_SECOND_BYTES = max_second_bytes(FORMAT)


def too_large(size: int) -> BitrateError:
    return BitrateError(size, MAX_SECOND_BYTES)


def largest_second(sizes: list[int]) -> int:
    return max(sum(sizes[start : start + FPS]) for start in range(len(sizes)))


def test_a_second_may_have_exactly_the_limit():
    meter = BitrateMeter(FORMAT, QUANTIZER)
    meter.add([MAX_SECOND_BYTES, *[0] * (FPS - 1)])
    meter.add([MAX_SECOND_BYTES])
    with pytest.raises(BitrateError) as caught:
        meter.add([*[0] * (FPS - 2), 1, 0])
    assert caught.value.size == MAX_SECOND_BYTES + 1
    assert str(MAX_SECOND_BYTES) in str(caught.value)


@given(
    st.lists(
        st.lists(st.integers(0, MAX_SECOND_BYTES // 15), min_size=1, max_size=70),
        min_size=1,
        max_size=4,
    )
)
def test_the_meter_finds_any_second_that_is_too_large(parts):
    meter = BitrateMeter(FORMAT, QUANTIZER)
    largest = largest_second([size for part in parts for size in part])

    def add_all() -> None:
        for part in parts:
            meter.add(part)

    if largest <= MAX_SECOND_BYTES:
        add_all()
        return
    with pytest.raises(BitrateError) as caught:
        add_all()
    assert MAX_SECOND_BYTES < caught.value.size <= largest


def test_the_error_has_the_size_of_the_largest_second():
    """With the size at which the limit was passed, a video of noise would be encoded ten times."""
    meter = BitrateMeter(FORMAT, QUANTIZER)
    with pytest.raises(BitrateError) as caught:
        meter.add([*[MAX_SECOND_BYTES // 10] * 50, *[MAX_SECOND_BYTES // 5] * 30, 0, 0])
    assert caught.value.size == MAX_SECOND_BYTES // 5 * 30
    assert higher_quantizer(QUANTIZER, caught.value) >= QUANTIZER + 15


def test_the_highest_quantizer_has_no_limit():
    meter = BitrateMeter(FORMAT, MAX_QUANTIZER)
    meter.add([MAX_SECOND_BYTES, MAX_SECOND_BYTES])


@given(st.integers(0, MAX_QUANTIZER - 1), st.integers(MAX_SECOND_BYTES + 1, 10**9))
def test_the_quantizer_rises_until_the_limit_is_lifted(quantizer, size):
    found = higher_quantizer(quantizer, too_large(size))
    assert quantizer < found <= MAX_QUANTIZER
    assert found >= higher_quantizer(quantizer, too_large(MAX_SECOND_BYTES + 1))


@pytest.mark.parametrize(("factor", "expected"), [(1.001, 21), (1.5, 24), (2, 26), (4, 32)])
def test_six_steps_halve_the_size(factor, expected):
    assert higher_quantizer(20, too_large(int(MAX_SECOND_BYTES * factor))) == expected


def test_six_steps_halve_the_size_of_real_noise_at_least():
    """Otherwise a video would be encoded many times until it is within the limit."""
    size = VideoSize(272, 144)
    source = StillVideo(to_planes(noise(size)), SubtitleTrack())
    sizes = [
        sum(len(picture.data) for picture in encode_all(source, 30, quantizer)[0])
        for quantizer in (20, 26, 32)
    ]
    assert sizes[1] / sizes[0] < 0.8
    assert sizes[2] / sizes[1] < 0.8


@pytest.mark.parametrize("quantizer", [20, MAX_QUANTIZER])
def test_a_gop_that_takes_too_much_memory_is_not_encoded_to_its_end(quantizer):
    """With the highest quantizer there is no other way than to encode it."""
    size = VideoSize(272, 144)
    frame = Frame(*size)
    encoder = GopEncoder(VideoFormat(size), quantizer, max_bytes=100_000)

    def encode() -> None:
        for seed in range(40):
            frame.fill(to_planes(noise(size, seed)))
            encoder.add(frame.video)
        encoder.finish()

    if quantizer == MAX_QUANTIZER:
        encode()
        return
    with pytest.raises(BitrateError) as caught:
        encode()
    assert caught.value.size > 100_000
    assert caught.value.limit == max_second_bytes(VideoFormat(size))


def test_a_video_whose_gops_take_too_much_memory_gets_a_higher_quantizer(tmp_path, monkeypatch):
    for module in (motion_video, still_video):
        monkeypatch.setattr(module, "MAX_GOP_BYTES", 300_000)
    folder = lay_job(
        tmp_path, picture=noise((480, 272)), effects=["zoom_in"], seconds=3, size="480x272"
    )
    monkeypatch.setattr(process_limits, "limit_cpu_time", lambda _seconds: None)
    job = RenderJob.from_json((folder / "job.json").read_bytes())
    video = render(folder, job, lambda _: None, lambda _: None, lambda _: None)
    assert video.warnings == ("image: encoded with less detail, to stay below 5 Mbit/s",)
    assert video.size < 600_000

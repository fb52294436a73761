"""Fades from and to black: which frames are how dark, and what they cost."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import pytest
from PIL import Image, ImageStat

from cloudburst.models.video_format import Effect, VideoFormat, VideoSize
from cloudburst.renderer.encoder import STILL_GOP_SECONDS, EncodedPicture
from cloudburst.renderer.fades import FadedStillVideo, FadedTrack, Fades, plan_fades
from cloudburst.renderer.gops import Gop, GopSource
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.planes import to_planes
from cloudburst.renderer.still_video import StillVideo, skipped_pictures
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.drawn_frames import (
    SMALL,
    block_track,
    dark_gradient,
    decoded_luma,
    encode_all,
    line_art,
    photo,
    psnr,
    strict_decode_stream,
)
from support.render_job import lay_job, rendered_here
from support.video_probe import lumas

BRIGHT = Image.new("RGB", (320, 180), (250, 240, 210))
SRT = "1\n00:00:00,000 --> 00:00:09,000\nfirst 字\n"


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0)]


def darkened(luma: Image.Image, light: float) -> Image.Image:
    return luma.point([round(16 + (value - 16) * light) for value in range(256)])


@pytest.mark.few(2, spread=True)
@pytest.mark.real
@pytest.mark.parametrize("effects", [[], ["zoom_in"]], ids=["still", "moving"])
@pytest.mark.parametrize(
    ("fades", "start", "end"),
    [
        ({"fade_in": "0.5"}, 15, 0),
        ({"fade_out": 0.3}, 0, 9),
        ({"fade_in": 0.3, "fade_out": 0.2}, 9, 6),
        ({"fade_in": 10, "fade_out": 5}, 20, 10),
    ],
    ids=["in", "out", "both", "longer than the video"],
)
def test_everything_in_the_picture_fades_and_the_sound_does_not(
    tmp_path, effects, fades, start, end
):
    pictures = {"picture": photo((480, 270)), "mark": BRIGHT, "subtitle": SRT, "size": "480x270"}
    folders = tmp_path / "plain", tmp_path / "faded"
    for folder, options in zip(folders, ({}, fades), strict=True):
        folder.mkdir()
        rendered_here(lay_job(folder, **pictures, effects=effects, seconds=1, **options))
    plain, faded = (folder / "video.mp4" for folder in folders)
    assert sound(plain) == sound(faded)
    shown = zip(lumas(plain), lumas(faded), strict=True)
    for number, (expected, found) in enumerate(shown):
        light = min(
            [1, *([number / start] if start else []), *([(29 - number) / end] if end else [])]
        )
        if light == 0:
            assert found.getextrema()[1] <= 18, "not even the subtitles are visible"
        assert psnr(found, darkened(expected, light)) > 36, f"frame {number}"


@pytest.mark.parametrize(
    ("seconds", "frames", "expected"),
    [
        ((0.5, 0.0), 300, (15, 0)),
        ((0.0, 1.0), 300, (0, 30)),
        ((2.0, 1.0), 90, (60, 30)),
        ((2.0, 1.0), 45, (30, 15)),
        ((10.0, 0.0), 7, (7, 0)),
        ((0.0, 10.0), 7, (0, 7)),
        ((10.0, 10.0), 1, (0, 1)),
        ((0.01, 0.0), 7, (0, 0)),
    ],
)
def test_lengths_of_fades(seconds, frames, expected):
    assert plan_fades(*seconds, frames, 30) == Fades(*expected, frames)


@pytest.mark.parametrize(
    "fades", [Fades(5, 0, 30), Fades(0, 7, 30), Fades(4, 3, 30), Fades(20, 10, 30), Fades(1, 1, 2)]
)
def test_light_changes_in_even_steps(fades):
    black = [fades.opacity(frame) for frame in range(fades.frames)]
    steps = [before - after for before, after in pairwise(black)]
    assert black[0] == (255 if fades.start else 0)
    assert black[-1] == (255 if fades.end else 0)
    assert black[fades.start : fades.frames - fades.end] == [0] * (
        fades.frames - fades.start - fades.end
    )
    for step in steps[: max(0, fades.start - 1)]:
        assert step == pytest.approx(255 / fades.start, abs=1)
    for step in steps[fades.frames - fades.end :]:
        assert step == pytest.approx(-255 / fades.end, abs=1)


def subtitles(frames: int) -> SubtitleTrack:
    return block_track([frames // 3, 2, frames - frames // 3 - 2], SMALL)[0]


def test_states_cover_any_part_of_the_video():
    faded = FadedTrack(subtitles(300), Fades(20, 31, 300), SMALL)
    whole = [state for state in faded.states(0, 300) for _ in range(state.frames)]
    assert len(whole) == 300
    for first, frames in ((0, 1), (5, 90), (19, 2), (100, 200), (268, 1), (269, 31), (299, 1)):
        part = [state for state in faded.states(first, frames) for _ in range(state.frames)]
        assert [s.number for s in part] == [s.number for s in whole[first : first + frames]]
    longest = max(faded.states(0, 300), key=lambda state: state.frames)
    assert longest.frames == 300 - 31 - 102, "frames without a fade are not divided"


def still(frames: int, fades: Fades) -> FadedStillVideo:
    return FadedStillVideo(to_planes(photo(SMALL)), frames, subtitles(frames), fades)


def moving(frames: int, fades: Fades) -> MotionVideo:
    track = FadedTrack(subtitles(frames), fades, SMALL)
    return MotionVideo(to_planes(photo(SMALL)), frames, Camera(Effect.PAN_UP, SMALL), None, track)


def encode(source: GopSource, gop: Gop) -> list[EncodedPicture]:
    return source.encode(gop, 20, lambda _frames: None)


@pytest.mark.parametrize("make", [still, moving])
def test_the_bytes_of_a_gop_do_not_depend_on_the_gops_before(make, tmp_path):
    frames = 400
    fades = Fades(160, 40, frames)
    gops = make(frames, fades).gops(frames)
    alone = {gop: encode(make(frames, fades), gop) for gop in gops}
    for order in (reversed(gops), gops[1:] + gops[:1]):
        source = make(frames, fades)
        assert {gop: encode(source, gop) for gop in order} == alone
    strict_decode_stream(alone.values(), SMALL, tmp_path / "faded.h264")
    found = list(decoded_luma(alone.values(), SMALL))
    assert len(found) == frames
    for black in (found[0], found[-1]):
        assert ImageStat.Stat(black).mean[0] == pytest.approx(16, abs=0.2)
        assert black.getextrema()[1] < 28, "the encoder leaves single pixels"


@pytest.mark.parametrize(
    ("fades", "lengths"),
    [
        (Fades(10, 5, 700), [10, 300, 300, 85, 5]),
        (Fades(0, 160, 700), [300, 240, 150, 10]),
        (Fades(300, 0, 700), [150, 150, 300, 100]),
        (Fades(400, 300, 700), [150, 150, 100, 150, 150]),
    ],
)
def test_fades_of_a_still_picture_are_gops_of_their_own(fades, lengths):
    gops = still(700, fades).gops(700)
    assert [gop.frames for gop in gops] == lengths
    assert [gop.number for gop in gops] == list(range(len(gops)))
    assert [gop.first for gop in gops] == [sum(lengths[:number]) for number in range(len(gops))]


def test_only_the_frames_of_a_fade_are_encoded():
    """The rest of a video of a still picture is repeated."""
    fades = Fades(10, 5, 600)
    source = FadedStillVideo(to_planes(photo(SMALL)), 600, SubtitleTrack(), fades)
    skipped = set(skipped_pictures(VideoFormat(SMALL)))
    encoded = [sum(p.data not in skipped for p in gop) for gop in encode_all(source, 600)]
    assert encoded == [10, 4, 4, 5]


def test_a_fade_of_text_stays_within_the_limit_of_the_bitrate():
    """Without B pictures, a second of it would take 27 Mbit."""
    size = VideoSize(1920, 1080)
    source = FadedStillVideo(to_planes(line_art(size)), 30, SubtitleTrack(), Fades(0, 30, 30))
    (gop,) = encode_all(source, 30, source.choose_quantizer())
    assert sum(len(picture.data) for picture in gop) < 1_200_000


def test_the_picture_is_whole_between_fades():
    """Also if a fade is encoded before."""
    frames = 2 * STILL_GOP_SECONDS * 30
    source = still(frames, Fades(30, 30, frames))
    plain = StillVideo(to_planes(photo(SMALL)), subtitles(frames))
    first, whole, *_, last = source.gops(frames)
    for faded in (last, first):
        encode(source, faded)
    assert encode(source, whole) == encode(plain, whole)


@pytest.mark.parametrize("frames", [20, 300, 4000])
def test_the_quantizer_does_not_depend_on_fades(frames):
    size = VideoSize(480, 272)
    planes, camera = to_planes(dark_gradient(size)), Camera(Effect.ZOOM_IN, size)
    chosen = {
        MotionVideo(planes, frames, camera, None, track).choose_quantizer()
        for track in (
            SubtitleTrack(),
            FadedTrack(SubtitleTrack(), Fades(frames // 2, frames // 2, frames), size),
        )
    }
    assert len(chosen) == 1


def test_single_frames_are_drawn_with_their_fades() -> None:
    track, _ = block_track([10, 50], SMALL)
    video = FadedStillVideo(to_planes(photo(SMALL)), 60, track, Fades(10, 20, 60))
    still = StillVideo(to_planes(photo(SMALL)), block_track([10, 50], SMALL)[0])
    assert set(bytes(video.draw(0).video.planes[0])) == {16}
    assert set(bytes(video.draw(59).video.planes[0])) == {16}
    for frame in (9, 10, 25, 39):
        expected = bytes(still.draw(frame).video.planes[0])
        assert (bytes(video.draw(frame).video.planes[0]) == expected) is (frame >= 10)

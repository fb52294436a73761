"""Renders of every size and frame rate: constant rate, exact lengths, and joinable videos."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageStat

from cloudburst.renderer.audio_track import samples_per_frame
from support.drawn_frames import photo, strict_decode
from support.render_job import lay_job, rendered, rendered_here, subtitle_file
from support.video_probe import ffmpeg, frame, lumas, probe

pytestmark = pytest.mark.real

SECONDS = 0.717
"""Length of the audio; no multiple of a frame."""


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("effects", [[], ["zoom_in"]], ids=["still", "moving"])
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"size": "720p", "fps": 24}, (1280, 720)),
        ({"size": "720p", "fps": 25, "is_portrait": True}, (720, 1280)),
        ({"size": "square", "fps": 50}, (1080, 1080)),
        ({"size": "4:5", "fps": 60}, (1080, 1350)),
        ({"size": "240x240", "fps": 60}, (240, 240)),
        ({"size": "4096x240"}, (4096, 240)),
        ({"size": "portrait"}, (1080, 1920)),
    ],
    ids=str,
)
def test_size_frame_rate_and_length(
    tmp_path: Path, options: dict[str, Any], size: tuple[int, int], effects: list[str]
) -> None:
    cues = subtitle_file((0.1, 0.4, "字 text"))
    folder = lay_job(tmp_path, subtitle=cues, seconds=SECONDS, effects=effects, **options)
    done, path = rendered_here(folder), folder / "video.mp4"
    fps = options.get("fps", 30)
    frames = math.ceil(SECONDS * fps)
    assert (done["width"], done["height"], done["frames"]) == (*size, frames)
    assert done["seconds"] == pytest.approx(frames / fps)
    strict_decode(path)
    found = probe(path)
    found.check(size=size, seconds=SECONDS, within=1 / fps, fps=fps)
    assert found.frames == frames
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.base_rate == video.average_rate == fps
        assert video.start_time == audio.start_time == 0
        assert video.duration * video.time_base == pytest.approx(frames / fps, abs=1e-5)
        assert audio.duration * audio.time_base == pytest.approx(frames / fps, abs=1e-5)
        times = sorted(p.pts * p.time_base for p in container.demux(video=0) if p.size)
    assert times == [number / fps for number in range(frames)] or times == pytest.approx(
        [number / fps for number in range(frames)], abs=1e-6
    )


@pytest.mark.parametrize("fps", [24, 60])
def test_subtitles_are_shown_in_exact_frames(tmp_path: Path, fps: int) -> None:
    black = Image.new("RGB", (320, 180))
    cues = subtitle_file((0.21, 0.52, "字字字"))
    folder = lay_job(
        tmp_path, picture=black, subtitle=cues, seconds=0.7, size="480x270", fps=fps, effects=[]
    )
    rendered_here(folder)
    bright = [ImageStat.Stat(luma).extrema[0][1] > 150 for luma in lumas(folder / "video.mp4")]
    shown = [number for number, is_bright in enumerate(bright) if is_bright]
    assert shown == list(range(math.ceil(0.21 * fps), math.ceil(0.52 * fps)))


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_a_frame_has_a_whole_number_of_samples(fps: int) -> None:
    assert samples_per_frame(fps) * fps == 48_000


@pytest.mark.few(1)
@pytest.mark.parametrize(("fps", "seconds"), [(24, 5), (60, 5)])
def test_key_frames_keep_their_distance_in_seconds(
    tmp_path: Path, fps: int, seconds: float
) -> None:
    for effects, distance in ((["zoom_in"], 5), ([], 10)):
        folder = tmp_path / str(distance)
        folder.mkdir()
        length = distance + 0.1
        rendered_here(lay_job(folder, duration=length, effects=effects, size="240x240", fps=fps))
        with av.open(str(folder / "video.mp4")) as container:
            keys = [p.pts * p.time_base for p in container.demux(video=0) if p.is_keyframe]
        assert keys == [0, distance]


@pytest.mark.nightly
@pytest.mark.parametrize("options", [{"size": "square", "fps": 60}, {"size": "480x270", "fps": 24}])
def test_still_and_moving_videos_of_a_format_can_be_joined(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    names, parameters = [], set()
    for effects in ([], ["pan_left"]):
        folder = tmp_path / f"{len(effects)}"
        folder.mkdir()
        rendered_here(lay_job(folder, picture=photo((640, 360)), effects=effects, **options))
        names.append(folder / "video.mp4")
        with av.open(str(names[-1])) as container:
            parameters.add(bytes(container.streams.video[0].codec_context.extradata))
    assert len(parameters) == 1
    (tmp_path / "list").write_text("".join(f"file '{name}'\n" for name in names))
    joined = tmp_path / "joined.mp4"
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "list", "-c", "copy", joined)
    assert probe(joined).frames == 2 * options["fps"] // 2
    strict_decode(joined)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("size", "mark"),
    [("720p", (6, 6, 166, 86)), ("square", (10, 10, 145, 77)), ("1440x2560", (14, 14, 194, 104))],
)
@pytest.mark.parametrize("effects", [[], ["zoom_in"]], ids=["still", "moving"])
def test_the_watermark_follows_the_size(
    tmp_path: Path, size: str, mark: tuple[int, int, int, int], effects: list[str]
) -> None:
    """It is an eighth of the width; its margin is 10 pixels if the shorter side has 1080."""
    picture, white = Image.new("RGB", (320, 180)), Image.new("RGB", (80, 40), "white")
    folder = lay_job(
        tmp_path, picture=picture, mark=white, seconds=0.03, size=size, effects=effects
    )
    rendered_here(folder)
    (luma,) = lumas(folder / "video.mp4")
    assert luma.point(lambda value: 255 * (value > 128)).getbbox() == pytest.approx(mark, abs=1)


def test_fit_backdrop_and_focus_reach_the_video(tmp_path: Path) -> None:
    """A picture with a bright left half, in a video half as wide."""
    picture = Image.new("RGB", (640, 320))
    picture.paste((255, 255, 255), (0, 0, 320, 320))
    means = []
    for name, options in {
        "cover": {},
        "left": {"focus": "0 0.5"},
        "right": {"focus": "1 0.5"},
        "contain": {"fit": "contain", "backdrop": "#ff0000"},
        "blur": {"fit": "contain"},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        rendered_here(
            lay_job(folder, picture=picture, seconds=0.03, size="320x320", effects=[], **options)
        )
        shown = frame(folder / "video.mp4")
        means.append([round(mean) for mean in ImageStat.Stat(shown.crop((8, 8, 152, 60))).mean])
        if name in {"contain", "blur"}:
            assert shown.getpixel((80, 160)) == pytest.approx((255, 255, 255), abs=4)
            assert shown.getpixel((240, 160)) == pytest.approx((0, 0, 0), abs=4)
    cover, left, right, contain, blur = means
    assert cover == left == pytest.approx([255] * 3, abs=3)
    assert right == pytest.approx([0] * 3, abs=3)
    assert contain == pytest.approx([255, 0, 0], abs=4)
    assert blur == pytest.approx([166] * 3, abs=12)


@pytest.mark.nightly
def test_the_largest_video_fits_into_the_memory_of_a_render(tmp_path: Path) -> None:
    """Camera motion, a watermark and a large picture, with the limits of the process."""
    mark = Image.new("RGB", (80, 40), "white")
    folder = lay_job(
        tmp_path,
        picture=Image.new("RGB", (9000, 9000), (90, 120, 200)),
        mark=mark,
        seconds=0.03,
        size="4096x4096",
        fps=60,
        effects=["zoom_in"],
    )
    done = rendered(folder)
    assert (done["width"], done["height"], done["frames"]) == (4096, 4096, 2)
    strict_decode(folder / "video.mp4")

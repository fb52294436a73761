"""Videos with any two values of different render options: each one is right, and can be joined.

The size and the frame rate are one parameter, because only videos of the same ones can be joined.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import COVER_FILE, FONT, MUSIC, VIDEO_FILE, RenderedVideo
from support.drawn_frames import photo, see_through, strict_decode
from support.font_files import latin_font
from support.h264 import parameter_sets, read_sps
from support.joined_videos import joined
from support.pairwise import Case, Parameter, covering_cases, pairs_of, possible_pairs
from support.render_job import lay_job, render_here, render_job, subtitle_file
from support.service_inputs import RATE, tone
from support.substation import ass, dialogue

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

FORMATS: Mapping[str, dict[str, Any]] = {
    "320x240": {"size": "320x240", "fps": "24"},
    "480x270": {"size": "480x270", "fps": "25"},
    "240x426": {"size": "240x426", "fps": "30"},
    "240x240": {"size": "240x240", "fps": "50"},
    "246x318": {"size": "246x318", "fps": "60"},  # no multiple of a macroblock
    "720x1280": {"size": "720p", "fps": "25", "is_portrait": "true"},
}
"""Options of the size and the frame rate, by the size in pixels."""
PANS = ("pan_left", "pan_right", "pan_up", "pan_down")
MOVES = ("zoom_in", "zoom_out", *PANS)
TIMED = ("vtt", "ass", "lrc")
"""Forms of subtitles with the times of words."""
MOVING = {"effects": MOVES}
SHOWN = {"subtitle": ("srt", *TIMED)}
BOXED = SHOWN | {"background_box": ("true",)}
PLAYED = {"music": ("short", "long")}
MARKED = {"watermark": ("opaque", "transparent")}

PARAMETERS = {
    "format": Parameter(tuple(FORMATS)),
    "effects": Parameter(("none", *MOVES)),
    "subtitle": Parameter(("none", "srt", *TIMED)),
    "sound": Parameter(("audio", "duration")),
    "seconds": Parameter(("0.5", "0.717", "1.3")),
    "picture": Parameter(("wide", "upright", "long", "transparent")),
    "fit": Parameter(("cover", "contain")),
    "backdrop": Parameter(("blur", "#204060"), {"fit": ("contain",)}),
    "focus": Parameter(("0.5 0.5", "0 1"), {"fit": ("cover",)}),
    "motion_amount": Parameter(("0.01", "0.5"), MOVING),
    "motion_easing": Parameter(("linear", "ease_in", "ease_out", "ease_in_out"), MOVING),
    "motion_search": Parameter(("true", "false"), MOVING),
    "panorama": Parameter(("true", "false"), {"effects": PANS}),
    "fade_in": Parameter(("0", "0.2", "10")),
    "fade_out": Parameter(("0", "0.2", "10")),
    "caption": Parameter(("default", "classic", "karaoke", "pop"), SHOWN),
    "bold": Parameter(("default", "true"), SHOWN),
    "uppercase": Parameter(("true", "false"), SHOWN),
    "language": Parameter(("chinese", "english"), SHOWN),
    "font": Parameter(("default", "Noto Sans CJK JP", "file"), SHOWN),
    "font_size": Parameter(("default", "8", "60"), SHOWN),
    "colors": Parameter(("default", "own"), SHOWN),
    "outline_width": Parameter(("default", "0", "0.2"), SHOWN),
    "shadow": Parameter(("0", "0.2"), SHOWN),
    "shadow_blur": Parameter(("0", "0.5"), SHOWN),
    "background_box": Parameter(("true", "false"), SHOWN),
    "background_opacity": Parameter(("0", "0.2", "1"), BOXED),
    "box_padding": Parameter(("0 0", "2 2"), BOXED),
    "box_radius": Parameter(("0", "1"), SHOWN),
    "subtitle_position": Parameter(("bottom", "top-left", "right", "center"), SHOWN),
    "subtitle_margin": Parameter(("default", "0 0", "0.4 0.4"), SHOWN),
    "subtitle_width": Parameter(("default", "0.3", "1"), SHOWN),
    "subtitle_lines": Parameter(("0", "1", "2"), SHOWN),
    "words_at_once": Parameter(("0", "1", "3"), SHOWN),
    "animation": Parameter(("none", "pop"), SHOWN),
    "highlight": Parameter(("none", "color", "box", "grow"), {"subtitle": TIMED}),
    "music": Parameter(("none", "short", "long")),
    "music_loop": Parameter(("true", "false"), PLAYED),
    "music_volume": Parameter(("0.2", "1"), PLAYED),
    "music_fade": Parameter(("0", "2", "60"), PLAYED),
    "music_ducking": Parameter(("0", "40"), PLAYED),
    "loudness": Parameter(("default", "-16", "-40")),
    "watermark": Parameter(("none", "opaque", "transparent")),
    "watermark_position": Parameter(("top-left", "center", "bottom-right", "right"), MARKED),
    "watermark_width": Parameter(("0.02", "0.125", "1"), MARKED),
    "watermark_margin": Parameter(("0", "10", "500"), MARKED),
    "watermark_opacity": Parameter(("0", "0.5", "1"), MARKED),
    "texts": Parameter(("none", "own")),
    "cover": Parameter(("true", "false")),
}
NOT_OPTIONS = {"format", "subtitle", "sound", "seconds", "picture", "colors", "texts"}
"""Parameters that are not options, or stand for several options."""
FILES = {"music", "watermark"}
COLORS = {
    "text_color": "#ff8000c0",
    "outline_color": "#103050",
    "shadow_color": "#00ff0040",
    "box_color": "#20406080",
    "highlight_color": "#ff00ffa0",
}
TEXTS = {"title": "春天 – a title", "metadata": {"artist": "Me", "language": "zho"}}
PICTURES = {
    "wide": (480, 270),
    "upright": (270, 480),
    "long": (960, 160),
    "transparent": (320, 180),
}
MUSIC_SECONDS = {"short": 0.6, "long": 2.0}


@cache
def cases() -> list[Case]:
    return covering_cases(PARAMETERS)


def test_any_two_values_occur_together() -> None:
    possible = possible_pairs(PARAMETERS)
    assert set().union(*map(pairs_of, cases())) == possible
    assert frozenset({("highlight", "box"), ("subtitle", "ass")}) in possible
    assert frozenset({("highlight", "box"), ("subtitle", "srt")}) not in possible
    assert all(
        parameter.applies(case) == (name in case)
        for case in cases()
        for name, parameter in PARAMETERS.items()
    )
    assert len(cases()) <= 59, "an option more may need some cases more: raise the number by these"
    counts = Counter(case["format"] for case in cases())
    assert counts.keys() == set(FORMATS)
    assert min(counts.values()) >= 2


def test_every_option_occurs() -> None:
    names = {name for case in cases() for name in options_of(case)}
    assert names | FILES == RenderOptions.model_fields.keys(), "add the option to PARAMETERS"


def subtitles(form: str, end: float) -> str | None:
    """Return a file whose second cue lasts longer than the video."""
    third = end / 3
    match form:
        case "srt":
            return subtitle_file(
                (0, third, "第一行字幕，<i>first</i>"), (third, 99, "second\n两行")
            )
        case "vtt":
            return (
                f"WEBVTT\n\n00:00.000 --> 00:0{third:.3f}\n第一 <00:00.100>first\n\n"
                f"00:0{third:.3f} --> 01:00.000 line:10%\nsecond <00:00.400>two\n"
            )
        case "ass":
            return ass(
                dialogue("{\\k10}第一{\\k10} first", "0:00:00.00", f"0:00:0{third:.2f}"),
                dialogue("{\\an9\\k10}second{\\k10} \\N两行", f"0:00:0{third:.2f}", "0:01:00.00"),
            )
        case "lrc":
            return f"[00:00.00]<00:00.00>第一<00:00.10>first\n[00:0{third:.2f}]second"
        case _:
            return None


def options_of(case: Case) -> dict[str, Any]:
    """Return the render options of a case, as text like in CSV."""
    chosen: dict[str, Any] = {
        name: value
        for name, value in case.items()
        if name not in NOT_OPTIONS | FILES and value not in {"default", "file"}
    }
    chosen |= FORMATS[case["format"]]
    chosen["effects"] = case["effects"].replace("none", "")
    if case.get("colors") == "own":
        chosen |= COLORS
    if case["texts"] == "own":
        chosen |= TEXTS
    return chosen


def laid(case: Case, folder: Path) -> Path:
    """Write the files of a case into a new folder."""
    folder.mkdir()
    seconds = float(case["seconds"])
    text = subtitles(case["subtitle"], seconds)
    options = options_of(case)
    if case.get("font") == "file":
        options["font"] = folder / FONT
        (folder / FONT).write_bytes(latin_font())
        text = text and text.translate(dict.fromkeys(map(ord, "第一行字幕两，"), "😀"))
    make = see_through if case["picture"] == "transparent" else photo
    marks = {"opaque": photo((80, 50)), "transparent": see_through((50, 80))}
    lay_job(
        folder,
        picture=make(PICTURES[case["picture"]]),
        subtitle=text,
        mark=marks.get(case["watermark"]),
        seconds=seconds,
        duration=seconds if case["sound"] == "duration" else None,
        **options,
    )
    if case["music"] != "none":
        tone(folder / MUSIC, MUSIC_SECONDS[case["music"]])
    return folder


def check(folder: Path, case: Case, done: RenderedVideo) -> bytes:
    """Check the file of a case, and return its parameter sets."""
    size, fps = tuple(map(int, case["format"].split("x"))), int(FORMATS[case["format"]]["fps"])
    seconds = Fraction(case["seconds"])
    if case["sound"] == "audio":  # the last frame is complete
        assert done.frames == math.ceil(Fraction(round(seconds * RATE), RATE) * fps)
    else:
        assert done.frames == round(seconds * fps)
    strict_decode(folder / VIDEO_FILE)
    with av.open(str(folder / VIDEO_FILE)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height) == size
        assert (video.frames, video.average_rate) == (done.frames, fps)
        assert (video.start_time, audio.start_time) == (0, 0)
        assert video.duration * video.time_base == Fraction(done.frames, fps)
        assert abs(audio.duration * audio.time_base - seconds) <= Fraction(1, fps)
        times = sorted(p.pts * p.time_base for p in container.demux(video) if p.size)
        assert times == [Fraction(number, fps) for number in range(done.frames)]
        wanted = ("春天 – a title", "Me", "zho") if case["texts"] == "own" else (None, None, "und")
        texts = container.metadata
        assert (texts.get("title"), texts.get("artist"), audio.metadata["language"]) == wanted
        configuration = bytes(video.codec_context.extradata)
    assert read_sps(parameter_sets(configuration)[0]).size == size
    assert (done.cover is not None) == (folder / COVER_FILE).exists() == (case["cover"] == "true")
    if done.cover is not None:
        with Image.open(folder / COVER_FILE) as cover:
            assert (cover.format, cover.size) == ("JPEG", size)
            cover.load()
    check_warnings(done.warnings, case)
    return configuration


def check_warnings(warnings: Sequence[str], case: Case) -> None:
    """Assert that the warnings are those of the font, of the form of subtitles, and of loudness."""
    expected = []
    if case.get("font") == "file":
        expected.append("subtitle: left out, because no font has a glyph: ")
    if case["subtitle"] == "ass":
        expected.append("subtitle: ignored style font, style outline")
    if case["subtitle"] == "srt" and case["caption"] in {"karaoke", "pop"}:
        expected.append(
            "subtitle: ignored highlight (also part of caption), because no word has a time"
        )
    *rest, last = warnings or [""]
    sound = [last] if case["loudness"] != "default" and " LU" in last else []
    texts = rest if sound else warnings
    assert len(texts) == len(expected), warnings
    assert all(map(str.startswith, texts, expected)), warnings


@pytest.mark.few(1)
@pytest.mark.parametrize("video_format", FORMATS)
def test_videos_with_any_two_options(video_format: str, tmp_path: Path) -> None:
    videos: list[Path] = []
    hashes: list[str] = []
    configurations: set[bytes] = set()
    frames = 0
    for number, case in enumerate(case for case in cases() if case["format"] == video_format):
        folder = laid(case, tmp_path / f"{number}")
        done = render_here(folder)
        configurations.add(check(folder, case, done))
        videos.append(folder / VIDEO_FILE)
        hashes.append(done.sha256)
        frames += done.frames
    assert len(configurations) == 1
    assert joined(videos, tmp_path / "all.mp4") == []
    strict_decode(tmp_path / "all.mp4", outputs=("-map", "0:v"))
    with av.open(str(tmp_path / "all.mp4")) as container:
        assert container.streams.video[0].frames == frames
    # A process of its own, as in a run, makes the same video.
    assert render_job(videos[-1].parent).done["sha256"] == hashes[-1]
    assert len(set(hashes)) == len(hashes)

"""Subtitles that the workers cannot draw are refused before anything is started."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst import Client, Limits, RenderOptions, render_frame
from cloudburst.errors import InvalidScenesError
from cloudburst.inputs.preflight import check_scenes
from cloudburst.testing import FakeCloud
from support.scripts import FONTS, SENTENCES

pytestmark = pytest.mark.anyio

ARABIC, GREEK, CHINESE, EMOJI = "مرحبا", "Είναι", "你好", "Hi 😀"
HINDI = SENTENCES["hindi"]


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture
def make(make_scene, tmp_path):
    def make(name, text, **more):
        file = tmp_path / f"{name}.srt"
        file.write_text(f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n", "utf-8")
        return make_scene(name, seconds=0.2) | {"subtitle_path": str(file)} | more

    return make


def faults(*scenes, **options):
    checked = check_scenes(scenes, RenderOptions(**options), Limits())
    return [next(iter(scene.undrawable), None) for scene in checked]


def test_a_fault_names_scene_field_text_file_and_what_would_be_right(make):
    (fault,) = faults(make("a", ARABIC))
    assert (fault.scene, fault.field) == ("a", "subtitle_path")
    start = "Arabic characters that no font has: مر"
    assert fault.found.startswith(start)
    assert fault.found.endswith("a.srt")
    assert fault.expected == (
        "Noto Sans Arabic (Debian package fonts-noto-core) where the run is started, or in the "
        "folder CLOUDBURST_FONTS, or a font file with them: the option font (--font)"
    )


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        (GREEK, {}, "Greek characters that no font has: "),
        (GREEK, {"font": "Noto Sans CJK KR"}, "Greek characters that no font has: "),
        ("ÿ", {"uppercase": True}, "Latin characters that no font has: "),
        ("ÿ", {}, None),
        (CHINESE, {}, None),
        (EMOJI, {}, None),
        ("Text", {}, None),
    ],
)
def test_characters_are_looked_up_in_the_font_of_the_package(make, text, options, found):
    (fault,) = faults(make("a", text), **options)
    assert (fault is None) if found is None else (found in fault.found)


def test_the_fonts_of_a_scene_replace_those_of_the_run(make):
    hindi = FONTS / "NotoSansDevanagari.ttf"
    own = {"options": {"font": f"{hindi}, Noto Sans CJK JP"}}
    scenes = make("a", HINDI, **own), make("b", HINDI), make("c", CHINESE, **own)
    assert [fault is None for fault in faults(*scenes)] == [True, False, True]
    family = {"options": {"font": "Noto Sans CJK SC"}}
    scenes = make("a", CHINESE, **family), make("b", HINDI), make("c", HINDI, **family)
    assert [fault is None for fault in faults(*scenes, font=hindi)] == [True, True, False]


def test_text_is_checked_again_if_the_file_is_known_to_be_valid(make):
    scene = make("a", ARABIC)
    for _ in range(2):
        (checked,) = check_scenes([scene], RenderOptions(), Limits())
        assert checked.undrawable


@pytest.mark.parametrize("text", [ARABIC, GREEK])
async def test_a_run_is_refused_before_a_task_is_started(make, text, tmp_path):
    cloud = FakeCloud()
    async with Client(cloud.backend) as client:
        with pytest.raises(InvalidScenesError) as caught:
            await client.render_all([make("a", text), make("b", CHINESE)], to=tmp_path / "out")
    assert [(fault.scene, fault.field) for fault in caught.value.faults] == [("a", "subtitle_path")]
    assert not cloud.launched


async def test_workers_that_take_letters_from_other_fonts_get_the_text(make, tmp_path):
    cloud = FakeCloud()

    @asynccontextmanager
    async def public_image(*args):
        async with cloud.backend(*args) as backend:
            yield replace(backend, find_unsupported=lambda _scene: [])

    async with Client(public_image) as client:
        report = await client.render_all([make("a", ARABIC)], to=tmp_path / "out")
    assert len(report.videos) == 1


@pytest.mark.real
@pytest.mark.parametrize("text", [ARABIC, GREEK])
async def test_a_frame_is_refused(make, text):
    with pytest.raises(InvalidScenesError) as caught:
        await render_frame(make("a", text))
    (fault,) = caught.value.faults
    assert (fault.scene, fault.field) == ("a", "subtitle_path")
    assert "that no font has" in fault.found
    assert fault.found.endswith("a.srt")


@pytest.mark.parametrize(
    ("text", "options", "lines"),
    [
        ("0123456789abcdef" * 120, {}, 27),
        ("\n".join("line" for _ in range(20)), {"subtitle_lines": 0}, 20),
        ("字" * 200, {"subtitle_lines": 0, "font_size": 60}, 20),
        ("字" * 200, {"subtitle_lines": 0}, None),
        ("\n".join("line" for _ in range(20)), {}, None),  # shown one after the other
        ("word " * 390, {}, None),
        ("0123456789abcdef" * 120, {"font": str(FONTS / "NotoSans.ttf")}, None),  # may be narrow
    ],
)
def test_a_text_that_leaves_the_picture_names_scene_cue_and_file(make, text, options, lines):
    fault = faults(make("a", text, options=options))[0]
    if lines is None:
        assert fault is None or "picture" not in fault.found
    else:
        assert (fault.scene, fault.field, fault.code) == ("a", "subtitle_path", "too_large")
        start = f"text that would leave the picture at 00:00:00,000: {lines} or more lines of "
        assert fault.found.startswith(start)
        assert fault.found.endswith("a.srt")
        assert fault.expected.startswith("a smaller font_size")


def test_cues_after_the_end_are_not_measured(make):
    scene = make("a", "x\n" * 40, options={"subtitle_lines": 0})
    (fault,) = faults(scene)
    assert fault.code == "too_large"
    cues = Path(scene["subtitle_path"]).read_text("utf-8").replace("00:00:0", "00:00:9")
    Path(scene["subtitle_path"]).write_text(f"0\n00:00:00,000 --> 00:00:00,100\nx\n\n{cues}")
    assert faults(scene) == [None]


def test_symbols_that_are_left_out_are_noted(make):
    (checked,) = check_scenes([make("a", EMOJI)], RenderOptions(), Limits())
    assert checked.undrawable == ()
    (note,) = checked.notes
    assert note.startswith("subtitle: left out, because no font has a glyph: U+1F600 😀")

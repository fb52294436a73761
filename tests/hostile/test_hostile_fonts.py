"""Hostile font files: the check before a run, and the render process past that check."""

from __future__ import annotations

import io
import logging
import random
import resource
import time
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from cloudburst import Client, RenderOptions, Report, local
from cloudburst.errors import InvalidScenesError
from cloudburst.inputs.media_checks import EXPECTED_FONT, check_font
from cloudburst.inputs.media_file import open_media_file
from cloudburst.media import font_tables
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits
from cloudburst.renderer.fonts import load_font
from cloudburst.renderer.job import InputFaultError
from cloudburst.renderer.letters import Letters
from cloudburst.renderer.process_limits import fault_from_exit
from cloudburst.renderer.text_layout import layout
from support.font_files import FONTS, FontCase, latin_font
from support.render_job import lay_job, outcome
from support.scripts import SENTENCES, font_path

log = logging.getLogger(__name__)

CHECK_SECONDS = 2
"""CPU time of the check before a run, for one file."""
RENDER_SECONDS = 30
"""CPU time of a render process; 20 of them are the limit for reading the inputs."""
SRT = "1\n00:00:00,000 --> 00:00:01,000\nHello 😀 <b>bold</b> <i>fi</i>\n"


def refusal(path: Path) -> str | None:
    """Return the error of the check before a run."""
    try:
        with open_media_file(path, EXPECTED_FONT, Limits()) as media:
            check_font(media, Limits())
    except InvalidInputError as error:
        return error.found
    return None


@pytest.mark.parametrize("case", FONTS, ids=lambda case: case.name.replace(" ", "-"))
def test_the_check_before_a_run_is_fast_and_finds_broken_tables(
    tmp_path: Path, case: FontCase
) -> None:
    path = tmp_path / "font"
    path.write_bytes(case.make())
    began = time.process_time()
    found = refusal(path)
    assert time.process_time() - began < CHECK_SECONDS
    if case.ends != "either":
        assert (found is not None) == (case.ends == "early"), found
    log.info("%s: %s", case.name, found)


@pytest.mark.real
@pytest.mark.timeout(120)
@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("case", FONTS, ids=lambda case: case.name.replace(" ", "-"))
def test_a_hostile_font_costs_its_own_scene_and_no_more(tmp_path: Path, case: FontCase) -> None:
    file = tmp_path / "font"
    file.write_bytes(case.make())
    folder = lay_job(tmp_path, subtitle=SRT, seconds=0.2, background_box=False, font=file)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, lines, errors = outcome(folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < RENDER_SECONDS
    assert not errors
    fault = None
    if code < 0:
        reading = [line["reading"] for line in lines if "reading" in line][-1]
        fault = fault_from_exit(reading, code)
        assert fault is not None
        field, found = fault.field, fault.found
    elif code:
        field, found = lines[-1]["fault"]["field"], lines[-1]["fault"]["found"]
    else:
        field, found = "", ""
    log.info("%s: %.1f s, %s", case.name, seconds, found or "done")
    # HarfBuzz has no character of a broken map that the check before a run could read.
    # The text is shaped before the glyphs are drawn.
    known = ("characters that no font has", "text that cannot be drawn")
    assert field in {"", "font"} or any(each in found for each in known), found
    if case.ends != "either":
        assert (code == 0) == (case.ends == "done")


@pytest.mark.few(40)
@pytest.mark.parametrize("seed", range(300))
def test_wrong_bytes_never_raise_another_error(seed: int) -> None:
    """The tables of a real font with some wrong bytes are read or refused, in little time."""
    font, rng = bytearray(latin_font()), random.Random(seed)
    for _ in range(rng.choice((1, 3, 10, 100))):
        font[rng.randrange(len(font) if seed % 2 else 2000)] = rng.randrange(256)
    try:
        font_tables.check_font(io.BytesIO(bytes(font)))
        tables = font_tables.FontTables(io.BytesIO(bytes(font)))
    except InvalidInputError:
        return
    assert all(tables.glyph(character) >= 0 for character in "aé字\U0010ffff")


@pytest.mark.few(15)
@pytest.mark.parametrize("seed", range(600))
def test_wrong_bytes_in_a_font_with_rules_raise_errors_of_the_font(
    tmp_path: Path, seed: int
) -> None:
    """Its glyphs are drawn, or it is refused, in little time."""
    rng = random.Random(seed)
    language = rng.choice(["arabic", "bengali", "hindi", "khmer", "thai", "tamil", "hebrew"])
    original = font_path(language)
    assert original is not None
    content = bytearray(original.read_bytes())
    for _ in range(rng.choice((1, 3, 10, 50))):
        content[rng.randrange(200, len(content))] = rng.randrange(256)
    (tmp_path / "font").write_bytes(content)
    began = time.process_time()
    with suppress(InputFaultError, OSError, ValueError, OverflowError):  # see `check_font`
        letters = Letters([load_font(tmp_path, "font")], 60)
        lines = layout(SENTENCES[language], bold=False, room=400, letters=letters)
        letters.check(lines, 3, bold=True)
    assert time.process_time() - began < CHECK_SECONDS


@pytest.mark.real
@pytest.mark.timeout(120)
def test_a_font_file_is_uploaded_and_a_broken_one_is_refused_before_the_run(
    tmp_path: Path,
) -> None:
    lay_job(tmp_path, subtitle=SRT, seconds=0.2)
    (tmp_path / "good.ttf").write_bytes(latin_font())
    (tmp_path / "bad.ttf").write_bytes(latin_font()[:5000])
    files = {name: tmp_path / name for name in ("image", "audio", "subtitle")}
    scene = {"name": "scene", **files}
    options = RenderOptions(font=tmp_path / "good.ttf")

    async def render(options: RenderOptions) -> Report:
        async with Client(local(workers=1)) as client:
            return await client.render_all([scene], to=tmp_path / "videos", options=options)

    (entry,) = anyio.run(render, options).scenes
    assert entry.video is not None
    assert "has a glyph: U+1F600" in "".join(entry.video.warnings)
    with pytest.raises(InvalidScenesError, match=r"options: font: a broken font: .* ends"):
        anyio.run(render, RenderOptions(font=tmp_path / "bad.ttf"))

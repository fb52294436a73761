"""Fonts of this machine that complete those of a scene, from the check to the request."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloudburst import Limits, RenderOptions, Settings
from cloudburst.errors import ConfigurationError
from cloudburst.film.request import check_film, film_request
from cloudburst.inputs import font_search
from cloudburst.inputs.font_search import MAX_SEARCHES, FontSearch
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.media.font_tables import noto_has_glyph
from cloudburst.models.locations import parse_https_url
from cloudburst.models.scene import CheckedScene
from cloudburst.renderer.job import JobOptions
from support.film_scenes import RATE, sine, write_sound
from support.fingerprints import fingerprints_of
from support.font_files import latin_font
from support.render_job import subtitle_file
from support.scripts import FONTS, SENTENCES

SCRIPTS = ("arabic", "hebrew", "hindi", "bengali", "tamil", "thai", "khmer")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Folder of the machine's fonts, without any yet."""
    folder = tmp_path / "share" / "fonts"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_DATA_DIRS", str(folder.parent))
    return folder


def found(text: str, *fonts: Any, own: Path | None = None) -> list[str]:
    """Return the names of the fonts that are found for a text."""
    files, _ = FontSearch(lambda: own).complete(fonts or ("Noto Sans CJK SC",), text)
    return [file.path.name for file in files]


def card(text: str, folder: Path | None = FONTS, **options: Any) -> CheckedScene:
    scene = {"name": "a", "title_card": text, "duration": 1, "options": options}
    with open_remote_inputs(Settings(_env_file=None, fonts=folder)) as remote:
        (checked,) = check_scenes([scene], RenderOptions(), Limits(), remote=remote)
    return checked


@pytest.mark.parametrize("language", SCRIPTS)
def test_the_font_of_each_script_is_found(machine, language):
    shutil.copytree(FONTS, machine / "noto")
    (name,) = found(SENTENCES[language])
    assert all(noto_has_glyph(each) for each in SENTENCES[language] if each.isascii())
    assert name.startswith("NotoSans")


def test_fonts_are_in_the_order_in_which_the_text_needs_them(machine):
    shutil.copytree(FONTS, machine / "noto")
    text = SENTENCES["hindi"] + SENTENCES["chinese"] + SENTENCES["arabic"]
    assert found(text) == ["NotoSansDevanagari.ttf", "NotoSansArabic.ttf"]
    assert found("Plain text, 你好") == []


def test_a_font_on_a_server_may_have_any_character(machine):
    url = parse_https_url("https://example.com/font.ttf")
    files, has_glyph = FontSearch(lambda: None).complete([url], SENTENCES["hindi"])
    assert not files
    assert all(map(has_glyph, SENTENCES["hindi"]))


def test_a_font_with_pictures_is_found_for_emoji(machine):
    shutil.copytree(FONTS, machine / "noto")
    assert found("😀 ❤ 🏽") == ["NotoColorEmoji.ttf"]


def test_a_regular_font_made_for_the_script_comes_first(machine):
    names = [
        "NotoSansHebrew-Regular.ttf",
        "NotoSansHebrewDroid-Regular.ttf",
        "NotoSansHebrew-Bold.ttf",
        "NotoRashiHebrew-Regular.ttf",
        "Hebrew.ttf",
        "NotoSans-Regular.ttf",
        "Other.otf",
    ]
    for name in names:
        shutil.copy(FONTS / "NotoSansHebrew.ttf", machine / name)
    for name in names:
        assert found(SENTENCES["hebrew"]) == [name]
        (machine / name).unlink()


def test_the_folder_of_the_setting_comes_first(machine, tmp_path):
    own = tmp_path / "own" / "deep"
    own.mkdir(parents=True)
    shutil.copy(FONTS / "NotoSansHebrew.ttf", machine / "NotoSansHebrew-Regular.ttf")
    shutil.copy(FONTS / "NotoSansHebrew.ttf", own / "Mine-Bold.ttf")
    assert found(SENTENCES["hebrew"], own=own.parent) == ["Mine-Bold.ttf"]


def test_a_folder_that_is_not_there_is_an_error_once_a_font_is_needed(tmp_path):
    missing = tmp_path / "none"
    assert card("Plain", missing).found_fonts == ()
    with pytest.raises(ConfigurationError, match=f"CLOUDBURST_FONTS: no such folder: {missing}"):
        card(SENTENCES["thai"], missing)


@pytest.mark.parametrize("folder", [str(FONTS), FONTS.name])
def test_the_folder_is_a_setting(monkeypatch, folder):
    monkeypatch.chdir(FONTS.parent)
    monkeypatch.setenv("CLOUDBURST_FONTS", folder)
    scene = {"name": "a", "title_card": SENTENCES["thai"], "duration": 1}
    (checked,) = check_scenes([scene], RenderOptions(), Limits())
    assert checked.found_fonts == (FONTS / "NotoSansThai.ttf",)


def test_a_blank_setting_is_no_folder(monkeypatch):
    monkeypatch.setenv("CLOUDBURST_FONTS", "")
    assert Settings(_env_file=None).fonts is None


@pytest.mark.parametrize("size", [0, 100, 900])
def test_a_broken_font_is_passed_over(machine, size):
    whole = (FONTS / "NotoSansHebrew.ttf").read_bytes()
    (machine / "NotoSansHebrew-Regular.ttf").write_bytes(whole[:size])
    (machine / "link.ttf").symlink_to(machine / "nothing.ttf")
    (machine / "Other.ttf").write_bytes(whole)
    assert found(SENTENCES["hebrew"]) == ["Other.ttf"]


def test_characters_that_no_font_has_take_bounded_time(machine, monkeypatch):
    for number in range(9):
        (machine / f"{number}.ttf").write_bytes(latin_font())
    keys, rank = list[str](), font_search._rank_for

    def counted(character: str, own_folder: Path | None) -> Any:
        keys.append(character)
        return rank(character, own_folder)

    monkeypatch.setattr(font_search, "_rank_for", counted)
    search = FontSearch(lambda: None)
    for _scene in range(2):
        text = "".join(map(chr, range(0x12000, 0x12000 + 3 * MAX_SEARCHES)))
        assert search.complete(["Noto Sans CJK SC"], text)[0] == []
    assert len(keys) == MAX_SEARCHES


def test_the_characters_of_a_callers_font_are_not_kept_after_the_check(machine, tmp_path):
    (tmp_path / "latin.ttf").write_bytes(latin_font())
    before = font_search._glyphs.cache_info().misses
    assert found("a", tmp_path / "latin.ttf") == []
    assert font_search._glyphs.cache_info().misses == before


def test_a_font_of_the_option_comes_before_one_of_the_machine(machine, tmp_path):
    latin = tmp_path / "latin.ttf"
    latin.write_bytes(latin_font())
    shutil.copy(FONTS / "NotoSansHebrew.ttf", machine / "NotoSansHebrew.ttf")
    assert found("a字", latin, "Noto Sans CJK SC") == []
    hebrew = FONTS / "NotoSansHebrew.ttf"
    assert found(SENTENCES["hebrew"], latin, hebrew, "Noto Sans CJK SC") == []


def test_found_fonts_are_inputs_behind_those_of_the_option(tmp_path):
    latin = tmp_path / "latin.ttf"
    latin.write_bytes(latin_font())
    scene = card(f"Text 字 {SENTENCES['thai']}", font=[str(latin), "Noto Sans CJK JP"])
    thai = FONTS / "NotoSansThai.ttf"
    assert scene.undrawable == ()
    assert scene.files() == {"font": latin, "font-3": thai}
    assert scene.versions.keys() == {latin, thai}
    assert JobOptions.from_options(scene.drawn_options).font == (
        *("font", "Noto Sans CJK JP"),
        "font-3",
    )
    assert scene.options.fonts() == {"font": latin, "font-2": "Noto Sans CJK JP"}
    assert scene.scene.options.given() == {"font": (latin, "Noto Sans CJK JP")}


def test_a_family_follows_the_fonts_of_the_option(tmp_path):
    latin = tmp_path / "latin.ttf"
    latin.write_bytes(latin_font())
    scene = card("Text 字", font=str(latin))
    assert scene.found_fonts == ()
    assert scene.undrawable == ()
    assert JobOptions.from_options(scene.drawn_options).font == ("font", "Noto Sans CJK SC")


def test_subtitles_of_a_film_and_of_its_scenes_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDBURST_FONTS", str(FONTS))
    write_sound(tmp_path / "voice.wav", sine(0, RATE))
    Path("film.srt").write_text(subtitle_file((0.1, 0.3, SENTENCES["thai"])), "utf-8")
    Image.new("RGB", (32, 18)).save("a.png")
    request = film_request("film.mp4", film_audio="voice.wav", film_subtitle="film.srt")
    assert request is not None
    scenes = [
        {"name": "a", "image": "a.png", "until": 0.5},
        {"name": "b", "title_card": SENTENCES["hebrew"]},
    ]
    with open_remote_inputs() as remote:
        film = check_film(request, RenderOptions(), Limits(), remote)
        checked = check_scenes(scenes, RenderOptions(), Limits(), remote=remote, film=film)
    thai, hebrew = FONTS / "NotoSansThai.ttf", FONTS / "NotoSansHebrew.ttf"
    assert [scene.found_fonts for scene in checked] == [(thai,), (hebrew, thai)]
    monkeypatch.delenv("CLOUDBURST_FONTS")
    checked = check_scenes(scenes, RenderOptions(), Limits(), film=film)
    (fault,) = {fault for scene in checked for fault in scene.undrawable if not fault.scene}
    assert fault.field == "film_subtitle"
    assert fault.found.startswith("Thai characters that no font has")
    assert fault.found.endswith("film.srt")


def test_another_font_of_the_machine_is_another_video(tmp_path):
    hebrew = tmp_path / "Hebrew.ttf"
    shutil.copy(FONTS / "NotoSansHebrew.ttf", hebrew)
    first = card(SENTENCES["hebrew"], tmp_path)
    again = card(SENTENCES["hebrew"], tmp_path)
    assert fingerprints_of([first]) == fingerprints_of([again])
    before = fingerprints_of([again])
    moved = hebrew.rename(tmp_path / "Moved.ttf")
    assert fingerprints_of([card(SENTENCES["hebrew"], tmp_path)]) == before
    moved.write_bytes(moved.read_bytes() + b"\0")
    assert fingerprints_of([card(SENTENCES["hebrew"], tmp_path)]) != before

"""Files of the page: texts in both languages, links, and the rule for the names of files."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hatchling.builders.wheel import WheelBuilder

from cloudburst.errors import ConfigurationError, FaultCode
from cloudburst.inputs import scenes
from cloudburst.inputs.scene_files import _READERS
from cloudburst.inputs.scenes import pictures_without_audio, read_scenes
from cloudburst.models.options import RenderOptions
from cloudburst.models.problems import FIXES
from cloudburst.serve.app import PAGE
from support.doc_pages import ROOT
from support.page_texts import LANGUAGES, SCRIPT, TEXTS, lines_of_texts

SCRIPTS = {path.name: path.read_text("utf-8") for path in PAGE.glob("*.js")}
CASES = json.loads((ROOT / "tests/data/pairing.json").read_text("utf-8"))
MAX_SCRIPT_LINES = 2_500
PLACEHOLDER = re.compile(r"\{(\w+)\}")
ROLES = ("image", "audio", "subtitle")


REPORT = (PAGE.parents[1] / "display/page/report.js").read_text("utf-8")


def code() -> str:
    """The scripts that show the texts: those of the page and of the file report.html."""
    return "\n".join([REPORT, *(text for name, text in SCRIPTS.items() if name != "strings.js")])


def test_every_text_is_there_in_both_languages_with_the_same_placeholders():
    lines = lines_of_texts()
    assert len(lines) == SCRIPT.count('\n  "'), "a line in another form"
    assert len(lines) == len(TEXTS), "a key twice"
    for key, texts in lines:
        assert len(texts) == len(LANGUAGES), key
        assert all(texts), key
        forms = [*texts[0].split("|"), texts[1]]
        placeholders = [sorted(set(PLACEHOLDER.findall(form))) for form in forms]
        assert all(one == other for one, other in pairwise(placeholders)), (key, placeholders)


def test_every_key_that_the_scripts_use_has_a_text():
    used = set(re.findall(r'\bt\("([^"]+)"', code()))
    assert len(used) > 100
    assert not used - TEXTS.keys()


def test_every_text_is_used():
    scripts = code()
    families = {f"{name}." for name in re.findall(r"\bt\(`([\w.]+)\.\$\{", scripts)}
    families |= {f"{name}." for name in re.findall(r'\bnamed\("(\w+)"', scripts)}
    families |= {f"{name}." for name in re.findall(r"= `(\w+)\.\$\{", scripts)}
    unused = [
        key
        for key in TEXTS
        if f'"{key}"' not in scripts and not any(key.startswith(family) for family in families)
    ]
    assert not unused


def test_every_translated_sentence_is_one_of_the_server():
    said = "\n".join(file.read_text("utf-8") for file in PAGE.parents[1].rglob("*.py"))
    sentences = [key.removeprefix("said.") for key in TEXTS if key.startswith("said.")]
    assert sentences
    assert not [sentence for sentence in sentences if f'"{sentence}"' not in said]


def test_every_problem_has_a_text_and_a_fix():
    codes = set(get_args(FaultCode)) - {"invalid"}
    assert not {f"fault.{code}" for code in codes} - TEXTS.keys()
    assert not {f"fix.{code}" for code in FIXES} - TEXTS.keys()


def test_every_option_has_a_label():
    assert not {f"option.{name}" for name in RenderOptions.model_fields} - TEXTS.keys()


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_writes_texts_only_as_texts(name):
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
        "document.write",
        "srcdoc",
    ):
        assert word not in SCRIPTS[name], word


def test_page_needs_nothing_from_elsewhere_and_nothing_inline():
    html = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", html)
    for link in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert (PAGE / link).is_file(), link
    for name, text in SCRIPTS.items():
        for link in re.findall(r'from "([^"]+)"', text):
            assert (PAGE / link).is_file(), (name, link)
    css = (PAGE / "style.css").read_text("utf-8")
    assert "@import" not in css
    assert all(link.startswith(("data:", "#")) for link in re.findall(r'url\("([^"]+)"\)', css))
    texts = "".join([html, css, *SCRIPTS.values()])
    assert set(re.findall(r"https?://[\w.]+", texts)) == {"http://www.w3.org"}


def test_scripts_are_short():
    lines = [line for text in SCRIPTS.values() for line in text.splitlines()]
    assert sum(
        not line.strip().startswith(("//", "*", "/**")) for line in lines if line.strip()
    ) < (MAX_SCRIPT_LINES)


def test_wheel_has_the_page():
    files = {one.distribution_path for one in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert files >= {
        f"cloudburst/serve/page/{path.relative_to(PAGE).as_posix()}"
        for path in PAGE.rglob("*")
        if path.is_file()
    }


def test_page_pairs_files_with_the_endings_that_the_command_knows():
    lists = re.findall(r"^const (\w+) = (\[.*?\]);", SCRIPTS["pairing.js"], re.MULTILINE)
    assert {name: {f".{one}" for one in json.loads(text)} for name, text in lists} == {
        "PICTURES": set(scenes.PICTURE_SUFFIXES),
        "SOUNDS": set(scenes.AUDIO_SUFFIXES),
        "SUBTITLES": set(scenes.SUBTITLE_SUFFIXES),
        "UNREADABLE_SUBTITLES": set(scenes.UNSUPPORTED_SUBTITLE_SUFFIXES),
        "LISTS": set(_READERS),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_folder_is_read_as_the_table_for_the_page_says(tmp_path: Path, case: dict[str, Any]):
    for name in case["files"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if case.get("refused"):
        with pytest.raises(ConfigurationError) as caught:
            read_scenes(tmp_path)
        named = [*case.get("faulty", []), *case.get("lists", [])]
        assert all(name in str(caught.value) for name in named)
    else:
        found = [
            [scene.get("name") or scene["scene_name"], *(files_of(scene, tmp_path))]
            for scene in read_scenes(tmp_path)
        ]
        assert found == case["scenes"]
    alone = [str(Path(path).relative_to(tmp_path)) for path in pictures_without_audio(tmp_path)]
    assert alone == case.get("alone", [])


def files_of(scene: dict[str, Any], folder: Path) -> list[str | None]:
    paths = [scene.get(role) or scene.get(f"{role}_path") for role in ROLES]
    return [path and str(Path(path).relative_to(folder)) for path in paths]

"""The page about the look of videos: it has every option, and the pictures of its script."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from cloudburst import RenderOptions
from cloudburst.models.options.subtitles import CAPTIONS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "looks.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_looks", DOCS / "make_looks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_looks"] = module
    spec.loader.exec_module(module)
    return module


def test_every_option_has_a_row() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert RenderOptions.model_fields.keys() - named == set(), "add rows to docs/looks.md"


def test_the_tables_of_pictures_are_those_of_the_script(script: ModuleType) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert script.tables(page) == page, "run python docs/make_looks.py"


def test_every_picture_is_there_and_differs_from_the_others(script: ModuleType) -> None:
    names = [f"{look.name}.jpg" for looks in script.LOOKS.values() for look in looks]
    files = sorted((DOCS / "looks").iterdir())
    assert [path.name for path in files] == sorted(names)
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(names)
    for path in files:
        with Image.open(path) as picture:
            assert max(picture.width / script.WIDTH, picture.height / script.HEIGHT) == 1


def test_the_options_of_every_picture_are_valid(script: ModuleType) -> None:
    for looks in script.LOOKS.values():
        for look in looks:
            RenderOptions.model_validate({**script.STILL, **look.options})


def test_the_table_of_captions_has_the_options_that_they_stand_for() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in CAPTIONS["classic"]:
        cells = [cell_of(options[name]) for options in CAPTIONS.values()]
        assert f"| `{name}` | {' | '.join(cells)} |\n" in page


def cell_of(value: object) -> str:
    if value is None:
        return "by `language`"
    if isinstance(value, str):
        return f"`{value}`"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"

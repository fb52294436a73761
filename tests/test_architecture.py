"""Names on the page ``docs/internals/architecture.md`` and files of ``CONTRIBUTING.md`` exist."""

from __future__ import annotations

import importlib
import re
import sys
import threading
import tomllib
from functools import reduce

import pytest
from pydantic import BaseModel

from cloudburst import Client
from cloudburst.testing import FakeCloud
from support.doc_pages import ROOT, prose_of, quoted, text_of

pytestmark = pytest.mark.anyio

PAGE = "docs/internals/architecture.md"
WAYS = ("One scene", "One task", "One failure", "One POST")
_NAME = re.compile(r"[a-z0-9_.]+:[A-Za-z_.]+")
NOTATION = {"module:function", "module:Class.method"}
NAMES = sorted(set(filter(_NAME.fullmatch, quoted(prose_of(PAGE)))) - NOTATION)
FILES = sorted(
    {text for text in quoted(prose_of(PAGE)) if re.fullmatch(r"[a-z0-9_/]+(\.py|/)", text)}
)
GUIDE = "CONTRIBUTING.md"
GUIDE_FILES = sorted(
    set(re.findall(r"[a-z_]+/[a-z0-9_/]*\.py|(?<=`)[a-z_]+/[a-z_/]*(?=`)", text_of(GUIDE)))
)


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


def resolve(name):
    """Return what ``module:Class.method`` names; private names and fields count."""
    module, _, path = name.partition(":")
    found = importlib.import_module(f"cloudburst.{module}")
    return reduce(attribute, path.split("."), found)


def attribute(owner, name):
    if isinstance(owner, type) and issubclass(owner, BaseModel) and name in owner.model_fields:
        return owner.model_fields[name]
    return getattr(owner, name)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_exists(name):
    resolve(name)


@pytest.mark.parametrize("file", FILES)
def test_each_file_exists(file):
    assert (ROOT / "src" / "cloudburst" / file).exists()


@pytest.mark.parametrize("file", GUIDE_FILES)
def test_each_file_of_the_guide_exists(file):
    assert any((folder / file).exists() for folder in (ROOT, ROOT / "src" / "cloudburst"))


def test_the_picture_of_the_packages_has_the_layers_of_the_import_contract():
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["name"] == "Imports only go down")
    assert len(layers) <= 10
    picture = text_of(PAGE).partition("## The packages")[2].split("```")[1].splitlines()[1:]
    drawn = [set(re.match(r"(?:[a-z]+  ?)*[a-z]+", line)[0].split()) for line in picture]
    named = [set(re.findall(r"cloudburst\.(\w+)", layer)) for layer in layers]
    assert drawn == named


def test_a_name_that_does_not_exist_is_found():
    assert len(NAMES) > 60
    assert len(FILES) > 8
    assert len(GUIDE_FILES) > 10
    with pytest.raises(AttributeError):
        resolve("engine.run:Run.nonsense")
    with pytest.raises(ModuleNotFoundError):
        resolve("engine.nonsense:Run")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_a_short_list(way):
    """It has at most 16 steps, each with a function."""
    (section,) = [part for part in text_of(PAGE).split("\n## ") if part.startswith(way)]
    steps = re.split(r"(?m)^\d+\. ", section)[1:]
    assert 5 <= len(steps) <= 16
    assert [step for step in steps if not any(map(_NAME.fullmatch, quoted(step)))] == []


def test_the_picture_names_real_modules():
    _, picture = re.findall(r"(?s)```text\n(.*?)```", text_of(PAGE))
    for module in re.findall(r"\b[a-z]+_[a-z_]+\b", picture):
        found = {path.stem for path in (ROOT / "src/cloudburst/engine").rglob("*.py")}
        assert module in found


def steps_of(way):
    """Return the names in each step of a section."""
    (section,) = [part for part in text_of(PAGE).split("\n## ") if part.startswith(way)]
    steps = re.split(r"(?m)^\d+\. ", section.partition("\n\nRetry:")[0])[1:]
    return [[text for text in quoted(step) if _NAME.fullmatch(text)] for step in steps]


async def test_a_scene_takes_the_way_of_the_page(make_scene, tmp_path):
    """All functions of the list are called; the first ones of the steps in this order."""
    first_calls = {}

    def note(frame, event, _):
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("cloudburst."):
            name = f"{module.removeprefix('cloudburst.')}:{frame.f_code.co_qualname}"
            first_calls.setdefault(name, len(first_calls))

    scene = make_scene("a")
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        async with Client(FakeCloud().backend) as client:
            await client.render_all([scene], to=tmp_path / "out")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    steps = steps_of("One scene")
    # The fake cloud implements the protocols in ``ports``.
    expected = {name for step in steps for name in step if not name.startswith("ports.")}
    assert len(expected) > 20
    assert expected - first_calls.keys() == set()
    called = [next(first_calls[name] for name in step if name in first_calls) for step in steps]
    assert called == sorted(called)

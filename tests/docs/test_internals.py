"""The code on the pages for developers runs, and what they name exists."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
from contextlib import closing, contextmanager
from functools import cache
from types import SimpleNamespace
from typing import get_args

import av
import httpx
import pytest

from cloudburst import Limits, Timeouts
from cloudburst.models.film import FilmJobRequest
from cloudburst.models.transfers import FetchRequest, TransferProblem, UploadRequest
from cloudburst.outputs.journal.tables import create_tables
from cloudburst.service.app import build_app
from cloudburst.service.config import ServiceSettings
from cloudburst.service.jobs import JobState
from cloudburst.service.native_api import SceneJobRequest
from support.doc_blocks import run_page
from support.doc_pages import PAGES, ROOT, prose_of, quoted, table_of, text_of
from support.old_calls import without_settings
from support.service_caller import KEY
from support.service_process import service_process
from support.short_story import short_story

FOLDER = "docs/internals"
PROTOCOL, EMULATOR = f"{FOLDER}/protocol.md", f"{FOLDER}/emulator.md"
PUBLIC = [page for page in PAGES if page.startswith(FOLDER)]
MAX_WORDS = {"CONTRIBUTING.md": 1300, "benchmarks/README.md": 4000}
"""Limits of words of pages that are not below docs, which tests/docs/test_pages.py limits."""
THEIRS = {"NotAction", "NotResource", "runs/"}
"""Names of AWS that the code does not have, and a folder that runs make."""


@pytest.mark.parametrize("page", MAX_WORDS)
def test_each_page_is_short(page):
    assert len(text_of(page).split()) <= MAX_WORDS[page]


@cache
def words_of_the_source():
    paths = [*(ROOT / "src").rglob("*.py"), ROOT / "hatch_build.py"]
    variables = {f"CLOUDBURST_{name.upper()}" for name in ServiceSettings.model_fields}
    return variables.union(*(re.findall(r"\w+", path.read_text("utf-8")) for path in paths))


@pytest.mark.parametrize("page", PUBLIC)
def test_what_a_page_names_exists(page):
    names = quoted(prose_of(page))
    names = [name for name in names if name not in THEIRS]
    files = [name for name in names if re.fullmatch(r"[a-z0-9_]+/[a-z0-9_/]*(\.py)?", name)]
    roots = (ROOT, ROOT / "src" / "cloudburst")
    assert [file for file in files if not any((root / file).exists() for root in roots)] == []
    constants = {text for name in names for text in re.findall(r"\b[A-Z]+_[A-Z_]+\b", name)}
    constants |= {text for name in names for text in re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", name)}
    assert constants - words_of_the_source() == set()
    for name in names:
        if found := re.match(r"(Limits|Timeouts)\.(\w+)", name):
            owner = {"Limits": Limits, "Timeouts": Timeouts}[found[1]]
            assert found[2] in owner.__dataclass_fields__


def test_each_session_of_nox_is_described():
    sessions = re.findall(r"(?m)^@nox\.session.*\ndef (\w+)", text_of("noxfile.py"))
    rows = table_of("CONTRIBUTING.md", "`tests`")
    assert sorted(sessions) == sorted(row[0].strip("`") for row in rows)


def checked_by(model):
    """Return a function that checks a block of JSON, with a hash in place of its placeholder."""
    return lambda code: model.model_validate(json.loads(code.replace("<sha256>", "0" * 64)))


@pytest.mark.real
def test_the_client_of_the_protocol_renders_a_scene(tmp_path):
    space = {}
    bodies = {
        '"subtitle"': SceneJobRequest,
        '"transition_seconds"': FilmJobRequest,
        '"max_bytes"': FetchRequest,
        '"parts"': UploadRequest,
    }
    checks = {text: checked_by(model) for text, model in bodies.items()}
    run_page(PROTOCOL, space, instead=checks)
    story = short_story(tmp_path, "01-harbour")
    program = ("-m", "cloudburst.service")
    with service_process(tmp_path, program=program, CLOUDBURST_TEST_RENDER="false") as service:
        pictures = space["render"](
            service.url, KEY, story / "01-harbour.jpg", story / "01-harbour.mp3"
        )
        assert service.videos() == []
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            space["render"](
                service.url, "wrong", story / "01-harbour.jpg", story / "01-harbour.mp3"
            )
    with av.open(io.BytesIO(pictures)) as video:
        assert video.streams.video[0].frames > 5


def test_the_protocol_has_every_request_state_and_problem():
    text = prose_of(PROTOCOL)
    told = set(re.findall(r"(GET|HEAD|PUT|POST|DELETE) (/[a-z0-9{}/]+)", text_of(PROTOCOL)))
    service = SimpleNamespace(settings=ServiceSettings(), self_test=None)
    routes = {(way, route.path) for route in build_app(service).routes for way in route.methods}
    assert told == {(way, path) for way, path in routes if way != "HEAD" or "/files" in path}
    states = {row[0].strip("`") for row in table_of(PROTOCOL, "`queued`")}
    assert states == set(get_args(JobState))
    assert {TransferProblem.EXPIRED, TransferProblem.BUSY} <= set(quoted(text))


def test_the_journal_has_the_tables_of_the_page():
    with closing(sqlite3.connect(":memory:")) as connection:
        create_tables(connection)
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in found]
    assert [row[0].strip("`") for row in table_of(f"{FOLDER}/journal.md", "`processes`")] == names


ENDLESS = "the emulator runs until Ctrl-C"


def test_the_fixture_starts_the_emulator(monkeypatch, tmp_path):
    without_settings(monkeypatch, tmp_path)
    space = {}
    in_shells = ("> emulator.env", "--policy", "--registry")
    run_page(EMULATOR, space, instead=dict.fromkeys(in_shells, ENDLESS))
    with contextmanager(space["fargate"].__wrapped__)(monkeypatch) as emulator:
        assert os.environ["AWS_ENDPOINT_URL"] == emulator.url


@pytest.mark.nightly  # the command waits until the task has stopped, as on AWS
@pytest.mark.real
@pytest.mark.timeout(150)
def test_a_run_on_the_emulator_works(monkeypatch, tmp_path):
    without_settings(monkeypatch, tmp_path)
    short_story(tmp_path, "01-harbour")
    run_page(EMULATOR, instead=dict.fromkeys(("--policy", "--registry"), ENDLESS))
    assert [path.name for path in (tmp_path / "videos").glob("*.mp4")] == ["01-harbour.mp4"]

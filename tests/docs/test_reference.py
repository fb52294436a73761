"""The pages of the reference: their code runs, and their tables are true."""

from __future__ import annotations

import inspect
import re
import shlex
import time
from decimal import Decimal
from pathlib import Path
from typing import get_args

import anyio
import pytest
from botocore.exceptions import NoCredentialsError

from cloudburst import (
    Client,
    Limits,
    Scene,
    Settings,
    Status,
    Tier,
    Timeouts,
    execute_parallel_batches,
    fargate,
    read_scenes,
)
from cloudburst.cli.app import run
from cloudburst.errors import FaultCode
from cloudburst.inputs.scene_files import MAX_SCENES
from cloudburst.media.font_tables import MAX_FONT_BYTES
from cloudburst.media.input_rules import (
    MAX_ASPECT_RATIO,
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MAX_SIDE_PIXELS,
    MIN_SAMPLE_RATE,
)
from cloudburst.media.subtitles.cues import (
    MAX_AT_ONCE,
    MAX_CHARACTERS,
    MAX_CUES,
    MAX_SUBTITLE_BYTES,
    MAX_WORDS,
)
from cloudburst.models.batches import BatchResult, Efficiency, TaskResult
from cloudburst.models.limits import MAX_SCENE_SECONDS
from cloudburst.models.task import LaunchRequest, TaskSpec
from cloudburst.ports.backend import new_key
from cloudburst.service.config import ServiceSettings
from cloudburst.testing import EmulatorConfig, FakeCloud, FargateEmulator
from support.doc_blocks import run_page
from support.doc_pages import (
    ROOT,
    blocks,
    is_said_by_the_package,
    quoted,
    table_of,
    tables,
    text_of,
)
from support.failure_pages import maker
from support.old_calls import NAMES, OLD_NAMES, without_settings
from support.short_story import short_story

COMMANDS = "docs/reference/command-line.md"
MOVE = "docs/cookbook/old-calls.md"
OLD_CALLS = "docs/reference/old-calls.md"
SCENES = "docs/reference/scenes.md"
SETTINGS = "docs/reference/settings.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    without_settings(monkeypatch, tmp_path)
    return tmp_path


# Settings.

DEFAULTS = {
    choice: field.default
    for field in Settings.model_fields.values()
    for choice in field.validation_alias.choices
    if choice.isupper()
}
VARIABLES = table_of(SETTINGS, "`AWS_ACCESS_KEY_ID`")


def shown(default):
    """Return a default as it would be written into the environment."""
    match default:
        case None | ():
            return []
        case tuple():
            return [",".join(default)]
        case bool():
            return [str(default).lower()]
        case float():
            return [f"{default:g}"]
        case _:
            return [str(default)]


@pytest.mark.parametrize(("names", "default", "_"), VARIABLES, ids=[row[0] for row in VARIABLES])
def test_the_default_of_a_variable(names, default, _):
    assert quoted(default) == [text for name in quoted(names) for text in shown(DEFAULTS[name])]


def test_every_variable_is_in_the_table():
    assert sorted(name for names, *_ in VARIABLES for name in quoted(names)) == NAMES


def test_the_settings_of_a_standing_worker():
    for names, default, _ in table_of(SETTINGS, "`CLOUDBURST_HOST`"):
        (name,) = quoted(names)
        field = ServiceSettings.model_fields[name.removeprefix("CLOUDBURST_").lower()]
        assert quoted(default) == ([] if field.default_factory else [str(field.default)])


def test_settings_are_arguments_in_a_program(here):
    space = {}
    run_page(SETTINGS, space)
    assert space["client"].limits.max_usd == Decimal(2)


# Scenes.


def test_every_field_of_a_scene_is_in_the_table():
    assert [name for row in table_of(SCENES, "`name`") for name in quoted(row[0])] == list(
        Scene.model_fields
    )


def test_the_scenes_of_the_file_are_rendered(here):
    (file,) = blocks(SCENES, "json")
    Path("scenes.json").write_text(file, "utf-8")
    Path("examples").symlink_to(ROOT / "examples")

    async def main():
        async with Client(FakeCloud().backend) as client:
            return await client.render_all(read_scenes("scenes.json"), to="videos")

    report = anyio.run(main)
    assert report.status is Status.COMPLETE
    assert [scene.scene for scene in report.scenes] == ["title", "harbour"]


@pytest.mark.filterwarnings("ignore:AWS_SUBNET_ID is not set:UserWarning")
def test_faults_of_a_scene_are_printed(here, capsys):
    run_page(SCENES)
    assert capsys.readouterr().out.startswith("three image missing ")
    assert re.findall(r"`(\w+)`[,.]", text_of(SCENES).partition("the codes do not:")[2]) == [
        *get_args(FaultCode)
    ]


@pytest.mark.parametrize(
    ("first", "numbers"),
    [
        ("any file", [Limits().file_bytes // 1024**2]),
        ("picture", [Limits().image_pixels, MAX_SIDE_PIXELS, MAX_ASPECT_RATIO]),
        (
            "scene, sound, music",
            [MAX_SCENE_SECONDS // 3600, MAX_CHANNELS, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE],
        ),
        (
            "subtitles",
            [MAX_SUBTITLE_BYTES // 1024**2, MAX_CUES, MAX_WORDS, MAX_CHARACTERS, MAX_AT_ONCE],
        ),
        ("font", [MAX_FONT_BYTES // 1024**2]),
        ("scene file", [MAX_SCENES]),
    ],
)
def test_a_limit_of_inputs(first, numbers):
    ((_, most),) = [row for row in table_of(SCENES, "any file") if row[0] == first]
    assert {f"{number:,.0f}" for number in numbers} <= set(re.findall(r"[\d,]*\d", most))


# The command line.


@pytest.mark.real
@pytest.mark.timeout(120)
def test_the_commands_run(here):
    def run_here(code):
        for line in code.replace("--quiet", "--size 320x240 --no-zoom --quiet").splitlines():
            program, *words = shlex.split(line)
            assert (program, run(words)) == ("cloudburst", 0), line

    short_story(here, "01-harbour")
    run_page(COMMANDS, instead={"cloudburst render": run_here})
    assert Path("videos/01-harbour.mp4").exists()
    assert Path("videos/report.html").exists()


# Failures.


@pytest.mark.parametrize("page", [maker.PAGE, maker.SOURCES], ids=lambda page: page.name)
def test_the_generated_part_of_a_page_is_current(page):
    assert page.read_text("utf-8") == maker.whole(page), "run python docs/make_failures.py"


def test_every_code_of_aws_that_needs_the_user_is_on_the_page():
    page = maker.PAGE.read_text("utf-8")
    rows = [row for name in maker.OF_AWS for row in maker.TABLES[name]]
    named = [row for row in rows if any(pattern.strip("*") for pattern in row.patterns)]
    needed = [row.summary for row in named if not row.remedy.retryable and row.action]
    assert len(needed) > 30
    assert [summary for summary in needed if summary not in page] == []


def test_every_source_is_in_the_appendix():
    page = maker.SOURCES.read_text("utf-8")
    rows = [row for name in maker.OF_AWS for row in maker.TABLES[name]]
    sources = {one.removesuffix(" (2026-11)") for row in rows for one in row.source.split("; ")}
    assert [source for source in sources if source not in page] == []


MESSAGES = sorted(
    {
        message
        for head, *rows in tables("docs/reference/failures.md")
        if head[0] == "message"
        for row in rows
        for message in quoted(row[0])
    }
)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_quoted_as_it_is(message):
    """Some are those of boto, which the package passes on."""
    assert is_said_by_the_package(message) or message in NoCredentialsError.fmt


def test_messages_are_quoted():
    assert len(MESSAGES) > 30


# The calls of cloudburst-fargate.


def test_the_signature_is_shown():
    """Without types, as a reader of the old documentation knows it."""
    (shown,) = blocks(OLD_CALLS, "text")
    parameters = inspect.signature(execute_parallel_batches).parameters.values()
    plain = [str(one.replace(annotation=one.empty)).replace("'", '"') for one in parameters]
    assert "".join(shown.split()) == f"execute_parallel_batches({','.join(plain)})"


def test_the_keys_of_the_result_exist_as_far_as_the_table_says():
    rows = table_of(OLD_CALLS, "`success`")
    known = {*BatchResult.model_fields, *TaskResult.model_fields, *Efficiency.model_fields}
    (same,) = [row for row in rows if row[1] == "the same"]
    (removed,) = [row for row in rows if row[1] == "removed"]
    assert set(quoted(same[0])) <= known
    assert not known & set(quoted(removed[0]))
    assert {"status", "run", "errors", "total_duration", "downloaded_files"} <= known


def test_each_old_name_has_a_line():
    rows = [row for table in tables(OLD_CALLS) for row in table]
    named = {part for row in rows for text in quoted(row[0]) for part in re.findall(r"\w+", text)}
    assert set(OLD_NAMES) - named == set()


def test_each_fault_has_its_number_and_its_test():
    assert [row[0] for row in table_of(OLD_CALLS, "1")] == [str(n) for n in range(1, 15)]
    tests = (ROOT / "tests/compat/test_fourteen_faults.py").read_text("utf-8")
    assert {int(n) for n in re.findall(r"def test_fault_(\d\d)_", tests)} == set(range(1, 15))


@pytest.mark.real
@pytest.mark.timeout(120)
def test_a_script_moves(here, capsys, monkeypatch):
    short_story(here, "01-harbour")
    old = "from cloudburst_fargate.fargate_operation import execute_parallel_batches\n"
    Path("render.py").write_text(old, "utf-8")
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        anyio.run(leave_a_task)
        time.sleep(0.5)  # by then ECS knows the task
        space = {}
        run_page(MOVE, space)
        assert not emulator.live
    moved = "from cloudburst.blocking import execute_parallel_batches\n"
    assert Path("render.py").read_text("utf-8") == moved
    assert space["result"].success
    out = capsys.readouterr().out
    assert "101 scenes on 10 tasks" in out
    assert re.search(r"arn:aws:ecs:\S+ [A-Z]+ 场景_001\nTerminated 1 tasks", out)
    assert "1 video of 1 scene" in out


async def leave_a_task():
    async with fargate(Settings())(Timeouts(), Tier.STANDARD) as backend:
        spec = TaskSpec(scene="场景_001")
        request = LaunchRequest(spec=spec, token="token", secrets=new_key())
        await backend.launcher.launch(request)

"""The code of the pages runs, both READMEs agree, and quoted messages exist."""

from __future__ import annotations

import re
import time
from pathlib import Path

import anyio
import pytest
from botocore.exceptions import NoCredentialsError

from cloudburst import RenderOptions, Settings, Tier, Timeouts, fargate
from cloudburst.models.task import LaunchRequest, TaskSpec
from cloudburst.ports.backend import new_key
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.doc_pages import (
    ROOT,
    blocks,
    table_of,
)
from support.old_calls import without_settings, write_env

PASSED_ON = (NoCredentialsError.fmt, "… is not authorized to perform: kms:…")
"""Messages of boto and of AWS that the package passes on."""
COMMAND = re.compile(r"(?m)^(?:\$ )?cloudburst .*$")


@pytest.fixture
def here(tmp_path, monkeypatch):
    without_settings(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def scenes(here, make_scene):
    """Two scenes, one of them with the names of ``cloudburst-fargate``."""
    for name in ("one", "two"):
        make_scene(name, seconds=0.2)
    Path("one.wav").rename("one.mp3")
    Path("two.png").rename("two.jpg")
    Path("two.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\n你好\n", "utf-8")
    old = {"image_path": "two.jpg", "audio_path": "two.wav", "subtitle_path": "two.srt"}
    return [
        {"name": "one", "image": "one.png", "audio": "one.mp3"},
        {"scene_name": "场景_002", **old},
    ]


def run_blocks(page, *, only="", space=None):
    """Run the code of a page, except complete programs; return its names."""
    space = {} if space is None else space
    for block in blocks(page, "python"):
        if "asyncio.run" not in block and only in block:
            exec(compile(block, page, "exec"), space)
    return space


@pytest.mark.real
@pytest.mark.timeout(60)
def test_old_calls_list_and_stop_tasks(here, capsys, monkeypatch):
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        settings = Settings(**emulator.environment)
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        space = run_blocks("docs/batches.md", only="async def")
        for name in emulator.environment:
            monkeypatch.delenv(name)

        async def left():
            spec = TaskSpec(scene="场景_001")
            async with fargate(settings)(Timeouts(), Tier.STANDARD) as backend:
                request = LaunchRequest(spec=spec, token="token", secrets=new_key())
                await backend.launcher.launch(request)

        anyio.run(left)
        time.sleep(0.5)  # by then ECS knows the task
        write_env("".join(f"{name}={value}\n" for name, value in emulator.environment.items()))
        anyio.run(space["list_and_clean_up"])
        out = capsys.readouterr().out
        assert re.search(
            r"arn:aws:ecs:\S+ [A-Z]+ .*场景_001\nTerminated 1 tasks, 0 failed 1 0\n", out
        )
        assert not emulator.live


def test_the_pieces_without_rendering_work(here, capsys):
    assert isinstance(run_blocks("docs/looks.md")["options"], RenderOptions)
    assert run_blocks("docs/batches.md")["plan"].num_tasks == 10
    assert "101 scenes on 10 tasks" in capsys.readouterr().out


def test_a_run_is_planned(here, make_scene, capsys):
    forecast = run_blocks("docs/plan.md")["forecast"]
    assert anyio.run(forecast, [make_scene("a")]) == ()
    assert re.search(r"^machine None \d+ \S+ 0\S* True$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.filterwarnings("ignore:AWS_SUBNET_ID is not set:UserWarning")
@pytest.mark.real
@pytest.mark.timeout(60)
def test_the_pieces_of_the_other_pages_work(scenes, capsys, request):
    run_blocks("docs/film.md")
    run_blocks("docs/migration.md", space={"scenes": scenes})
    assert '"successful_scenes": 2' in capsys.readouterr().out


def test_each_fault_has_its_number_and_its_test():
    rows = table_of("docs/migration.md", "1")
    assert [row[0] for row in rows] == [str(number) for number in range(1, 15)]
    tests = (ROOT / "tests/compat/test_fourteen_faults.py").read_text("utf-8")
    for number in range(1, 15):
        assert f"def test_fault_{number:02}_" in tests

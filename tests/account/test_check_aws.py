"""The script for an account that costs money, on one that does not."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import pytest
from accounts import bare, client, set_up
from rich.console import Console

from cloudburst.models.task import Protocol

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

SCRIPT = Path(__file__).parents[2] / "docs" / "check_aws.py"
SEEN = {"provisioning": 0.2, "pending": 2.5, "deprovisioning": 0.1}
"""Slow enough to be looked at once a second."""


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("check_aws", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "check_aws", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def told():
    return Console(file=io.StringIO(), width=80)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """A folder with the .env that ``init`` writes."""
    monkeypatch.chdir(tmp_path)

    async def prepare(emulator, **plan):
        env = tmp_path / ".env"
        await set_up(emulator, env_file=env, sources=("127.0.0.0/8",), **plan)
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)

    return prepare


async def test_every_promise_is_kept_by_the_emulator(script, told, in_folder):
    with bare(**SEEN) as emulator:
        await in_folder(emulator)
        code = await script.main(script.Options(yes=True, lifetime=1.0), told)
        text = told.file.getvalue()
        assert code == 0, text
        assert "BROKEN" not in text
        assert text.count("kept ") == 12
        assert len(emulator.tasks) == 4
        assert emulator.most_live == 1
        assert not emulator.live
        stopped = [call for call in emulator.calls if call.operation == "StopTask"]
        assert len(stopped) == 3  # one has ended by itself


async def test_a_broken_promise_is_told_and_nothing_runs_on(script, told, in_folder, monkeypatch):
    monkeypatch.setattr(script, "MOST", 6.0)
    with bare(**SEEN) as emulator:
        await in_folder(emulator, protocol=Protocol.ONESTEP)
        ecs = client(emulator, "ecs")
        known = ecs.describe_task_definition(taskDefinition="cloudburst-task")["taskDefinition"]
        kept = ("cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn")
        ecs.register_task_definition(  # without watchdog
            family="cloudburst-task",
            containerDefinitions=known["containerDefinitions"][:1],
            **{name: known[name] for name in kept},
        )
        code = await script.main(script.Options(yes=True, spot=False, lifetime=1.0), told)
        text = told.file.getvalue()
        assert code == 1
        assert "BROKEN A task that nobody stops" in text
        assert not emulator.live


async def test_without_a_yes_nothing_is_started(script, told, in_folder, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with bare(**SEEN) as emulator:
        await in_folder(emulator)
        assert await script.main(script.Options(), told) == 1
        assert not emulator.tasks
        assert "they cost $0.0" in told.file.getvalue()


async def test_an_account_that_is_not_set_up_is_not_charged(script, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with bare(moto=False) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        assert await script.main(script.Options(yes=True), told) == 1
        assert "Nothing was started" in told.file.getvalue()


def test_its_estimate_is_below_what_its_first_line_promises(script):
    assert "five cents" in script.__doc__
    assert script.Decimal("0.05") == script.CENTS
    options = script.read_options(["--no-spot", "--lifetime", "30"])
    assert options == script.Options(spot=False, lifetime=30.0)

"""tasks, cleanup, logs and prices as a person or a script sees them, at 80 columns."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from decimal import Decimal

import boto3
import pytest
from cyclopts import App, CycloptsError

from cloudburst.aws.setup import logs, running_tasks
from cloudburst.cli.prices import prices_command
from cloudburst.cli.tasks import cleanup_command, logs_command, tasks_command
from cloudburst.errors import ConfigurationError, ResourceMissingError
from cloudburst.testing import EmulatorConfig, FargateEmulator, Fault
from support.price_list import US, price_list

RUN = "0123456789ab"
QUICK = {"provisioning": 0.05, "pending": 0.05, "stop_timeout": 0.2, "watchdog": False}


def cloudburst(*arguments: str) -> int:
    app = App()
    app.command(tasks_command, name="tasks")
    app.command(cleanup_command, name="cleanup")
    app.command(logs_command, name="logs")
    app.command(prices_command, name="prices")
    return app(arguments, exit_on_error=False, result_action="return_value", print_error=False)


@pytest.fixture(autouse=True)
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it has the keys of another account
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 0.1)
    monkeypatch.setattr(logs, "LOG_DELAY", 0.5)


@pytest.fixture
def account(monkeypatch):
    @contextmanager
    def opened(**config):
        config = {"provisioning": 600.0, "deprovisioning": 0.05, "moto": False, **config}
        with FargateEmulator(EmulatorConfig.quick(**config)) as emulator:
            for name, value in emulator.environment.items():
                monkeypatch.setenv(name, value)
            yield emulator

    return opened


def launch(emulator, number=1, *, run=RUN, ours=True, **more):
    ecs = boto3.client("ecs")
    tags = {"CreatedBy": "animagent", "cloudburst:run": run, "Scene": "第 1 幕"} if ours else {}
    environment = emulator.environment
    network = {"subnets": environment["AWS_SUBNET_ID"].split(","), "assignPublicIp": "ENABLED"}
    network["securityGroups"] = [environment["AWS_SECURITY_GROUP_ID"]]
    answer = ecs.run_task(
        cluster=environment["ECS_CLUSTER_NAME"],
        taskDefinition=environment["ECS_TASK_DEFINITION"],
        count=number,
        networkConfiguration={"awsvpcConfiguration": network},
        tags=[{"key": key, "value": value} for key, value in tags.items()],
        **({} if more else {"launchType": "FARGATE"}),
        **more,
    )
    ecs.close()
    time.sleep(0.2)  # by then all answers of ECS agree on them
    return [task["taskArn"].rpartition("/")[2] for task in answer["tasks"]]


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def shown(capsys):
    """The standard output, which fits the terminal."""
    out = capsys.readouterr().out
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines()), out
    return out


def test_tasks_by_run(account, capsys):
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    large = {"cpu": "16384", "memory": "32768"}
    with account(provisioning=0.05, pending=600) as emulator:
        ids = launch(emulator, 2)
        ids += launch(emulator, run="", capacityProviderStrategy=spot, overrides=large)
        foreign = launch(emulator, ours=False)
        until(lambda: all(task.pull_started for task in emulator.tasks))
        assert cloudburst("tasks") == 0
        out = shown(capsys)
        assert all(task[:12] in out for task in ids)
        assert foreign[0][:12] not in out
        assert f"run {RUN} (started on another machine)" in out
        assert "16/32 Spot" in out
        assert "3 tasks, $0.0" in out
        assert emulator.tasks[0].address in out
        assert cloudburst("tasks", "--everything") == 0
        out = shown(capsys)
        assert foreign[0][:12] in out
        assert "\nnot started by cloudburst\n" in out


def test_tasks_as_json(account, capsys):
    with account(provisioning=0.05, pending=600) as emulator:
        ids = launch(emulator, 2)
        until(lambda: all(task.pull_started for task in emulator.tasks))
        assert cloudburst("tasks", "--json") == 0
        tasks = json.loads(capsys.readouterr().out)
        assert sorted(task["task_arn"].rpartition("/")[2] for task in tasks) == sorted(ids)
        one = tasks[0]
        assert Decimal(one["usd"]) > 0
        assert one["created_at"].startswith("20")
        assert (one["owner"], one["run"], one["scene"]) == ("other_machine", RUN, "第 1 幕")
        old = "task_arn task_definition status started_at cpu memory public_ip tags"
        assert set(old.split()) <= one.keys()


def test_no_tasks(account, capsys):
    with account():
        assert cloudburst("tasks") == 0
        assert shown(capsys).strip() == "No tasks run."
        assert cloudburst("cleanup") == 0
        assert shown(capsys).strip() == "Nothing to stop."
        assert cloudburst("tasks", "--json") == 0
        assert json.loads(capsys.readouterr().out) == []


def test_prices_that_are_not_known_are_told(account, capsys):
    with account(provisioning=0.05, pending=600, region="xx-moon-1") as emulator:
        launch(emulator)
        assert cloudburst("tasks") == 0
        assert "those of this region are not known" in " ".join(shown(capsys).split())


def test_cleanup_of_one_run(account, capsys):
    with account() as emulator:
        (task, *_), other = launch(emulator, 3), launch(emulator, 2, run="another")
        assert cloudburst("cleanup", "--run", RUN, "--dry-run") == 0
        out = shown(capsys)
        assert "Would stop 3 tasks" in out
        assert len(emulator.live) == 5
        assert cloudburst("cleanup", "--run", RUN) == 0
        out = shown(capsys)
        assert "Stopped 3 tasks" in out
        assert task[:12] in out
        assert "2 tasks of run another (started on another machine)" in out
        assert sorted(task.id for task in emulator.live) == sorted(other)
        assert cloudburst("cleanup", "--all", "--older-than", "1h") == 0
        assert "Nothing to stop." in shown(capsys)
        assert cloudburst("cleanup", "--all") == 0
        assert not emulator.live


def test_a_cleanup_that_fails_says_so(account, capsys):
    with account() as emulator:
        launch(emulator, 2)
        emulator.add_fault(
            Fault(operation="StopTask", code="AccessDeniedException", message="not you " * 20)
        )
        assert cloudburst("cleanup", "--all") == 1
        out = shown(capsys)
        assert "1 task could not be stopped and will still be billed." in out
        assert "Stopped 1 task" in out
        assert emulator.live[0].id[:12] in out


def test_cleanups_that_are_not_understood(account):
    with account() as emulator:
        launch(emulator)
        for wrong in (["--older-than", "soon"], ["--older-than", "1w"], ["--run"], ["now"]):
            with pytest.raises(CycloptsError):
                cloudburst("cleanup", *wrong)
        with pytest.raises(ConfigurationError):
            cloudburst("cleanup", "--all", "--run", RUN)
        assert emulator.live


@pytest.mark.parametrize("text", ["90", "10min", "1d"])
def test_older_than_takes_every_duration_that_a_deadline_takes(account, text):
    with account():
        assert cloudburst("cleanup", "--older-than", text, "--dry-run") == 0


def test_logs(account, capsys):
    script = "echo one; printf 'a [red]b\\033[31m\\n'; sleep 0.5; echo three"
    with account(**QUICK, worker=["sh", "-c", script]) as emulator:
        (task,) = launch(emulator)
        assert cloudburst("logs", task[:10], "--follow") == 0
        out = shown(capsys).splitlines()
        assert [line.split(maxsplit=2)[2] for line in out] == [
            "processor one",
            "processor a [red]b�[31m",
            "processor three",
        ]
        assert cloudburst("logs", task, "-n", "1") == 0
        assert shown(capsys).endswith("processor three\n")
        with pytest.raises(ResourceMissingError):
            cloudburst("logs", "0" * 32)
        with pytest.raises(CycloptsError):
            cloudburst("logs", task, "--lines", "-1")


def test_logs_of_a_task_that_says_nothing(account, capsys):
    with account() as emulator:
        (task,) = launch(emulator)
        assert cloudburst("logs", task) == 0
        out, err = capsys.readouterr()
        assert (out, err.strip()) == ("", "The task has written no lines.")


def test_a_long_line_is_left_whole_for_pipes(account, capsys):
    script = "printf '%0300d\\n' 7; sleep 60"
    with account(**QUICK, worker=["sh", "-c", script]) as emulator:
        (task,) = launch(emulator)
        until(lambda: emulator.tasks[0].started)
        time.sleep(0.3)
        assert cloudburst("logs", task) == 0
        assert "0" * 299 + "7" in capsys.readouterr().out


def test_prices(capsys, monkeypatch):
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    assert cloudburst("prices") == 0
    out = shown(capsys)
    assert "STANDARD" in out
    assert "$0.1037" in out  # 0.0987 and an address
    assert "https://aws.amazon.com/fargate/pricing/" in out
    assert "≈" not in out
    monkeypatch.setenv("CLOUDBURST_PUBLIC_ADDRESS", "false")
    assert cloudburst("prices", "--region", "us-east-1") == 0
    assert "$0.0987" in shown(capsys)
    assert cloudburst("prices", "--region", "xx-moon-1") == 0
    out = shown(capsys)
    assert "≈$0.0987" in out
    assert "Its prices are not known" in out


def test_fresh_prices(monkeypatch, capsys):
    with price_list(US) as (environment, _):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert cloudburst("prices", "--refresh") == 0
        assert "AWS Price List API" in shown(capsys)
    assert cloudburst("prices") == 0
    assert "AWS Price List API" in shown(capsys)

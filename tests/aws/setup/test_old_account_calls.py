"""Tasks listed and stopped by the calls of cloudburst-fargate, in an emulated account."""

from __future__ import annotations

import time

import pytest

from cloudburst import FargateOperationV1
from cloudburst.aws.setup import running_tasks
from cloudburst.blocking import FargateOperationV1 as Blocking
from cloudburst.errors import AccessDeniedError, ResourceMissingError
from support.cluster_with_runs import account, launch

pytestmark = pytest.mark.anyio

OLD_PROGRAM = """
from cloudburst.blocking import FargateOperationV1

fargate_op = FargateOperationV1()
running_tasks = fargate_op.list_running_tasks(filter_animagent_only=True)

for task in running_tasks:
    print(f"task: {task['task_arn']}")
    print(f"status: {task['status']}")
    print(f"started: {task['started_at']}")
    print(f"address: {task['public_ip']}")
    print(f"tags: {task['tags']}")

cleanup_result = fargate_op.cleanup_all_tasks(
    reason="定期清理",
    filter_animagent_only=True
)

print(f"result: {cleanup_result['message']}")
print(f"stopped: {cleanup_result['terminated_count']}")
print(f"failed: {cleanup_result['failed_count']}")
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 0.1)


@pytest.fixture
def emulated(monkeypatch, tmp_path):
    """An account that ``.env`` in the current folder names, as ``cloudburst init`` writes it."""

    def named(emulator):
        monkeypatch.chdir(tmp_path)
        lines = (f"{name}={value}\n" for name, value in emulator.environment.items())
        (tmp_path / ".env").write_text("".join(lines))

    return named


def wait_for_start(emulator):
    end = time.monotonic() + 30
    while not all(task.started for task in emulator.tasks):
        assert time.monotonic() < end
        time.sleep(0.02)


async def test_running_tasks(emulated):
    with account(provisioning=0.1, pending=0.1, stop_timeout=0.2) as emulator:
        emulated(emulator)
        (ours,) = launch(emulator, run="run", scene="scene 1")
        (foreign,) = launch(emulator, ours=False)
        wait_for_start(emulator)
        (task,) = await FargateOperationV1().list_running_tasks()
        assert list(task) == [
            "task_arn",
            "task_definition",
            "status",
            "started_at",
            "cpu",
            "memory",
            "public_ip",
            "tags",
        ]
        assert (task["task_arn"], task["status"]) == (ours, "RUNNING")
        assert task["task_definition"] == "cloudburst-task:1"
        assert (task["cpu"], task["memory"]) == ("2048", "4096")
        assert task["public_ip"]
        assert task["started_at"].tzinfo
        assert task["tags"]["CreatedBy"] == "animagent"
        everything = await FargateOperationV1().list_running_tasks(filter_animagent_only=False)
        assert {task.task_arn for task in everything} == {ours, foreign}


async def test_cleanup_stops_ours_and_others_when_told_to(emulated):
    with account() as emulator:
        emulated(emulator)
        ours, (foreign,) = launch(emulator, 2), launch(emulator, ours=False)
        result = await FargateOperationV1().cleanup_all_tasks(reason="Monday")
        assert set(result) == {
            "success",
            "message",
            "terminated_count",
            "failed_count",
            "terminated_tasks",
            "failed_tasks",
        }
        assert result["success"]
        assert (result["terminated_count"], result["failed_count"]) == (2, 0)
        assert sorted(result["terminated_tasks"]) == sorted(ours)
        assert result["message"] == "Terminated 2 tasks, 0 failed"
        reasons = {task.arn: task.stopped_reason for task in emulator.tasks}
        assert reasons[ours[0]] == "Monday"
        assert [task.arn for task in emulator.live] == [foreign]
        result = await FargateOperationV1().cleanup_all_tasks(filter_animagent_only=False)
        assert result.terminated_tasks == [foreign]
        again = await FargateOperationV1().cleanup_all_tasks(filter_animagent_only=False)
        assert (again.success, again.terminated_count) == (True, 0)


async def test_stops_that_are_denied(emulated):
    with account(denied={"ecs:StopTask"}) as emulator:
        emulated(emulator)
        (arn,) = launch(emulator)
        result = await FargateOperationV1().cleanup_all_tasks()
        assert not result.success
        assert result["failed_count"] == 1
        assert result["failed_tasks"][0]["task_arn"] == arn
        assert "StopTask" in result["failed_tasks"][0]["error"]


async def test_a_list_that_fails_is_an_error(emulated, monkeypatch):
    with account(denied={"ecs:ListTasks"}) as emulator:
        emulated(emulator)
        with pytest.raises(AccessDeniedError):
            await FargateOperationV1().list_running_tasks()
    with account() as emulator:
        emulated(emulator)
        monkeypatch.setenv("ECS_CLUSTER_NAME", "elsewhere")
        with pytest.raises(ResourceMissingError):
            await FargateOperationV1().cleanup_all_tasks()


async def test_whether_the_credentials_are_valid(emulated, monkeypatch):
    with account() as emulator:
        emulated(emulator)
        found = await FargateOperationV1().check_aws_account_validity()
        assert (found["valid"], found["account_id"]) == (True, "123456789012")
        assert found["user_arn"].startswith("arn:aws:")
        assert found["message"]
    with account(denied={"sts:GetCallerIdentity"}) as emulator:
        emulated(emulator)
        found = await FargateOperationV1().check_aws_account_validity()
        assert not found["valid"]
        assert found["account_id"] is None
        assert "GetCallerIdentity" in found["message"]


def test_the_program_of_cloudburst_fargate_runs(emulated, capsys):
    with account() as emulator:
        emulated(emulator)
        ours = launch(emulator, 2, scene="场景_001")
        launch(emulator, ours=False)
        assert Blocking().check_aws_account_validity()["valid"]
        exec(compile(OLD_PROGRAM, "old program", "exec"), {})
        out = capsys.readouterr().out
        assert all(f"task: {arn}" in out for arn in ours)
        assert out.count("status: PROVISIONING") == 2
        assert "'Scene': '场景_001'" in out
        assert "stopped: 2\nfailed: 0\n" in out
        assert len(emulator.live) == 1

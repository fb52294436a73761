"""The calls of cloudburst-fargate on an emulated account, with a real process for each task."""

from __future__ import annotations

import os

import pytest

from cloudburst import execute_parallel_batches

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A folder whose ``.env`` names the account."""

    def named(emulator):
        monkeypatch.chdir(tmp_path)
        lines = (f"{name}={value}\n" for name, value in emulator.environment.items())
        (tmp_path / ".env").write_text("".join(lines))

    return named


async def test_two_tasks_with_their_tags_and_keys(account, scenes, here):
    with account() as aws:
        here(aws)
        tags = {}
        aws.on_change(lambda task: tags.setdefault(task.arn, task.tags))
        result = await execute_parallel_batches(
            scenes(4), 2, 2, language="english", config_priority=1
        )
        assert result.success, result
        assert {task.arn for task in aws.tasks} == {t["task_arn"] for t in result["task_results"]}
        assert result.tasks_used == 2
        for task in aws.tasks:
            assert tags[task.arn] == {
                "CreatedBy": "animagent",
                "Purpose": "video-generation",
                "Project": "CloudBurst",
                "Language": "english",
                "Scene": "scene 3",
                "cloudburst:run": result.run,
            }
            assert task.started_by == f"cloudburst/{result.run}"
            assert task.stop_code == "UserInitiated"
        keys = {task.environment["AUTHENTICATION_KEY"] for task in aws.tasks}
        assert len(keys) == 2
        assert all(map(os.path.getsize, result["downloaded_files"]))
        hour = 0.09874 + 0.005
        assert result.total_cost_usd == pytest.approx(2 * hour / 60, rel=0.001)
        assert 0 < result.efficiency.processing_efficiency <= 100

"""A fake account under the calls of old, and nobody's settings."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

from cloudburst import Settings
from cloudburst.compat import calls
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer

KEYS = [
    "success",
    "total_scenes",
    "successful_scenes",
    "failed_scenes",
    "total_cost_usd",
    "total_duration",
    "downloaded_files",
    "task_results",
    "tasks_used",
    "efficiency",
]
OLD_NAMES = [
    "success",
    "successful_scenes",
    "failed_scenes",
    "total_scenes",
    "cost_usd",
    "total_time",
    "batch_results",
    "fargate_config",
    "output_directory",
    "download_dir",
    "downloaded_files",
    "download_count",
    "cost_breakdown",
    "task_arn",
    "public_ip",
    "batch_id",
    "start_index",
    "end_index",
    "task_config",
    "final_cost_usd",
    "total_cost_usd",
    "parallel_time",
    "time_saved",
    "tasks_used",
    "scenes_per_batch",
    "task_results",
    "speedup_factor",
    "cost_per_scene",
    "success_rate",
    "tags",
    "started_at",
    "failed_count",
    "cost_per_hour",
    "scan_and_test_folder",
    "start_fargate_task",
    "wait_for_task_completion",
    "log_timing",
    "timing_log",
    "current_config",
    "task_configs",
    "session",
    "ecs_client",
    "logs_client",
    "cluster_name",
    "task_definition",
    "docker_image",
    "subnet_ids",
    "security_group_ids",
    "api_timeout_minutes",
    "api_request_timeout",
    "auth_key",
    "results_dir",
    "start_time",
]
"""Result keys, methods and attributes of cloudburst-fargate 1.0.1."""
NAMES = sorted(
    choice
    for field in Settings.model_fields.values()
    for choice in field.validation_alias.choices
    if choice.isupper()
)
"""The variables of all settings."""


def without_settings(monkeypatch, tmp_path):
    """An environment and a folder that say nothing."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def write_env(text):
    """The ``.env`` of the current folder."""
    Path(".env").write_text(text, "utf-8")


class Account(FakeCloud):
    """Notes what it was opened with and what it was asked to render."""

    def __init__(self, **facts):
        super().__init__(**facts)
        self.settings = self.timeouts = self.tier = None
        self.seen = {}

    def chosen(self, settings=None):
        """In place of `backend_of`."""
        self.settings = settings
        return self.backend

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        self.timeouts, self.tier = timeouts, tier
        async with super().backend(timeouts, tier) as backend:
            yield backend

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets):
            yield _Noting(self, address)


class _Noting(FakeRenderer):
    async def upload(self, scene, **more):
        self.cloud.seen[scene.scene.name] = scene.scene, scene.options
        return await super().upload(scene)


def account(monkeypatch, **facts):
    """The calls of old render here."""
    cloud = Account(**facts)
    monkeypatch.setattr(calls, "backend_of", cloud.chosen)
    return cloud

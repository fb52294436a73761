"""Starts of processes during which `asyncio.run` ends and cancels every task that is left."""

from __future__ import annotations

import asyncio
import sys

import anyio
import pytest

from cloudburst import Timeouts
from cloudburst.image import wheel_download
from cloudburst.models.task import LaunchRequest, Secrets, TaskSpec
from cloudburst.service import subprocesses
from cloudburst.workers.local import worker_process
from cloudburst.workers.local.backend import open_local_backend

pytestmark = pytest.mark.real

WAIT = (sys.executable, "-S", "-c", "input()")


async def run_program(folder):
    await wheel_download.run_program(WAIT, {})


async def run_child(folder):
    await subprocesses.Subprocesses().run(WAIT, lambda line: None)


async def launch_worker(folder):
    async with open_local_backend(
        folder=folder,
        workers=1,
        encoders=1,
        timeouts=Timeouts(),
        required_modules=(),
        command=WAIT,
    ) as backend:
        request = LaunchRequest(spec=TaskSpec(), token="t", secrets=Secrets(key="k"))
        with anyio.CancelScope(shield=True):
            await backend.launcher.launch(request)


# asyncio forgets the pipes that it has not connected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("module", "start"),
    [
        (wheel_download, run_program),
        (subprocesses, run_child),
        (worker_process, launch_worker),
    ],
)
def test_the_start_ends(module, start, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "START_TIMEOUT", 0.2)

    async def main():
        task = asyncio.create_task(start(tmp_path))
        while not any("_connect_pipes" in repr(each) for each in asyncio.all_tasks()):
            assert not task.done(), task
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        done, _ = await asyncio.wait(others, timeout=30)
        return task in done, others - done

    with asyncio.Runner() as runner:
        assert runner.run(main()) == (True, set())

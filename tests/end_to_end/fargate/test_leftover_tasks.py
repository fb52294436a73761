"""Tasks of finished jobs whose process was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import repeat

import anyio
import pytest

from cloudburst import Client, Limits, Settings, fargate
from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.concurrency import poll
from cloudburst.jobs import JobQueue, JobRequest, JobState, bills

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(120)]

SCRIPT = """
import json, os, signal, sys
import anyio
from cloudburst import Client, Limits, Settings, fargate
from cloudburst.jobs import JobQueue, JobRequest

async def main():
    backend = fargate(Settings(**json.loads(sys.argv[1])))
    # The task waits for the next job, as it would render another one.
    async with Client(backend, limits=Limits(workers=1, idle=600)) as client:
        async with JobQueue(client, sys.argv[2]) as queue:
            job = await queue.submit(JobRequest(scenes=json.loads(sys.argv[3])))
            await queue.wait(job.id)
            os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@pytest.fixture
def scenes(make_scene):
    return [make_scene("a", seconds=0.5)]


def finish_a_job_and_be_killed(aws, folder, scenes):
    arguments = [json.dumps(aws.environment), str(folder), json.dumps(scenes)]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=False, timeout=60)
    assert len(aws.live) == 1, "the killed process has left its task"


async def test_the_next_process_stops_them_and_completes_the_bill(
    quick_account, scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(bills, "INTERVAL", 0.2)
    with quick_account() as aws:
        finish_a_job_and_be_killed(aws, tmp_path / "jobs", scenes)
        async with (
            Client(fargate(Settings(**aws.environment))) as client,
            JobQueue(client, tmp_path / "jobs") as queue,
        ):
            with anyio.fail_after(30):
                job = await poll(lambda: settled_job(queue), delays=repeat(0.05))
        assert job.state is JobState.COMPLETE
        [task] = aws.tasks
        assert task.stopped_reason == "cloudburst: its process has ended"
        assert not await registered_runs()


async def settled_job(queue):
    [job] = (await queue.page()).jobs
    return job if job.cost is not None and job.cost.final else None


async def test_tasks_of_a_process_that_runs_are_kept(quick_account, scenes, tmp_path, monkeypatch):
    """Another process with the same jobs may still use them."""
    monkeypatch.setattr(bills, "INTERVAL", 0.2)
    with quick_account() as aws:
        backend = fargate(Settings(**aws.environment))
        async with (
            Client(backend, limits=Limits(workers=1, idle=600)) as first,
            JobQueue(first, tmp_path / "jobs") as queue,
        ):
            job = await queue.submit(JobRequest(scenes=scenes))
            await queue.wait(job.id)
            async with (
                Client(fargate(Settings(**aws.environment))) as second,
                JobQueue(second, tmp_path / "jobs"),
            ):
                asked = len(aws.calls)
                with anyio.fail_after(30):
                    await poll(lambda: described(aws, asked), delays=repeat(0.05))
                assert len(aws.live) == 1


async def described(aws, asked):
    """Whether the final bill was asked for several times, each time after the stop of tasks."""
    calls = [call.operation for call in aws.calls[asked:]]
    return True if calls.count("DescribeTasks") > 3 else None

"""Jobs on an emulated account."""

from __future__ import annotations

from itertools import repeat

import anyio
import pytest

from cloudburst.concurrency import poll
from cloudburst.jobs import JobEvent, JobQueue, JobRequest, JobState, bills
from support.killable_render import stopped
from support.run_invariants import bill

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.usefixtures("by_the_second"),
]


async def final_cost(queue, job):
    cost = (await queue.job(job)).cost
    return cost if cost is not None and cost.final else None


async def test_the_bill_of_a_job_becomes_final_although_its_process_has_ended(
    account, client_of, scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(bills, "INTERVAL", 0.2)
    with account() as aws:
        async with client_of(aws) as client, JobQueue(client, tmp_path / "jobs") as queue:
            job = await queue.submit(JobRequest(scenes=scenes(2)))
            done = await queue.wait(job.id)
        assert done.state is JobState.COMPLETE
        assert done.cost is not None
        assert not done.cost.final
        tasks = stopped(aws)
        async with client_of(aws) as client, JobQueue(client, tmp_path / "jobs") as queue:
            with anyio.fail_after(15):
                cost = await poll(lambda: final_cost(queue, job.id), delays=repeat(0.05))
            await anyio.sleep(0.5)  # and only one event tells of it
            items = [item async for item in queue.events(job.id, after=done.last_event)]
        assert cost.usd == sum(bill(task, public=True)[1] for task in tasks)
        assert len(aws.tasks) == len(tasks)
    events = [item for item in items if isinstance(item, JobEvent)]
    assert [(event.number, event.type) for event in events] == [
        (done.last_event + 1, "job.settled")
    ]
    assert events[0].data["cost"] == cost.model_dump(mode="json")

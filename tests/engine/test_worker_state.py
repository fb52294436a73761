"""States of a worker, which moves on to later ones only."""

from __future__ import annotations

from itertools import product

import pytest

from cloudburst.engine.pool_state import PoolWorker, WorkerState
from cloudburst.engine.records import WorkerRecord
from cloudburst.engine.scheduler.backend_health import BackendHealth
from cloudburst.engine.scheduler.encoder_slots import has_room
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.errors import CapacityError, Remedy
from cloudburst.models.limits import Limits
from cloudburst.models.task import TaskSpec
from cloudburst.ports.backend import Backend

pytestmark = pytest.mark.anyio
LAUNCHING, STARTING, READY, *_, STOPPING = WorkerState


def worker(state):
    return PoolWorker(
        backend=Backend(name="fake", launcher=None, connect=None),
        number=0,
        spec=TaskSpec(),
        record=WorkerRecord(backend="fake", run="r"),
        expected_audio_seconds=1.0,
        state=state,
    )


@pytest.mark.parametrize(("before", "after"), list(product(WorkerState, repeat=2)))
async def test_a_worker_moves_on_or_not_at_all(before, after):
    it = worker(before)
    it.move_to(after)
    assert it.state is max(before, after)


@pytest.mark.parametrize("state", WorkerState)
async def test_what_a_state_means(state):
    it = worker(state)
    assert it.starting is (state in {LAUNCHING, STARTING})
    assert it.usable is (state in {LAUNCHING, STARTING, READY})
    assert it.stopping is (state is STOPPING)
    assert has_room(it, ahead=False) is (state is READY)


async def test_a_quota_used_by_a_task_that_ended_meanwhile_does_not_end_the_backend():
    refused = worker(LAUNCHING)
    refused.tasks_beside = 1  # when the launch was given up; no worker is left now
    health = BackendHealth([refused.backend], WorkerIndex(), Limits())
    error = CapacityError("the quota")
    error.remedy = Remedy.FEWER_TASKS
    assert not health.on_start_failed(refused, error)
    assert health.room(refused.backend) == 1

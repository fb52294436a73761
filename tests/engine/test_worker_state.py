"""States of a worker, which moves on to later ones only."""

from __future__ import annotations

from itertools import product

import pytest

from cloudburst.engine.pool_state import PoolWorker, WorkerState
from cloudburst.engine.records import WorkerRecord
from cloudburst.engine.scheduler.encoder_slots import has_room
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

"""States of a worker, which moves on to later ones only."""

from __future__ import annotations

from itertools import product

import pytest

from cloudburst.engine.encoder_slots import has_room
from cloudburst.engine.pool_state import PoolWorker, WorkerState
from cloudburst.engine.worker_record import WorkerRecord
from cloudburst.models.task import TaskSpec
from cloudburst.ports.backend import Backend

pytestmark = pytest.mark.anyio
LAUNCHING, STARTING, READY, FAILING, CLOSING, DRAINING, STOPPING = WorkerState
LEGAL = {
    *((LAUNCHING, STARTING), (LAUNCHING, STOPPING)),
    *((STARTING, READY), (STARTING, STOPPING)),
    *((READY, FAILING), (READY, CLOSING), (READY, DRAINING), (READY, STOPPING)),
    *((FAILING, CLOSING), (FAILING, DRAINING), (FAILING, STOPPING)),
    *((CLOSING, DRAINING), (CLOSING, STOPPING)),
    (DRAINING, STOPPING),
}


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
    if (before, after) in LEGAL:
        assert it.move_to(after)
        assert it.state is after
    elif after <= before:
        assert not it.move_to(after)
        assert it.state is before
    else:
        with pytest.raises(ValueError, match=f"from {before.name} to {after.name}"):
            it.move_to(after)
        assert it.state is before


@pytest.mark.parametrize("state", WorkerState)
async def test_what_a_state_means(state):
    it = worker(state)
    assert it.starting is (state in {LAUNCHING, STARTING})
    assert it.usable is (state in {LAUNCHING, STARTING, READY})
    assert it.stopping is (state is STOPPING)
    assert has_room(it, ahead=False) is (state is READY)

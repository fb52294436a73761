"""Workers of running tasks that never answer: what is said, when, and when the run ends."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from cloudburst.errors import ConfigurationError, Remedy, WorkerUnreachableError
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.ports.backend import Silence
from cloudburst.testing import FakeCloud
from support.harness import engine

pytestmark = pytest.mark.anyio

CLOSED = Silence("port 5000 lets in 192.0.2.1/32, and this machine is 192.0.2.9", certain=True)


def mute(*numbers, **facts):
    return FakeCloud(boot=10, encode=5, silent_tasks={f"fake-{n}" for n in numbers}, **facts)


class Explained(FakeCloud):
    """Cloud that knows why its workers do not answer."""

    def __init__(self, silence, **facts):
        super().__init__(boot=10, encode=5, **facts)
        self.silence, self.asked = silence, []

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, explain_silence=self.explain)

    async def explain(self, address):
        self.asked.append((address, anyio.current_time()))
        if isinstance(self.silence, Exception):
            raise self.silence
        return self.silence


async def test_a_known_cause_is_said_after_20_s_and_ends_the_run_after_90(caplog):
    cloud = Explained(CLOSED, silent_tasks={f"fake-{n}" for n in range(9)})
    caplog.set_level(logging.WARNING)
    async with engine(cloud, limits=Limits(workers=1)) as e:
        began = anyio.current_time()
        report = await e.render(["a", "b"])
    assert report.status is Status.FAILED
    assert report.wall_seconds == pytest.approx(10 + 90, abs=2)
    ((address, asked),) = cloud.asked
    assert asked - began == pytest.approx(10 + 20, abs=2)
    assert len(cloud.launched) == 1
    assert not cloud.running
    said = [each.message for each in caplog.records if each.name == "cloudburst.engine.worker"]
    assert said == [f"no render service answered at {address} for 20 s (no answer); {CLOSED.text}"]
    error = report.errors[0]
    assert isinstance(error, WorkerUnreachableError)
    assert (error.remedy, error.task) == (Remedy.FIX_SETUP, "fake-1")
    assert CLOSED.text in str(error)
    assert f"for {90} s" in str(error)


@pytest.mark.parametrize("silence", [None, ConfigurationError("no permission")])
async def test_two_silent_workers_end_the_run_after_90_s_where_the_cause_is_not_known(silence):
    silent = {f"fake-{n}" for n in range(9)}
    cloud = mute(*range(9)) if silence is None else Explained(silence, silent_tasks=silent)
    async with engine(cloud, limits=Limits(workers=2)) as e:
        report = await e.render(["a", "b", "c", "d"])
    assert report.status is Status.FAILED
    assert len(cloud.launched) <= 3  # two, and one that starts after the first has ended
    assert "its program hangs, or its port is blocked" in str(report.errors[0])
    assert "2 tasks in a row gave no answer" in str(report.errors[0])
    assert report.wall_seconds == pytest.approx(10 + 90, abs=3)
    assert not cloud.running


@pytest.mark.parametrize("first", [True, False])
async def test_a_silent_worker_beside_others_ends_alone(first):
    cloud = mute(1 if first else 2)
    cloud.encode = 200
    async with engine(cloud, limits=Limits(workers=2)) as e:
        report = await e.render(["a", "b", "c", "d"])
    assert report.status is Status.COMPLETE
    assert not cloud.running


async def test_the_limit_can_be_lifted():
    cloud = mute(*range(9))
    async with engine(
        cloud, timeouts=Timeouts(reach=None, ready=200), limits=Limits(workers=1, attempts=1)
    ) as e:
        report = await e.render("a")
    assert report.wall_seconds == pytest.approx(200, abs=3)
    assert "WorkerNotReadyError" in report.scenes[0].error

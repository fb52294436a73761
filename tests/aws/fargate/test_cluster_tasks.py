"""Tasks that another process has left are found, with the secrets to use them."""

from __future__ import annotations

import json
from contextlib import suppress

import anyio
import pytest

from cloudburst.aws.fargate.run_registry import registered_runs, runs_folder
from cloudburst.errors import AccessDeniedError, CapacityError
from cloudburst.models.task import Protocol, Secrets, TaskState
from cloudburst.models.tier import Tier
from cloudburst.testing import CapacityShortage, Fault
from support.fargate_backend import account, backend_of, request, until

pytestmark = pytest.mark.anyio

NO_PROCESSES = {"provisioning": 600.0}
"""Tasks that only exist: none gets so far that it runs."""


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def left(emulator, tokens="a", *, run="run1", **more):
    """Tasks of a backend that is closed, as if its process had been killed."""
    async with backend_of(emulator, **more) as backend:
        tier = more.get("tier", Tier.STANDARD)
        return [await backend.launcher.launch(request(t, run=run, tier=tier)) for t in tokens]


async def found(backend, run="run1"):
    return {one.task: one for one in await backend.launcher.find(run)}


async def test_those_of_the_run_are_found_alive_and_stopped():
    with account(**NO_PROCESSES, protocol="native") as emulator:
        first, second = await left(emulator, "ab")
        await left(emulator, "c", run="run10")
        async with backend_of(emulator) as backend:
            tasks = await found(backend)
            assert set(tasks) == {first, second}
            assert {one.status.state for one in tasks.values()} == {TaskState.STARTING}
            await backend.launcher.stop(first, reason="not needed")
            stopped = await until(backend, first, TaskState.STOPPED)
            again = await found(backend)
            assert set(again) == {first, second}
            assert again[first].status.state is TaskState.STOPPED
            assert again[first].status.usage == stopped.usage
            assert again[second].status.state is TaskState.STARTING
            await backend.launcher.stop(second, reason="not needed")
            assert await found(backend, "nobody") == {}


@pytest.mark.nightly
async def test_more_than_a_page_of_them():
    with account(**NO_PROCESSES, protocol="native") as emulator:
        tasks = await left(emulator, [f"t{number}" for number in range(120)])
        async with backend_of(emulator) as backend:
            assert set(await found(backend)) == set(tasks)


async def test_the_secrets_of_our_service_are_told_and_hidden(caplog):
    caplog.set_level("DEBUG")
    with account(**NO_PROCESSES, protocol="native") as emulator:
        async with backend_of(emulator) as backend:
            secrets = backend.new_secrets()
            task = await backend.launcher.launch(request("a", secrets=secrets))
        caplog.clear()
        async with backend_of(emulator) as backend:
            (one,) = (await found(backend)).values()
            assert one.task == task
            assert one.secrets == secrets
            assert secrets.certificate
    said = json.dumps([str(record.__dict__) for record in caplog.records])
    assert "describe_tasks" in said.lower() or "DescribeTasks" in said
    assert secrets.key not in said
    assert secrets.private_key.splitlines()[1] not in said
    assert isinstance(secrets, Secrets)


@pytest.mark.parametrize(
    ("config", "second"),
    [
        ({"protocol": "onestep"}, {}),
        ({"protocol": "native"}, {"tier": Tier.HIGH_PERFORMANCE}),
        ({"protocol": "native"}, {"protocol": Protocol.ONESTEP}),
    ],
    ids=["public image", "other size", "spoken to otherwise"],
)
async def test_others_cannot_be_taken_over(config, second):
    with account(**NO_PROCESSES, **config) as emulator:
        (task,) = await left(emulator)
        async with backend_of(emulator, **second) as backend:
            (one,) = (await found(backend)).values()
            assert one.task == task
            assert one.secrets is None


LARGER = {"fallbacks": ("size",)}
"""Settings with which tasks are larger than their tier if that size has no capacity."""


async def left_larger(emulator, **more):
    """A task of a larger size, because the size of its tier has no capacity."""
    async with backend_of(emulator, **LARGER, **more) as backend:
        for token in "abc":
            with suppress(CapacityError):
                return await backend.launcher.launch(request(token))
    raise AssertionError("no size has capacity")


@pytest.mark.parametrize(
    ("shortage", "size"), [({"memory_gb": 4}, (2, 5 * 1024)), ({"vcpu": 2}, (4, 8 * 1024))]
)
async def test_a_task_of_a_larger_size_is_taken_over_by_a_run_that_may_start_such_tasks(
    shortage, size
):
    shortages = [CapacityShortage(**shortage)]
    with account(**NO_PROCESSES, protocol="native", capacity_shortages=shortages) as emulator:
        await left_larger(emulator)
        (task,) = emulator.tasks
        assert (task.vcpu, task.memory_mb) == size
        async with backend_of(emulator, fallbacks=()) as backend:
            (one,) = (await found(backend)).values()
            assert one.secrets is None
        async with backend_of(emulator, **LARGER) as backend:
            (one,) = (await found(backend)).values()
            assert one.secrets is not None


async def test_a_task_of_another_revision_cannot_be_taken_over():
    with account(**NO_PROCESSES, protocol="native") as emulator:
        await left(emulator)
        emulator.register(protocol="native")
        async with backend_of(emulator) as backend:
            (one,) = (await found(backend)).values()
            assert one.secrets is None


async def test_tasks_without_our_tag_are_left_alone():
    with account(**NO_PROCESSES, protocol="native") as emulator:
        await left(emulator)
        (task,) = emulator.tasks
        task.tags["CreatedBy"] = "somebody"
        async with backend_of(emulator) as backend:
            assert emulator.tasks[0].tags["CreatedBy"] == "somebody"
            assert await found(backend) == {}


async def test_a_run_that_finds_orphans_registers_them():
    with account(**NO_PROCESSES, protocol="native") as emulator:
        await left(emulator, "ab")
        (dead,) = await registered_runs()
        assert not dead.active
        async with backend_of(emulator) as backend:
            tasks = list(await found(backend))
            (known,) = await registered_runs()
            assert (known.run, known.active) == ("run1", True)
            assert known.path != dead.path
            for task in tasks:
                assert await registered_runs()
                await backend.launcher.stop(task, reason="not needed")
            assert await registered_runs() == ()
        assert list(runs_folder().iterdir()) == []


async def test_when_they_cannot_be_listed_nobody_forgets_them():
    with account(**NO_PROCESSES, protocol="native") as emulator:
        await left(emulator)
        denied = Fault(operation="ListTasks", kind="error", code="AccessDeniedException")
        async with backend_of(emulator) as backend:
            emulator.add_fault(denied)
            with pytest.raises(AccessDeniedError), anyio.fail_after(30):
                await found(backend)
        assert {run.run for run in await registered_runs()} == {"run1"}

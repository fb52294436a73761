"""After a lack of capacity the next launches use the fallbacks, as far as the settings allow."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from uuid import uuid4

import aioboto3
import pytest

from cloudburst import Client, Limits, Status, fargate
from cloudburst.aws.fargate import placement
from cloudburst.errors import CapacityError, Remedy
from cloudburst.events import SceneEncoding
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskState
from cloudburst.models.tier import Tier
from cloudburst.testing import CapacityShortage, Fault, TaskFault
from cloudburst.text import short_task
from support.fargate_backend import account, backend_of, request, stop, until

pytestmark = pytest.mark.anyio

NO_PROCESSES = {"provisioning": 600.0}
A, B, C = (f"subnet-0c10adb005700000{number}" for number in (1, 2, 3))


@asynccontextmanager
async def noted(emulator, **changes):
    """A backend, and the subnets that each RunTask names."""
    environment, subnets = emulator.environment, []
    session = aioboto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )

    def note(params, **_):
        network = json.loads(params["body"])["networkConfiguration"]["awsvpcConfiguration"]
        subnets.append(network["subnets"])

    session.events.register("before-call.ecs.RunTask", note)
    async with backend_of(emulator, session=session, **changes) as backend:
        yield backend, subnets


async def asked(backend, *, tries=12, tier=Tier.STANDARD):
    """Ask as the engine does: after a refusal with a new token. Returns the refusals."""
    refusals = []
    while len(refusals) < tries:
        try:
            await backend.launcher.launch(request(uuid4().hex, tier=tier))
        except CapacityError as exc:
            refusals.append(exc)
        else:
            break
    return refusals


def shape(task):
    return (task.spot, task.vcpu, task.memory_mb / 1024)


def warnings_of(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == placement.__name__ and record.levelno >= logging.WARNING
    ]


# Each rung, on an account that lacks what is below it.


async def test_each_subnet_alone_is_another_zone(caplog):
    shortages = [CapacityShortage(zone="a")]
    # With this seed, AWS first chooses zone a.
    with account(**NO_PROCESSES, capacity_shortages=shortages, seed=1) as emulator:
        async with noted(emulator) as (backend, subnets):
            assert len(await asked(backend)) == 2, "all at once, then a alone, then b"
            assert await asked(backend) == [], "and from there on b at once"
        assert subnets == [[A, B, C], [A], [B], [B]]
        assert [shape(task) for task in emulator.tasks] == [(False, 2, 4)] * 2
    told = warnings_of(caplog)
    assert len(told) == 2
    assert f"in {B} only, at the same price" in told[1]
    assert "Capacity is unavailable" in told[1]


async def test_on_demand_in_place_of_spot(caplog):
    with account(
        **NO_PROCESSES, capacity_shortages=[CapacityShortage(provider="FARGATE_SPOT")]
    ) as emulator:
        async with backend_of(emulator, capacity="FARGATE_SPOT") as backend:
            assert len(await asked(backend)) == 4
        assert [shape(task) for task in emulator.tasks] == [(False, 2, 4)]
    # A STANDARD task in us-east-1, by the rates of AWS's page, with its address: $0.1037 an hour
    # on demand; on Spot 0.3184 of vCPU and memory, as the price table says.
    assert (
        "on demand instead of Spot, for $0.1037 an hour instead of $0.0364"
        in warnings_of(caplog)[-1]
    )


async def test_more_memory_and_then_more_vcpu(caplog):
    shortages = [CapacityShortage(vcpu=2, memory_gb=4)]
    with account(**NO_PROCESSES, capacity_shortages=shortages) as emulator:
        async with backend_of(emulator, subnets=(A,)) as backend:
            assert len(await asked(backend)) == 1
        assert shape(emulator.tasks[0]) == (False, 2, 5)
    with account(**NO_PROCESSES, capacity_shortages=[CapacityShortage(vcpu=2)]) as emulator:
        async with backend_of(emulator, subnets=(A,)) as backend:
            assert len(await asked(backend)) == 2
        assert shape(emulator.tasks[0]) == (False, 4, 8)
    assert "with 4 vCPU and 8 GB, for $0.2025 an hour instead of $0.1082" in warnings_of(caplog)[-1]


async def test_a_larger_task_encodes_no_more_than_its_tier():
    with account(
        **NO_PROCESSES, capacity_shortages=[CapacityShortage(vcpu=2)], protocol="native"
    ) as emulator:
        async with backend_of(emulator, subnets=(A,)) as backend:
            await asked(backend)
            assert emulator.tasks[0].vcpu == 4
            assert emulator.tasks[0].environment["CLOUDBURST_ENCODERS"] == str(
                backend.encoder_slots
            )


async def test_sizes_beyond_the_setting_are_not_tried():
    shortages = [CapacityShortage(provider="FARGATE_SPOT")]
    with account(**NO_PROCESSES, capacity_shortages=shortages) as emulator:
        spot = {"capacity": "FARGATE_SPOT"}
        async with noted(emulator, **spot, fallbacks=("subnet",)) as (backend, subnets):
            assert len(await asked(backend, tries=6)) == 6
        assert subnets == [[A, B, C], [A], [B], [C], [A, B, C], [A]]
        async with noted(emulator, **spot, fallbacks=()) as (backend, subnets):
            assert len(await asked(backend, tries=6)) == 6
        assert subnets == [[A, B, C]] * 6
        assert not emulator.tasks


async def test_a_quota_is_no_lack_of_room(caplog):
    """Another subnet has the same quota: it says which, and what to do."""
    with account(**NO_PROCESSES, vcpu_quota=4) as emulator:
        async with noted(emulator) as (backend, subnets):
            assert await asked(backend) == []
            assert await asked(backend) == []
            refusals = await asked(backend, tries=3)
    assert subnets == [[A, B, C]] * 5
    assert {refusal.remedy for refusal in refusals} == {Remedy.FEWER_TASKS}
    assert "L-3032A538" in str(refusals[0])
    assert "cloudburst doctor" in str(refusals[0])
    assert warnings_of(caplog) == []


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("fault", "rungs"),
    [
        ({"code": "InvalidParameterException", "message": "x (ErrorCode: {})"}, 2),
        ({"kind": "failures", "reason": "RESOURCE:CPU"}, 2),
        ({"kind": "failures", "reason": "AGENT"}, 2),
        ({"code": "LimitExceededException", "message": "no"}, 1),
        ({"kind": "failures", "reason": "Internal error."}, 2),
        ({"kind": "failures", "reason": "something new"}, 2),
    ],
    ids=["no addresses", "resource", "agent", "limit", "internal error", "unknown"],
)
async def test_every_lack_of_room_climbs_and_no_limit_does(fault, rungs):
    fault = {k: v.replace("{}", "InsufficientFreeAddressesInSubnet") for k, v in fault.items()}
    with account(**NO_PROCESSES) as emulator:
        emulator.add_fault(Fault(operation="RunTask", **fault))
        async with noted(emulator) as (backend, subnets):
            assert len(await asked(backend)) == 1
    assert len({tuple(named) for named in subnets}) == rungs


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("reason", "place"),
    [
        ("Capacity is unavailable at this time.", ([A], 4)),
        ("CannotPullContainerError: ref pull: dial tcp 1.2.3.4:443: i/o timeout", ([A], 4)),
        ("OutOfMemoryError: Container killed due to memory usage", ([A, B, C], 5)),
        ("Timeout waiting for network interface provisioning to complete.", ([A, B, C], 4)),
    ],
    ids=["no room", "no way out", "too little memory", "bad luck"],
)
async def test_a_task_that_could_not_start_shows_the_way_too(reason, place, caplog):
    with account(task_faults={0: TaskFault(stopped_reason=reason)}) as emulator:
        async with noted(emulator) as (backend, subnets):
            task = await backend.launcher.launch(request("one"))
            await until(backend, task, TaskState.STOPPED)
            other = await backend.launcher.launch(request("two"))
            assert (subnets[1], emulator.tasks[1].memory_mb / 1024) == place
            await stop(backend, other)
    assert len(warnings_of(caplog)) == (place != ([A, B, C], 4))
    assert all(text.startswith(f"task {short_task(task)}: ") for text in warnings_of(caplog))


async def test_spot_that_takes_back_twice_is_left_for_on_demand(caplog):
    with account() as emulator:
        async with backend_of(emulator, capacity="FARGATE_SPOT") as backend:
            for number in range(3):
                task = await backend.launcher.launch(request(f"t{number}"))
                await until(backend, task, TaskState.RUNNING)
                if emulator.tasks[number].spot:
                    emulator.interrupt(number, notice=0.1)
                    await until(backend, task, TaskState.STOPPED)
                    await until(backend, task, TaskState.STOPPED)
            await backend.launcher.stop(task, reason="done")
        assert [task.spot for task in emulator.tasks] == [True, True, False]
    assert ["Spot interrupted 2 tasks" in told for told in warnings_of(caplog)] == [True]


@pytest.mark.few(1)
@pytest.mark.parametrize("lag", [0.1, -0.5, 1.5])
async def test_spot_notices_use_up_no_attempts_and_end_on_demand(make_scene, tmp_path, lag):
    """With one attempt for a scene: two Spot tasks are taken from under it, the third is not."""
    encoding = {"STUB_GENERATE_SECONDS": "1"}
    with account(worker_environment=encoding, interruption_lag=lag) as emulator:
        settings = Settings(**emulator.environment, capacity="FARGATE_SPOT")
        client = Client(fargate(settings), limits=Limits(workers=1, attempts=1))
        async with client, client.stream([make_scene("one")], to=tmp_path / "out") as run:
            async for event in run:
                if isinstance(event, SceneEncoding) and emulator.tasks[-1].spot:
                    emulator.interrupt(event.task, notice=0.1)
        assert (await run.report()).status is Status.COMPLETE
        assert (await run.report()).scenes[0].attempts == 3
        assert [task.spot for task in emulator.tasks] == [True, True, False]
        assert [task.stop_code for task in emulator.tasks[:2]] == ["SpotInterruption"] * 2

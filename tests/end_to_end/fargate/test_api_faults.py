"""What AWS's API does wrong, one thing at a time: videos come, nothing is left, bills add up."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from cloudburst import Client, Limits, Timeouts, fargate
from cloudburst.errors import ResourceMissingError
from cloudburst.events import SceneEncoding, WorkerLaunched
from cloudburst.testing import AWS_BUCKETS, Bucket, Fault, TaskFault
from support.emulator_settings import settings_of
from support.run_invariants import HURRIED, first, hold, tried

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("by_the_second"),
]

CROWDED = (Bucket(name="run and stop", operations=("RunTask", "StopTask"), burst=2, per_second=2),)
"""What is left of an allowance that somebody else uses too."""


def notes(trial, operation):
    """How calls of an operation ended, and how often."""
    return Counter(call.note for call in trial.calls if call.operation == operation)


@pytest.mark.nightly
async def test_nothing_goes_wrong(account, scenes, out):
    with account() as aws:
        trial = await tried(aws, scenes(4), out)
    hold(trial)
    assert len(trial.tasks) == 2


@pytest.mark.nightly
async def test_starts_take_their_time(account, scenes, out):
    with account(jitter=0.5, task_faults={0: TaskFault(start_delay=1.5)}) as aws:
        trial = await tried(aws, scenes(4), out, limits=Limits(workers=3))
    hold(trial)


@pytest.mark.nightly
async def test_a_new_task_is_not_seen_at_first(account, scenes, out):
    with account(new_task_invisible=1.6) as aws:
        trial = await tried(aws, scenes(2), out)
    hold(trial)
    assert len(trial.tasks) == 2, "MISSING is no reason to start another one"


async def test_a_new_task_is_not_even_known_when_it_shall_stop(account, scenes, out):
    with account(new_task_invisible=1.5) as aws:
        backend, limits = fargate(settings_of(aws)), Limits(workers=2)
        async with Client(backend, limits=limits, timeouts=HURRIED) as client:
            run = client.stream(scenes(2), to=out)
            async with run as events:
                async for event in events:
                    if isinstance(event, WorkerLaunched):
                        break  # leaving cancels everything
        assert not aws.live
        refused = Counter(call.note for call in aws.calls if call.operation == "StopTask")
        assert refused["InvalidParameterException"], "it was not known, and asked for again"
        assert refused[""] == len(aws.tasks)


@pytest.mark.few(1)
@pytest.mark.parametrize("reason", ["RESOURCE:CPU", "Capacity is unavailable at this time."])
async def test_there_is_no_room_for_a_while(account, scenes, out, reason):
    with account() as aws:
        aws.add_fault(Fault(operation="RunTask", kind="failures", reason=reason, times=3))
        trial = await tried(aws, scenes(3), out)
    hold(trial)
    assert len(trial.tokens) == len(trial.tasks) + 3, "a refusal calls for a new request"


async def test_there_is_room_for_one_only(account, scenes, out):
    with account(max_running=1) as aws:
        trial = await tried(aws, scenes(3), out, limits=Limits(workers=3))
    hold(trial)
    assert trial.max_live == 1


@pytest.mark.nightly
async def test_a_burst_within_the_rates_of_aws(account, scenes, out):
    """More launches at once than Fargate takes: they wait here, and few are refused there."""
    with account(buckets=AWS_BUCKETS) as aws:
        limits = Limits(workers=110)
        patient = Timeouts(stop=60, settle=30)
        trial = await tried(aws, scenes(110), out, limits=limits, timeouts=patient)
    hold(trial)
    # On a fast machine the first workers finish their scenes before the last ones are launched.
    assert notes(trial, "RunTask")[""] == notes(trial, "StopTask")[""] == len(trial.tasks) >= 100
    # A call that a busy machine delays may arrive together with later ones: it is refused, and
    # repeated.
    assert notes(trial, "RunTask")["ThrottlingException"] <= 11


@pytest.mark.few(1)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
async def test_others_use_up_the_rate(account, scenes, out, wrapped):
    with account(buckets=CROWDED, wrap_throttling=wrapped) as aws:
        trial = await tried(aws, scenes(4), out, limits=Limits(workers=4))
    hold(trial)
    code = "InvalidParameterException" if wrapped else "ThrottlingException"
    assert notes(trial, "RunTask")[code]


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", ["lost", "dropped", "doubled"])
async def test_launches_are_answered_badly(account, scenes, out, kind):
    with account() as aws:
        aws.add_fault(Fault(operation="RunTask", kind=kind, times=2))
        trial = await tried(aws, scenes(3), out)
    hold(trial)
    assert notes(trial, "RunTask")[kind] == 2
    assert len(trial.tasks) == len(trial.tokens) == 2
    if kind != "doubled":
        assert sum(trial.tokens.values()) == 4, "asked again with the same token"


@pytest.mark.nightly
async def test_an_answer_comes_too_late_for_the_caller(account, scenes, out):
    """A launch that is done, and whose answer comes after the caller's patience."""
    with account() as aws:
        aws.add_fault(Fault(operation="RunTask", kind="delay", seconds=3))
        timeouts = Timeouts(call=1, stop=8, settle=15)
        trial = await tried(aws, scenes(2), out, timeouts=timeouts)
    hold(trial)
    assert len(trial.tasks) == 2


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="StopTask", kind="lost", times=2),
        Fault(operation="StopTask", kind="dropped", times=2),
        Fault(operation="StopTask", times=3),
        Fault(operation="StopTask", code="ServerException", status=500, times=2),
    ],
    ids=["lost", "dropped", "throttled", "5xx"],
)
async def test_stops_are_answered_badly(account, scenes, out, fault):
    with account() as aws:
        aws.add_fault(fault)
        trial = await tried(aws, scenes(2), out)
    hold(trial)
    assert notes(trial, "StopTask")[""] >= 2 - (fault.kind == "lost")


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="DescribeTasks", kind="lost", skip=1, times=3),
        Fault(operation="DescribeTasks", skip=1, times=3),
        Fault(operation="DescribeTasks", code="ServerException", status=500, skip=1, times=3),
        Fault(operation="DescribeTasks", kind="delay", seconds=2, skip=1, times=2),
        Fault(operation="DescribeNetworkInterfaces", code="RequestLimitExceeded", times=2),
        Fault(operation="DescribeNetworkInterfaces", kind="lost", times=2),
    ],
    ids=["lost", "throttled", "5xx", "late", "addresses throttled", "addresses lost"],
)
async def test_tasks_that_cannot_be_described_for_a_while_are_waited_for(
    account, scenes, out, fault
):
    with account() as aws:
        aws.add_fault(fault)
        trial = await tried(aws, scenes(3), out)
    hold(trial)
    assert len(trial.tasks) == 2


async def test_tasks_that_cannot_be_described_while_they_work_go_on(account, scenes, out):
    """The rendering goes on without AWS, and what ends meanwhile is noticed by the line to it."""

    def blind(event):
        aws.add_fault(Fault(operation="DescribeTasks", kind="dropped", times=4))

    with account(worker_environment={"STUB_GENERATE_SECONDS": "1"}) as aws:
        trial = await tried(aws, scenes(4), out, watch=first(SceneEncoding, blind))
    hold(trial)
    assert len(trial.tasks) == 2


@pytest.mark.parametrize("missing", ["ECS_CLUSTER_NAME", "ECS_TASK_DEFINITION"])
async def test_what_the_settings_name_is_not_there(account, scenes, out, missing):
    with account() as aws:
        with anyio.fail_after(30), pytest.raises(ResourceMissingError):
            await tried(aws, scenes(1), out, settings={missing: "nothing"})
        assert not aws.tasks

"""Answers of AWS's API that are not AWS's: no task is left, there is a report, no other error."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import anyio
import pytest

from cloudburst import Client, Limits, Settings, Status, Timeouts, fargate
from cloudburst.aws.client.client import open_aws
from cloudburst.errors import NoAnswerError
from cloudburst.events import SceneCompleted, WorkerLaunched, WorkerReady
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.garbling_proxy import KINDS, garbling
from support.short_waits import shorten_waits

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(120)]

QUICK = {"provisioning": 0.1, "pending": 0.2, "deprovisioning": 0.1, "moto": False}
TIMEOUTS = Timeouts(call=3, launch=40, ready=30, scene=30, silence=5, stop=20, settle=20)
HASTY = Timeouts(call=1, launch=4, ready=4, scene=10, silence=3, stop=2, settle=1)
OPERATIONS = (
    "RunTask",
    "StopTask",
    "DescribeTasks",
    "DescribeNetworkInterfaces",
    "DescribeTaskDefinition",
)
FIRST, DONE = "first", "done"
MOMENTS = {FIRST: (), "middle": WorkerReady, "at stop": SceneCompleted}
"""When garbling begins: with the first call, or with the first event of a kind."""
CASES = [
    (operation, kind, moment, (DONE, "not done")[number % 2])
    for number, (operation, kind, moment) in enumerate(
        itertools.product(OPERATIONS, KINDS, MOMENTS)
    )
    if operation != "DescribeTaskDefinition" or moment == FIRST
]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    shorten_waits(monkeypatch)


@pytest.fixture
def make_scenes(make_scene):
    return lambda count: [make_scene(f"scene {n}", seconds=0.3) for n in range(count)]


@contextmanager
def account(**facts):
    """An emulated account and a proxy in front of it."""
    with (
        FargateEmulator(EmulatorConfig(**QUICK | facts)) as emulator,
        garbling(emulator.url) as garbler,
    ):
        # Requests are signed for the address of the proxy.
        emulator._inside.api.hosts |= {garbler.url.removeprefix("http://")}
        yield emulator, garbler


def settings_of(emulator, garbler):
    return Settings(**emulator.environment | {"AWS_ENDPOINT_URL": garbler.url})


async def rendered(emulator, garbler, scenes, out, *, timeouts=TIMEOUTS, on=None):
    """The final report of a run; ``on`` is called with each event."""
    backend = fargate(settings_of(emulator, garbler))
    async with (
        Client(backend, limits=Limits(workers=2), timeouts=timeouts) as client,
        client.stream(scenes, to=out) as run,
    ):
        async for event in run:
            if on:
                on(event)
        return await run.settled()


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("case", CASES, ids=" ".join)
async def test_two_garbled_answers_cost_a_run_nothing(make_scenes, tmp_path, case):
    """What AWS has done all the same is found again by its token; what it has not is repeated."""
    operation, kind, moment, mode = case
    with account() as (emulator, garbler):

        def begin(event=None):
            right = event is None or isinstance(event, MOMENTS[moment])
            if right and not garbler.operations:
                garbler.garble([operation], kind, times=2, done=mode == DONE)

        if moment == FIRST:
            begin()
        report = await rendered(emulator, garbler, make_scenes(2), tmp_path / "out", on=begin)
        assert (report.status, len(report.videos)) == (Status.COMPLETE, 2), report.problem
        assert not emulator.live
        assert not any(worker.possibly_running for worker in report.workers)
        assert {worker.task for worker in report.workers} == {task.arn for task in emulator.tasks}
        assert report.cost.final


OUTAGES = [
    (kind, moment)
    for kind in ("login page", "redirection", "refusal of a proxy", "nothing")
    for moment in (WorkerLaunched, WorkerReady, SceneCompleted)
]


@pytest.mark.few(1)
@pytest.mark.parametrize(("kind", "moment"), OUTAGES, ids=str)
async def test_a_login_page_for_all_calls_for_some_seconds(make_scenes, tmp_path, kind, moment):
    """The page is gone before a stop may no longer take: then no task is left."""
    with account() as (emulator, garbler):
        async with anyio.create_task_group() as tasks:

            async def hold():
                garbler.garble(["*"], kind, times=10**6, done=False)
                await anyio.sleep(2)
                garbler.stop()

            def on(event):
                if isinstance(event, moment) and not garbler.garbled and not garbler.left:
                    tasks.start_soon(hold)

            report = await rendered(emulator, garbler, make_scenes(3), tmp_path / "out", on=on)
        assert garbler.garbled
        assert report.status is Status.COMPLETE
        assert not emulator.live


@pytest.mark.few(1)
@pytest.mark.parametrize("moment", [WorkerLaunched, WorkerReady, SceneCompleted])
async def test_a_login_page_that_stays_ends_the_run_with_a_report(make_scenes, tmp_path, moment):
    """Nobody can stop tasks then: the report says so, and `cloudburst cleanup` finds them."""
    with account() as (emulator, garbler):

        def on(event):
            if isinstance(event, moment) and not garbler.left:
                garbler.garble(["*"], "login page", times=10**6, done=False)

        with anyio.fail_after(60):
            report = await rendered(
                emulator, garbler, make_scenes(2), tmp_path / "out", timeouts=HASTY, on=on
            )
        garbler.stop()
        live = {task.arn for task in emulator.live}
        assert live <= {worker.task for worker in report.workers if worker.possibly_running}


# Questions outside of a run: each is answered by the right error, whatever came.

QUESTIONS = {
    "GetCallerIdentity": lambda aws, settings: aws.account_id(),
    "ListTasks": lambda aws, settings: aws.collect_pages(
        "ecs", "list_tasks", "taskArns", cluster=settings.cluster
    ),
    "DescribeTaskDefinition": lambda aws, settings: aws.call(
        "ecs", "describe_task_definition", taskDefinition=settings.task_definition
    ),
    "DescribeClusters": lambda aws, settings: aws.call(
        "ecs", "describe_clusters", clusters=[settings.cluster]
    ),
    "DescribeSecurityGroups": lambda aws, settings: aws.collect_pages(
        "ec2", "describe_security_groups", "SecurityGroups"
    ),
    "GetServiceQuota": lambda aws, settings: aws.call(
        "service-quotas", "get_service_quota", ServiceCode="fargate", QuotaCode="L-3032A538"
    ),
    "GetRole": lambda aws, settings: aws.call("iam", "get_role", RoleName="cloudburst"),
    "GetLogEvents": lambda aws, settings: aws.call(
        "logs", "get_log_events", logGroupName="g", logStreamName="s"
    ),
    "DescribeLogStreams": lambda aws, settings: aws.call(
        "logs", "describe_log_streams", logGroupName="g"
    ),
    "GetProducts": lambda aws, settings: aws.collect_pages(
        "pricing", "get_products", "PriceList", in_region="us-east-1", ServiceCode="AmazonECS"
    ),
    "AssumeRole": lambda aws, settings: aws.call(
        "sts", "assume_role", RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="session"
    ),
}
ASKED = list(itertools.product(QUESTIONS, KINDS))


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(("operation", "kind"), ASKED, ids=str)
async def test_a_question_outside_of_a_run_gets_no_answer(monkeypatch, operation, kind):
    monkeypatch.setattr("cloudburst.aws.client.client.MAX_ATTEMPTS", 1)
    with account() as (emulator, garbler):
        settings = settings_of(emulator, garbler)
        garbler.garble([operation], kind, times=10**6)
        async with open_aws(settings) as aws:
            with pytest.raises(NoAnswerError) as caught:
                await QUESTIONS[operation](aws, settings)
        assert len(str(caught.value)) < 2500, "a page is not quoted whole"

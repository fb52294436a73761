"""The watcher in virtual time, with a small fake of ECS."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import anyio
import pytest

from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.aws.fargate.watcher import LOST_REASON, UNKNOWN_TASK_GRACE, AWSClock, Watcher
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CredentialsError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskState
from cloudburst.testing import VirtualClockLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"loop_factory": VirtualClockLoop})


@pytest.fixture
def short_waits():
    """Replace the short waits of tests with real time: these are about the intervals."""


def described(arn, status="PROVISIONING", *, interface=None, desired="RUNNING", **more):
    details = [{"name": "subnetId", "value": "subnet-1"}]
    if interface:
        details += [
            {"name": "networkInterfaceId", "value": interface},
            {"name": "privateIPv4Address", "value": "10.0.0.1"},
        ]
    return {
        "taskArn": arn,
        "lastStatus": status,
        "desiredStatus": desired,
        "attachments": [{"type": "ElasticNetworkInterface", "details": details}],
        "containers": [{"name": "cloudburst-processor"}],
        "cpu": "2048",
        "memory": "4096",
        "createdAt": datetime.fromtimestamp(1_800_000_000, UTC),
        **more,
    }


class FakeAWS:
    """Fake of `AWSClient` with the calls of the watcher."""

    def __init__(self):
        self.tasks = {}
        self.public = {}
        self.errors = []
        self.asked = []
        self.addresses = []

    async def call(self, service, operation, *, cluster, tasks):
        assert (service, operation) == ("ecs", "describe_tasks")
        assert 1 <= len(tasks) <= 100
        await anyio.sleep(0.05)
        self.asked.append((anyio.current_time(), len(tasks)))
        if self.errors:
            raise self.errors.pop(0)
        known = [self.tasks[arn] for arn in tasks if arn in self.tasks]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in tasks if arn not in self.tasks]
        return {"tasks": known, "failures": missing}

    async def collect_pages(self, service, operation, key, *, Filters):  # noqa: N803
        ids = Filters[0]["Values"]
        assert 1 <= len(ids) <= 200
        self.addresses.append((anyio.current_time(), len(ids)))
        return [
            {"NetworkInterfaceId": i, "Association": {"PublicIp": self.public[i]}}
            if i in self.public
            else {"NetworkInterfaceId": i}
            for i in ids
        ]


@pytest.fixture
async def watching():
    aws = FakeAWS()
    async with anyio.create_task_group() as tasks:
        watcher = Watcher(aws, Settings(cluster="c"), containers=())
        tasks.start_soon(watcher.run)
        yield aws, watcher
        tasks.cancel_scope.cancel()


async def test_a_watcher_without_tasks_calls_nothing(watching):
    aws, watcher = watching
    await anyio.sleep(3600)
    assert aws.asked == []
    aws.tasks["a"] = described("a", "STOPPED")
    watcher.watch("a")
    await anyio.sleep(3600)
    assert len(aws.asked) == 1
    assert watcher.get("a").stopped


async def test_tasks_of_long_ago_are_forgotten(watching):
    aws, watcher = watching
    for number in range(10):
        aws.tasks[f"a{number}"] = described(f"a{number}", "STOPPED")
        watcher.watch(f"a{number}")
        await anyio.sleep(1000)
    assert len(watcher._tasks) == 4
    aws.tasks.clear()
    assert watcher.get("a9").stopped
    assert not watcher.get("a0").stopped  # asked for anew
    await anyio.sleep(UNKNOWN_TASK_GRACE + 2)
    assert watcher.get("a0").lost


async def test_how_often_depends_on_what_is_expected(watching):
    aws, watcher = watching
    aws.tasks["a"] = described("a")
    watcher.watch("a", parse_task_description(aws.tasks["a"]))
    await anyio.sleep(10.5)
    assert len(aws.asked) == pytest.approx(10, abs=1)  # no address: each second
    aws.tasks["a"] = described("a", "PENDING", interface="eni-1")
    aws.public["eni-1"] = "54.0.0.1"
    await anyio.sleep(1.5)
    assert watcher.get("a").public_ip == "54.0.0.1"
    aws.asked.clear()
    await anyio.sleep(50)
    assert len(aws.asked) == pytest.approx(10, abs=1)  # nothing is about to change: each 5 s
    assert len(aws.addresses) == 1
    watcher.record_stop("a")
    aws.tasks["a"] = described("a", "STOPPING", interface="eni-1", desired="STOPPED")
    aws.asked.clear()
    await anyio.sleep(60)
    gaps = [b[0] - a[0] for a, b in zip(aws.asked, aws.asked[1:], strict=False)]
    assert gaps[0] == pytest.approx(1, abs=0.6)
    assert gaps[-1] == pytest.approx(5, abs=0.2)
    aws.tasks["a"] = described("a", "STOPPED", interface="eni-1", desired="STOPPED")
    await anyio.sleep(5.5)
    assert watcher.get("a").stopped


async def test_tasks_are_looked_at_a_hundred_to_a_call(watching):
    aws, watcher = watching
    for number in range(250):
        arn = f"task-{number}"
        aws.tasks[arn] = described(arn)
        watcher.watch(arn)
        await anyio.sleep(0.01)  # they do not come at once
    aws.asked.clear()
    await anyio.sleep(30)
    assert len(aws.asked) <= 3 * 31
    assert sum(number for _, number in aws.asked) >= 250 * 25


async def test_a_task_that_is_not_visible_yet_is_not_lost(watching):
    aws, watcher = watching
    watcher.watch("a", parse_task_description(described("a")))
    await anyio.sleep(UNKNOWN_TASK_GRACE - 1)
    assert not watcher.get("a").stopped
    assert not watcher.is_gone("a")
    aws.tasks["a"] = described("a", "RUNNING", interface="eni-1")
    await anyio.sleep(2)
    assert watcher.get("a").description.state is TaskState.RUNNING
    del aws.tasks["a"]
    await anyio.sleep(UNKNOWN_TASK_GRACE - 1)
    assert not watcher.get("a").stopped
    await anyio.sleep(6)
    assert watcher.get("a").lost
    assert watcher.is_gone("a")


async def test_no_error_ends_it_and_it_backs_off(watching, caplog):
    aws, watcher = watching
    aws.tasks["a"] = described("a", interface="eni-1")
    aws.public["eni-1"] = "54.0.0.1"
    kinds = (ThrottledError, NoAnswerError, AWSError, CredentialsError)
    aws.errors = [kind("no") for kind in kinds for _ in range(3)]
    watcher.watch("a")
    with anyio.fail_after(12 * 21):
        while aws.errors:  # noqa: ASYNC110
            await anyio.sleep(0.5)
    gaps = [b[0] - a[0] for a, b in zip(aws.asked, aws.asked[1:], strict=False)]
    assert min(gaps) >= 1
    assert sum(gaps) > 30
    with pytest.raises(CredentialsError):
        watcher.get("a")
    await anyio.sleep(21)
    assert watcher.get("a").public_ip == "54.0.0.1"
    assert "the state of tasks is unknown" in caplog.text


async def test_refused_addresses_are_told_only_of_tasks_that_lack_one(watching):
    aws, watcher = watching
    aws.tasks["a"] = described("a", interface="eni-1")
    aws.public["eni-1"] = "54.0.0.1"
    watcher.watch("a")
    await anyio.sleep(1)

    async def denied(*_args, **_more):
        raise AccessDeniedError("no")

    aws.collect_pages = denied
    aws.tasks["b"] = described("b", interface="eni-2")
    watcher.watch("b")
    await anyio.sleep(2)
    assert watcher.get("a").public_ip
    with pytest.raises(AccessDeniedError):
        watcher.get("b")


async def test_no_public_address_is_logged_once_and_looked_for_on(watching, caplog):
    aws, watcher = watching
    aws.tasks["a"] = described("a", "RUNNING", interface="eni-1")
    watcher.watch("a")
    await anyio.sleep(30)
    assert watcher.get("a").has_no_address
    assert caplog.text.count("no public address") == 1
    assert 6 <= len(aws.asked) <= 12
    aws.public["eni-1"] = "54.0.0.1"
    await anyio.sleep(6)
    assert watcher.get("a").public_ip
    assert not watcher.get("a").has_no_address


async def test_a_thousand_tasks_cost_little_of_the_loop():
    aws = FakeAWS()
    watcher = Watcher(aws, Settings(cluster="c"), containers=())
    for number in range(1000):
        arn, interface = f"task-{number}", f"eni-{number}"
        aws.tasks[arn] = described(arn, "RUNNING", interface=interface)
        aws.public[interface] = "54.0.0.1"
        watcher.watch(arn)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.run)
        await anyio.sleep(2)
        began = time.process_time()
        await anyio.sleep(50)  # ten rounds
        spent = time.process_time() - began
        tasks.cancel_scope.cancel()
    assert len(aws.asked) == 110
    assert spent < 2.0  # of 50; about 0.25 when nothing else runs


def test_awss_clock_is_known_from_below():
    clock = AWSClock()
    clock.observe(1000.0, received_at=10.0)
    clock.observe(1001.5, received_at=11.0)  # this answer was quicker
    clock.observe(1002.0, received_at=12.0)
    clock.observe(None, received_at=0.0)
    assert clock.at(12.0) == 1002.5


def test_reasons_in_plain_words():
    stopped = described(
        "a",
        "STOPPED",
        desired="STOPPED",
        stopCode="TaskFailedToStart",
        stoppedReason="CannotPullContainerError: no such image",
        containers=[
            {"name": "one", "reason": "CannotPullContainerError: no such image"},
            {"name": "two", "exitCode": 0},
            {"name": "three", "exitCode": 137, "reason": "OutOfMemoryError"},
        ],
    )
    assert parse_task_description(stopped).reason == (
        "CannotPullContainerError: no such image (TaskFailedToStart); two: exit code 0; "
        "three: exit code 137, OutOfMemoryError"
    )
    assert parse_task_description(described("a")).reason == ""
    assert "any more" in LOST_REASON

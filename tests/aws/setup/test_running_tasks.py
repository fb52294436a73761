"""Running tasks are listed, and exactly the orphans are stopped."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import anyio
import pytest

from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.aws.setup import running_tasks
from cloudburst.aws.setup.running_tasks import cleanup, list_tasks
from cloudburst.errors import AccessDeniedError, ConfigurationError, ResourceMissingError
from cloudburst.models.account_tasks import TaskOwner
from cloudburst.models.prices import IPV4_USD_PER_SECOND, US_EAST_1_RATES
from cloudburst.testing import AWS_BUCKETS, Fault
from support.cluster_with_runs import (
    account,
    client,
    count,
    dead_run,
    launch,
    living_run,
    settings_of,
)

pytestmark = pytest.mark.anyio

RUN = "0123456789ab"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 0.3)


def named(tasks):
    return sorted(task.task_arn for task in tasks)


async def test_250_tasks_are_listed_with_three_questions_and_their_tags():
    with account() as emulator:
        arns = launch(emulator, 240, run=RUN, scene="scene 1")
        launch(emulator, 10, ours=False)
        tasks = await list_tasks(settings_of(emulator))
        assert named(tasks) == sorted(arns)
        assert count(emulator, "ListTasks") == 3
        assert count(emulator, "DescribeTasks") == 3
        assert len(await list_tasks(settings_of(emulator), include_foreign=True)) == 250
        one = tasks[0]
        assert (one.run, one.scene, one.owner) == (RUN, "scene 1", TaskOwner.OTHER_MACHINE)
        assert (one.cpu, one.memory, one.status) == ("2048", "4096", "PROVISIONING")
        assert one.task_definition == "cloudburst-task:1"
        assert (one.public_ip, one.started_at, one.usd, one.billed_seconds) == (None, None, 0, 0)
        assert 0 <= one.age_seconds < 20


async def test_a_running_task_has_an_address_and_costs_a_minute_at_least():
    with account(provisioning=0.1, pending=0.1, stop_timeout=0.2) as emulator:
        launch(emulator, 2)
        until(lambda: all(task.started for task in emulator.tasks))
        tasks = await list_tasks(settings_of(emulator))
        assert {task.public_ip for task in tasks} == {task.address for task in emulator.tasks}
        assert count(emulator, "DescribeNetworkInterfaces") == 1
        for task in tasks:
            second = 2 * US_EAST_1_RATES.vcpu + 4 * US_EAST_1_RATES.memory_gb + IPV4_USD_PER_SECOND
            assert (task.status, task.billed_seconds) == ("RUNNING", 60)
            assert task.usd == (60 * second).quantize(Decimal("1e-12"))
            assert not task.price_assumed
        private = await list_tasks(settings_of(emulator, CLOUDBURST_PUBLIC_ADDRESS="false"))
        assert [task.public_ip for task in private] == [None, None]
        assert all(task.private_ip for task in private)
        assert count(emulator, "DescribeNetworkInterfaces") == 1


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


async def test_spot_arm_and_disk_have_their_own_prices():
    with account(provisioning=0.1, pending=600, architecture="ARM64") as emulator:
        launch(
            emulator,
            run=RUN,
            capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
            overrides={"cpu": "4096", "memory": "8192", "ephemeralStorage": {"sizeInGiB": 30}},
        )
        until(lambda: all(task.pull_started for task in emulator.tasks))
        (task,) = await list_tasks(settings_of(emulator))
        assert (task.capacity, task.architecture, task.cpu) == ("FARGATE_SPOT", "ARM64", "4096")
        hour = 4 * Decimal("0.03238") + 8 * Decimal("0.00356")
        second = (
            hour * Decimal("0.3184") / 3600 + 10 * US_EAST_1_RATES.disk_gb + IPV4_USD_PER_SECOND
        )
        assert abs(task.usd / (60 * second) - 1) < Decimal("0.001")


async def test_where_ec2_may_not_be_asked_addresses_are_missing_and_nothing_else(caplog):
    config = {"provisioning": 0.1, "pending": 600, "denied": {"ec2:DescribeNetworkInterfaces"}}
    with account(**config) as emulator:
        launch(emulator, run=RUN)
        until(lambda: all(task.address for task in emulator.tasks))
        (task,) = await list_tasks(settings_of(emulator))
        assert task.public_ip is None
        assert task.private_ip
        assert "public addresses are not shown" in caplog.text


async def test_whose_a_task_is():
    with account() as emulator:
        arns = {run: launch(emulator, run=run) for run in ("alive", "dead", "elsewhere")}
        (old,) = launch(emulator)
        (foreign,) = launch(emulator, run="dead", ours=False)
        (tagless,) = launch(emulator, ours=False, started_by="cloudburst/dead")
        (started,) = launch(emulator, started_by="cloudburst/dead")
        dead_run("dead", emulator)
        with living_run("alive", emulator):
            tasks = await list_tasks(settings_of(emulator), include_foreign=True)
        whose = {task.task_arn: task.owner for task in tasks}
        assert whose == {
            arns["alive"][0]: TaskOwner.ACTIVE,
            arns["dead"][0]: TaskOwner.ORPHAN,
            arns["elsewhere"][0]: TaskOwner.OTHER_MACHINE,
            old: TaskOwner.OTHER_MACHINE,
            foreign: TaskOwner.FOREIGN,
            tagless: TaskOwner.FOREIGN,
            started: TaskOwner.ORPHAN,
        }


async def test_a_bare_cleanup_stops_dead_runs_of_this_machine_and_nothing_else():
    with account() as emulator:
        dead = launch(emulator, 13, run="dead")
        alive, other = launch(emulator, 2, run="alive"), launch(emulator, 3, run="other")
        foreign = launch(emulator, 2, ours=False) + launch(emulator, run="dead", ours=False)
        dead_run("dead", emulator)
        with living_run("alive", emulator):
            report = await cleanup(settings_of(emulator))
        assert report.success
        assert named(report.stopped) == sorted(dead)
        assert all(task.tags["cloudburst:run"] == "dead" for task in report.stopped)
        assert named(report.kept) == sorted(alive + other)
        assert report.forgotten_runs == ("dead",)
        assert named(emulator_live(emulator)) == sorted(alive + other + foreign)
        assert {task.stopped_reason for task in emulator.tasks if not task.live} == {
            "cloudburst cleanup"
        }
        assert [run.run for run in await registered_runs()] == ["alive"]
        again = await cleanup(settings_of(emulator))
        # By now that one is dead as well.
        assert named(again.stopped) == sorted(alive)


def emulator_live(emulator):
    class Named:
        def __init__(self, task):
            self.task_arn = task.arn

    return [Named(task) for task in emulator.live]


async def test_a_cleanup_without_tasks_is_one_list():
    with account() as emulator:
        launch(emulator, run="other")
        report = await cleanup(settings_of(emulator))
        assert (report.stopped, report.failed, len(report.kept)) == ((), (), 1)
        assert count(emulator, "ListTasks") == 1
        assert count(emulator, "StopTask") == 0


async def test_a_dry_run_stops_nothing_and_forgets_nothing():
    with account() as emulator:
        launch(emulator, 3, run="dead")
        launch(emulator, run="other")
        dead_run("dead", emulator)
        report = await cleanup(settings_of(emulator), dry_run=True)
        assert report.dry_run
        assert (len(report.stopped), len(report.kept)) == (3, 1)
        assert count(emulator, "StopTask") == 0
        assert len(emulator.live) == 4
        assert [run.run for run in await registered_runs()] == ["dead"]


async def test_one_run_wherever_it_was_started():
    with account() as emulator:
        mine, other = launch(emulator, 2, run="one"), launch(emulator, 2, run="two")
        foreign = launch(emulator, run="one", ours=False)
        report = await cleanup(settings_of(emulator), run="one", reason="x" * 2000)
        assert named(report.stopped) == sorted(mine)
        assert named(emulator_live(emulator)) == sorted(other + foreign)
        assert emulator.tasks[0].stopped_reason == "x" * 1024


async def test_everything_is_130_tasks_of_ours_and_foreign_ones_only_when_told():
    with account(buckets=AWS_BUCKETS) as emulator:
        ours = launch(emulator, 70, run="one") + launch(emulator, 25)
        await anyio.sleep(2)  # Fargate's own launch rate
        ours += launch(emulator, 35, run="two")
        await anyio.sleep(1)
        foreign = launch(emulator, 2, ours=False)
        report = await cleanup(settings_of(emulator), all_tasks=True)
        assert report.success
        assert named(report.stopped) == sorted(ours)
        assert not report.kept
        assert named(emulator_live(emulator)) == sorted(foreign)
        accepted = [c for c in emulator.calls if c.operation == "StopTask" and c.status == 200]
        assert len(accepted) == 130
        report = await cleanup(settings_of(emulator), all_tasks=True, tagged_only=False)
        assert named(report.stopped) == sorted(foreign)
        assert not emulator.live


@pytest.mark.timeout(40)
async def test_only_old_tasks_when_told():
    with account() as emulator:
        dead_run("dead", emulator)
        old = launch(emulator, 2, run="dead")
        await anyio.sleep(4)
        young = launch(emulator, 2, run="dead")
        age = time.time() - min(task.created for task in emulator.tasks if task.arn in young)
        report = await cleanup(settings_of(emulator), older_than=age + 3.5)
        assert named(report.stopped) == sorted(old)
        assert named(report.kept) == sorted(young)
        assert report.forgotten_runs == ()
        assert [run.run for run in await registered_runs()] == ["dead"]


async def test_a_stop_that_is_denied_is_told_and_its_run_not_forgotten():
    with account() as emulator:
        launch(emulator, 3, run="dead")
        dead_run("dead", emulator)
        emulator.add_fault(
            Fault(operation="StopTask", code="AccessDeniedException", message="not you")
        )
        report = await cleanup(settings_of(emulator))
        assert not report.success
        (failed,) = report.failed
        assert "not you" in failed.error
        assert len(report.stopped) == 2
        assert [task.arn for task in emulator.live] == [failed.task.task_arn]
        assert report.forgotten_runs == ()
        assert [run.run for run in await registered_runs()] == ["dead"]
        assert (await cleanup(settings_of(emulator))).forgotten_runs == ("dead",)


async def test_throttled_and_unanswered_stops_are_repeated():
    with account() as emulator:
        launch(emulator, 4, run="one")
        emulator.add_fault(Fault(operation="StopTask", times=2))
        emulator.add_fault(Fault(operation="StopTask", kind="lost"))
        report = await cleanup(settings_of(emulator), run="one")
        assert (len(report.stopped), report.failed) == (4, ())
        assert not emulator.live
        assert count(emulator, "StopTask") == 7


async def test_a_stop_that_is_never_answered_is_given_up(monkeypatch):
    monkeypatch.setattr(running_tasks, "STOP_REQUEST_TIMEOUT", 1.0)
    with account() as emulator:
        launch(emulator, 2, run="one")
        emulator.add_fault(Fault(operation="StopTask", kind="dropped", times=None))
        report = await cleanup(settings_of(emulator), run="one")
        assert (len(report.failed), report.stopped) == (2, ())
        assert "answer" in report.failed[0].error


async def test_a_task_that_ends_by_itself_meanwhile_is_no_failure(monkeypatch):
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 3.0)
    with account() as emulator:
        (arn,) = launch(emulator, run="one")
        fault = Fault(
            operation="StopTask",
            code="InvalidParameterException",
            message="The referenced task was not found.",
        )
        emulator.add_fault(fault)
        ends = threading.Thread(target=end_after_a_stop, args=(emulator, arn))
        ends.start()
        report = await cleanup(settings_of(emulator), run="one")
        ends.join()
        assert (named(report.stopped), report.failed) == ([arn], ())


def end_after_a_stop(emulator, arn):
    until(lambda: count(emulator, "StopTask"))
    client(emulator).stop_task(cluster=emulator.environment["ECS_CLUSTER_NAME"], task=arn)


async def test_tasks_that_are_not_listed_yet_are_found_by_another_look(monkeypatch):
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 1.0)
    with account(new_task_invisible=0.8) as emulator:
        dead_run("dead", emulator)
        arns = launch(emulator, 3, run="dead")
        report = await cleanup(settings_of(emulator))
        assert named(report.stopped) == sorted(arns)
        assert report.forgotten_runs == ("dead",)


async def test_tasks_that_are_launched_meanwhile_are_stopped_too(monkeypatch):
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 1.0)
    with account() as emulator:
        launch(emulator, 2, run="one")
        goes_on = threading.Thread(target=replace_what_is_stopped, args=(emulator, 3))
        goes_on.start()
        report = await cleanup(settings_of(emulator), run="one")
        goes_on.join()
        assert len(report.stopped) == 5
        assert not emulator.live


def replace_what_is_stopped(emulator, times):
    for _ in range(times):
        until(lambda: not emulator.live)
        launch(emulator, run="one")


async def test_looks_come_to_an_end_though_launches_do_not(monkeypatch):
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 0.6)
    monkeypatch.setattr(running_tasks, "MAX_LISTS", 4)
    over = threading.Event()
    with account() as emulator:
        launch(emulator, run="one")

        def for_ever():
            while not over.wait(0.02):
                launch(emulator, run="one")

        goes_on = threading.Thread(target=for_ever)
        goes_on.start()
        try:
            report = await cleanup(settings_of(emulator), run="one")
        finally:
            over.set()
            goes_on.join()
        assert report.stopped
        assert count(emulator, "ListTasks") == 4


async def test_a_dead_run_of_another_cluster_is_not_forgotten():
    with account() as emulator:
        dead_run("there", emulator, cluster="another-cluster")
        dead_run("here", emulator)
        report = await cleanup(settings_of(emulator))
        assert report.forgotten_runs == ("here",)
        assert [run.run for run in await registered_runs()] == ["there"]


async def test_wishes_that_contradict_themselves():
    with account() as emulator:
        launch(emulator, run="one")
        for wish in ({"run": "one", "all_tasks": True}, {"tagged_only": False}, {"run": ""}):
            with pytest.raises(ConfigurationError):
                await cleanup(settings_of(emulator), **wish)
            assert emulator.live


async def test_what_is_missing_or_denied_is_raised():
    with account(denied={"ecs:ListTasks"}) as emulator:
        with pytest.raises(AccessDeniedError):
            await list_tasks(settings_of(emulator))
        with pytest.raises(AccessDeniedError):
            await cleanup(settings_of(emulator))
    with account() as emulator, pytest.raises(ResourceMissingError):
        await cleanup(settings_of(emulator, ECS_CLUSTER_NAME="nowhere"))

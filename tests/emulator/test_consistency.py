"""ECS is eventually consistent: what it tells of a task comes late, and not everywhere at once."""

from __future__ import annotations

import signal
import time
from dataclasses import fields, replace

import pytest

from cloudburst.emulator.config import QUICK_TIMES
from cloudburst.testing import EmulatorConfig
from support.emulator_calls import (
    CLUSTER,
    client,
    lasts,
    logged,
    reach,
    request,
    run,
    seen,
    spot,
    stop,
    until,
)


def described(emulator, task):
    answer = client(emulator, "ecs").describe_tasks(cluster=CLUSTER, tasks=[task.arn])
    return answer["tasks"][0] if answer["tasks"] else None


def listed(emulator, status="RUNNING"):
    answer = client(emulator, "ecs").list_tasks(cluster=CLUSTER, desiredStatus=status)
    return answer["taskArns"]


def test_tasks_are_invisible_at_first_without_being_asked_for(emulate):
    assert EmulatorConfig().new_task_invisible > 0
    assert EmulatorConfig().disagreement > 0
    emulator = emulate(new_task_invisible=0.5)
    [task] = run(emulator)
    assert described(emulator, task) is None
    assert listed(emulator) == []
    assert described(emulator, seen(emulator, task))


def test_list_and_describe_disagree_for_a_moment(emulate):
    emulator = emulate(new_task_invisible=0, disagreement=1.0)
    first, second = run(emulator, count=2)
    assert listed(emulator) == [second.arn]
    assert described(emulator, first)
    assert described(emulator, second) is None
    seen(emulator, second)
    assert set(listed(emulator)) == {first.arn, second.arn}
    assert described(emulator, second)


def test_a_stopped_task_is_listed_as_running_for_a_moment(emulate):
    emulator = emulate(disagreement=0.6)
    [task] = run(emulator)
    reach(emulator, task, "RUNNING")
    stop(emulator, task)
    assert listed(emulator) == [task.arn]
    assert listed(emulator, "STOPPED") == []
    assert described(emulator, task)["desiredStatus"] == "STOPPED"
    time.sleep(0.7)
    assert listed(emulator) == []
    assert listed(emulator, "STOPPED") == [task.arn]


def test_containers_and_attachment_come_after_the_task(emulate):
    emulator = emulate(provisioning=10.0, new_task_invisible=0, disagreement=0)
    answer = client(emulator, "ecs").run_task(**request(emulator))
    [shown] = answer["tasks"]
    assert (shown["containers"], shown["attachments"]) == ([], [])
    [task] = emulator.tasks
    shown = until(lambda: (one := described(emulator, task))["attachments"] and one, interval=0.05)
    assert shown["containers"]
    assert shown["attachments"][0]["status"] == "PRECREATED"
    assert [item["name"] for item in shown["attachments"][0]["details"]] == ["subnetId"]


class TestInterruption:
    """The order of SIGTERM and what the API tells of it."""

    def run(self, emulate, **more):
        emulator = emulate(worker_environment={"STUB_TERM": "drain"}, **more)
        [task] = run(emulator, **spot())
        task = reach(emulator, task, "RUNNING")
        until(lambda: words(emulator, "listening"))
        return emulator, task

    def test_sigterm_may_come_first(self, emulate):
        emulator, task = self.run(emulate, interruption_lag=1.0)
        emulator.freeze(task, 0.5)  # so that it cannot end at once
        emulator.interrupt(task)
        assert emulator.tasks[0].live, "the API does not tell yet"
        task = reach(emulator, task, "STOPPED")
        assert task.stop_code == "SpotInterruption"
        assert task.exit_code == 0
        assert words(emulator, "SIGTERM") == 1, "it is sent once"

    def test_a_worker_that_goes_on_is_told_of_and_killed_after_its_notice(self, emulate):
        emulator = emulate(worker_environment={"STUB_TERM": "ignore"}, interruption_lag=0.3)
        [task] = run(emulator, **spot())
        task = reach(emulator, task, "RUNNING")
        until(lambda: words(emulator, "listening"))
        began = time.monotonic()
        emulator.interrupt(task, notice=3.0)
        task = until(lambda: not emulator.tasks[0].live and emulator.tasks[0])
        assert (task.stop_code, task.last_status) == ("SpotInterruption", "STOPPING")
        assert lasts(time.monotonic() - began, 0.3)
        task = reach(emulator, task, "STOPPED")
        assert task.exit_code == 128 + signal.SIGKILL
        assert lasts(time.monotonic() - began, 3.0)

    def test_a_stop_during_an_interruption_reports_the_interruption(self, emulate):
        emulator, task = self.run(emulate, interruption_lag=5.0)
        emulator.freeze(task, 0.5)
        emulator.interrupt(task)
        shown = client(emulator, "ecs").stop_task(cluster=CLUSTER, task=task.arn)["task"]
        assert shown["stopCode"] == "SpotInterruption"
        assert reach(emulator, task, "STOPPED").exit_code == 0
        assert words(emulator, "SIGTERM") == 1

    def test_the_api_may_tell_first(self, emulate):
        emulator, task = self.run(emulate, interruption_lag=-0.6)
        emulator.interrupt(task)
        assert (emulator.tasks[0].stop_code, emulator.tasks[0].last_status) == (
            "SpotInterruption",
            "DEACTIVATING",
        )
        assert not words(emulator, "SIGTERM")
        reach(emulator, task, "STOPPED")
        assert words(emulator, "SIGTERM") == 1


def words(emulator, text):
    return sum(line.startswith(text) for line in logged(emulator))


class TestTimes:
    """Real times by default, short ones for tests, and the same rules in both."""

    def test_stopping_takes_as_long_as_at_aws(self):
        config = EmulatorConfig()
        assert config.deprovisioning == 14
        assert config.interface_lingers == 10
        assert config.role_assumable == 10

    def test_quick_accounts_differ_in_times_only(self):
        quick, plain = EmulatorConfig.quick(), EmulatorConfig()
        assert replace(plain, **QUICK_TIMES) == quick
        times = {field.name for field in fields(quick) if field.type == "float"}
        assert set(QUICK_TIMES) <= times
        assert all(0 < value <= getattr(plain, name) for name, value in QUICK_TIMES.items())

    def test_quick_accounts_can_be_changed(self):
        assert EmulatorConfig.quick(pending=9, account_blocked=True).pending == 9

    @pytest.mark.parametrize("name", sorted(QUICK_TIMES))
    def test_no_rule_is_switched_off_by_a_short_time(self, name):
        assert getattr(EmulatorConfig.quick(), name) > 0

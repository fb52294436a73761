"""Room for tasks: quotas, new accounts, and capacity that is told late."""

from __future__ import annotations

import time

from botocore.exceptions import ClientError

from cloudburst.emulator.config import AWS_BUCKETS
from cloudburst.emulator.token_buckets import TokenBuckets
from cloudburst.testing import CapacityShortage
from support.emulator_calls import client, reach, refused, request, run, spot
from support.fault_mixes import lost_tasks


def reasons(emulator, **more):
    answer = client(emulator, "ecs").run_task(**request(emulator, **more))
    return [failure["reason"] for failure in answer["failures"]]


def test_the_quota_of_spot_has_words_of_its_own(emulate):
    emulator = emulate(spot_vcpu_quota=2.0)
    assert reasons(emulator, **spot()) == []
    assert reasons(emulator, **spot()) == [
        "You've reached the limit on the number of spot tasks you can run concurrently"
    ]
    assert reasons(emulator) == [], "on demand has another quota"


def test_a_task_that_is_larger_than_the_quota_is_told_so(emulate):
    emulator = emulate(vcpu_quota=6.0)
    large = {"overrides": {"cpu": "8192", "memory": "16384"}}
    assert reasons(emulator, **large) == ["The requested CPU configuration is above your limit."]


def test_a_blocked_account_starts_nothing_whatever_its_quotas_say(emulate):
    emulator = emulate(account_blocked=True, vcpu_quota=100.0)
    for more in ({}, spot()):
        assert reasons(emulator, **more) == [
            "You've reached the limit on the number of tasks you can run concurrently"
        ]
    quota = client(emulator, "service-quotas").get_service_quota(
        ServiceCode="fargate", QuotaCode="L-3032A538"
    )
    assert quota["Quota"]["Value"] == 100.0


def test_lack_of_capacity_may_come_as_a_stopped_task(emulate):
    emulator = emulate(
        capacity_shortages=[CapacityShortage(provider="FARGATE_SPOT", as_stopped_task=True)]
    )
    [task] = run(emulator, **spot())
    task = reach(emulator, task, "STOPPED")
    assert task.stop_code == "TaskFailedToStart"
    assert task.stopped_reason.startswith("Capacity is unavailable at this time")
    assert not task.pull_started, "nothing of it is billed"
    assert reach(emulator, run(emulator)[0], "RUNNING")


def test_twenty_calls_of_run_task_pass_at_once(emulator):
    assert emulator.config.buckets is AWS_BUCKETS, "without being asked for"
    ecs, asked = client(emulator, "ecs"), request(emulator)
    codes = []
    began = time.monotonic()
    for _ in range(60):
        try:
            ecs.run_task(**asked)
        except ClientError as error:
            codes.append((error.response["Error"]["Code"], error.response["Error"]["Message"]))
    seconds = time.monotonic() - began
    assert 20 <= len(emulator.tasks) <= 21 + 20 * seconds
    assert set(codes) <= {("ThrottlingException", "Rate exceeded")}
    assert codes or seconds > 1.5, "a slow machine never asks too often"


def test_stopping_is_no_call_of_run_task():
    throttle = TokenBuckets(AWS_BUCKETS, clock=lambda: 0.0)
    assert [throttle.allows("RunTask") for _ in range(21)] == [True] * 20 + [False]
    assert all(throttle.allows("StopTask") for _ in range(80)), "what is left of their hundred"
    assert not throttle.allows("StopTask")


def test_chance_decides_by_its_seed(emulate):
    def lost(seed):
        emulator = emulate(lost_interfaces=0.5, cpu_spread=0.5, seed=seed, provisioning=30)
        for _ in range(3):
            run(emulator, count=10)
        registry = emulator._inside.registry
        faults = [registry.lifecycle(task.id).fault for task in emulator.tasks]
        assert {1 <= fault.slow <= 1.5 for fault in faults} == {True}
        assert len({fault.slow for fault in faults}) > 1
        return [fault.never_attached for fault in faults]

    first = lost(7)
    assert lost(7) == first
    assert 0 < sum(first) < 30


def test_the_random_mixes_of_faults_know_which_tasks_lose_theirs(emulate):
    emulator = emulate(lost_interfaces=0.3, seed=7, jitter=0.2, provisioning=30)
    run(emulator, count=10)
    registry = emulator._inside.registry
    lost = [t.number for t in emulator.tasks if registry.lifecycle(t.id).fault.never_attached]
    assert lost == lost_tasks(7, 0.3, 10)
    assert lost


def test_a_lost_interface_stays_provisioning_until_ecs_gives_it_up(emulate):
    emulator = emulate(lost_interfaces=1.0, interface_timeout=1.0)
    [task] = run(emulator)
    time.sleep(0.6)
    assert emulator.tasks[0].last_status == "PROVISIONING"
    task = reach(emulator, task, "STOPPED")
    assert "Timeout waiting for network interface" in task.stopped_reason
    assert task.interface is None


def test_plain_accounts_leave_nothing_to_chance(emulator):
    config = emulator.config
    assert (config.lost_interfaces, config.cpu_spread, config.jitter) == (0, 0, 0)


def test_started_by_is_refused_beside_other_filters(emulator):
    ecs = client(emulator, "ecs")
    with refused("InvalidParameterException") as caught:
        ecs.list_tasks(cluster="cloudburst-cluster", startedBy="me", family="x")
    told = caught.value.response["Error"]["Message"]
    assert told == "cannot specify startedBy with other arguments"
    ecs.list_tasks(cluster="cloudburst-cluster", startedBy="me", desiredStatus="STOPPED")

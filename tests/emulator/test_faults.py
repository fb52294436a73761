"""Faults of the API: throttles, lost answers, credentials that end."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from cloudburst.emulator.token_buckets import TokenBuckets
from cloudburst.testing import AWS_BUCKETS, Bucket, EmulatorConfig, FargateEmulator, Fault
from support.emulator_calls import (
    CLUSTER,
    QUICK,
    client,
    network,
    new_client,
    reach,
    refused,
    request,
    run,
    spot,
    stop,
    until,
)

HURRIED = Bucket(name="run and stop", operations=("RunTask", "StopTask"), burst=3, per_second=5)
STINGY = [replace(bucket, per_second=0) for bucket in AWS_BUCKETS]
"""They never fill again: how long a test takes does not matter."""


def launch(emulator, **more):
    return client(emulator, "ecs").run_task(**request(emulator, **more))


def notes(emulator, operation="RunTask"):
    return [(call.status, call.note) for call in emulator.calls if call.operation == operation]


def test_error_is_what_was_asked_for(emulator):
    emulator.add_fault(Fault(operation="RunTask", code="ServerException", status=500, message="no"))
    with refused("ServerException"):
        launch(emulator)
    launch(emulator)
    assert notes(emulator) == [(500, "ServerException"), (200, "")]
    assert len(emulator.tasks) == 1


def test_skip_and_times_count_calls_of_that_operation_only(emulator):
    emulator.add_fault(Fault(operation="ecs:ListTasks", skip=1, times=2))
    ecs, outcome = client(emulator, "ecs"), []
    for _ in range(5):
        ecs.list_clusters()
        try:
            ecs.list_tasks(cluster=CLUSTER)
            outcome.append(True)
        except ClientError:
            outcome.append(False)
    assert outcome == [True, False, False, True, True]


def test_failures_start_nothing(emulator):
    emulator.add_fault(Fault(operation="RunTask", kind="failures", reason="RESOURCE:CPU"))
    answer = launch(emulator, count=2)
    assert answer["tasks"] == []
    assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:CPU"] * 2
    assert emulator.tasks == ()


def test_a_lost_answer_is_a_task_that_nobody_knows(emulator):
    emulator.add_fault(Fault(operation="RunTask", kind="lost"))
    with pytest.raises(ConnectionClosedError):
        launch(emulator, clientToken="t")
    assert len(emulator.tasks) == 1
    assert launch(emulator, clientToken="t")["tasks"][0]["taskArn"] == emulator.tasks[0].arn
    assert notes(emulator) == [(0, "lost"), (200, "")]


def test_boto_repeats_a_lost_answer_with_its_own_token(emulator):
    emulator.add_fault(Fault(operation="RunTask", kind="lost"))
    answer = client(emulator, "ecs", attempts=3).run_task(**request(emulator))
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    assert len(emulator.tasks) == 1


def test_a_dropped_call_does_nothing(emulator):
    emulator.add_fault(Fault(operation="RunTask", kind="dropped"))
    with pytest.raises(ConnectionClosedError):
        launch(emulator)
    assert emulator.tasks == ()


def test_a_doubled_call_is_two_tasks_unless_it_has_a_token(emulator):
    for _ in range(2):
        emulator.add_fault(Fault(operation="RunTask", kind="doubled"))
    launch(emulator, clientToken="t")
    assert len(emulator.tasks) == 1
    ecs = new_client(emulator, "ecs")
    ecs.meta.events.register(
        "before-parameter-build.ecs.RunTask", lambda params, **_: params.pop("clientToken", None)
    )
    ecs.meta.events.register(
        "before-call.ecs.RunTask", lambda params, **_: params.update(body=without_token(params))
    )
    ecs.run_task(**request(emulator))
    assert len(emulator.tasks) == 3


def without_token(params):
    import json

    body = json.loads(params["body"])
    body.pop("clientToken", None)
    return json.dumps(body).encode()


def test_a_delay_holds_one_call_back(emulator):
    emulator.add_fault(Fault(operation="ListClusters", kind="delay", seconds=0.4))
    began = time.monotonic()
    client(emulator, "ecs").list_clusters()
    assert 0.4 < time.monotonic() - began < 3


def test_latency_is_for_all(emulate):
    emulator = emulate(latency=0.2)
    ecs, began = client(emulator, "ecs"), time.monotonic()
    for _ in range(3):
        ecs.list_clusters()
    assert 0.6 < time.monotonic() - began < 4


class TestThrottle:
    """Token buckets."""

    def test_fills_again_up_to_its_burst(self):
        now = 0.0
        throttle = TokenBuckets([HURRIED], clock=lambda: now)
        assert [throttle.allows("RunTask") for _ in range(4)] == [True, True, True, False]
        assert not throttle.allows("StopTask"), "they share it"
        assert throttle.allows("DescribeTasks"), "it has none"
        now = 0.2
        assert [throttle.allows("StopTask") for _ in range(2)] == [True, False]
        now = 100.0
        assert [throttle.allows("RunTask") for _ in range(4)] == [True, True, True, False]

    def test_calls_beyond_it_are_refused(self, emulate):
        emulator = emulate(buckets=STINGY)
        ecs, asked = client(emulator, "ecs"), request(emulator)
        for _ in range(100):
            ecs.list_tasks(cluster=CLUSTER)
        for operation, more in (("list_tasks", {}), ("describe_tasks", {"tasks": ["x"]})):
            with refused("ThrottlingException"):
                getattr(ecs, operation)(cluster=CLUSTER, **more)
        ecs.run_task(**asked)
        assert len(emulator.tasks) == 1, "that is another bucket"

    def test_a_bucket_fills_again(self, emulate):
        emulator = emulate(buckets=[replace(HURRIED, burst=1, per_second=0.5)])
        ecs, asked = client(emulator, "ecs"), request(emulator)
        ecs.run_task(**asked)
        with refused("ThrottlingException"):
            ecs.run_task(**asked)
        time.sleep(2)
        ecs.run_task(**asked)
        assert len(emulator.tasks) == 2

    def test_may_be_wrapped_as_ec2s_throttles_are(self, emulate):
        emulator = emulate(
            buckets=[replace(HURRIED, burst=0.5, per_second=0)], wrap_throttling=True
        )
        with pytest.raises(ClientError, match="Rate exceeded") as caught:
            launch(emulator)
        assert caught.value.response["Error"]["Code"] == "InvalidParameterException"

    def test_launches_count_tasks_on_demand_and_spot_apart(self, emulate):
        emulator = emulate(buckets=STINGY, provisioning=30)
        for _ in range(10):
            launch(emulator, count=10)
        with refused("ThrottlingException"):
            launch(emulator)
        assert len(launch(emulator, count=10, **spot())["tasks"]) == 10

    def test_figures_are_those_of_aws(self):
        by_name = {bucket.name: (bucket.burst, bucket.per_second) for bucket in AWS_BUCKETS}
        assert by_name["run and stop"] == (100, 40)
        assert by_name["reads"] == (100, 20)
        assert by_name["run"] == (20, 20)
        assert by_name["FARGATE"] == by_name["FARGATE_SPOT"] == (100, 20)


class TestCredentials:
    """Who may call."""

    def assume(self, emulator):
        role = f"arn:aws:iam::{emulator.config.account}:role/me"
        return client(emulator, "sts").assume_role(RoleArn=role, RoleSessionName="here")[
            "Credentials"
        ]

    def as_role(self, emulator, service, given):
        return client(
            emulator,
            service,
            key=given["AccessKeyId"],
            secret=given["SecretAccessKey"],
            token=given["SessionToken"],
        )

    def test_expired_ones_are_refused_and_a_role_gives_fresh_ones(self, emulator):
        first = self.assume(emulator)
        self.as_role(emulator, "ecs", first).list_clusters()
        emulator.expire_credentials()
        with refused("ExpiredTokenException"):
            self.as_role(emulator, "ecs", first).list_clusters()
        with refused("RequestExpired"):
            self.as_role(emulator, "ec2", first).describe_network_interfaces()
        fresh = self.assume(emulator)
        assert fresh["AccessKeyId"] != first["AccessKeyId"]
        ecs = self.as_role(emulator, "ecs", fresh)
        assert ecs.list_clusters()["clusterArns"]

    def test_sessions_end_when_they_said(self, emulate):
        emulator = emulate(role_seconds=2.5)
        given = self.assume(emulator)
        ecs = self.as_role(emulator, "ecs", given)
        assert abs(given["Expiration"].timestamp() - time.time()) < 4
        ecs.list_clusters()
        time.sleep(2.6)
        with refused("ExpiredTokenException"):
            ecs.list_clusters()

    def test_denied_actions_are_refused_in_the_words_of_each_service(self, emulate):
        emulator = emulate(denied=frozenset({"ecs:StopTask", "ec2:*", "sts:AssumeRole"}))
        [task] = run(emulator)
        with refused("AccessDeniedException"):
            stop(emulator, task)
        with refused("UnauthorizedOperation"):
            client(emulator, "ec2").describe_network_interfaces()
        with refused("AccessDenied"):
            self.assume(emulator)
        reach(emulator, task, "RUNNING")
        results = client(emulator, "iam").simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:user/emulator",
            ActionNames=["ecs:RunTask", "ecs:StopTask", "ec2:DescribeSubnets"],
        )["EvaluationResults"]
        decisions = {one["EvalActionName"]: one["EvalDecision"] for one in results}
        assert decisions == {
            "ecs:RunTask": "allowed",
            "ecs:StopTask": "explicitDeny",
            "ec2:DescribeSubnets": "explicitDeny",
        }

    def test_callers_are_told_who_they_are(self, emulator):
        sts = client(emulator, "sts")
        assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:user/emulator"
        given = self.assume(emulator)
        session = self.as_role(emulator, "sts", given)
        assert session.get_caller_identity()["Arn"].endswith(":assumed-role/me/here")

    def test_an_unsigned_request_is_refused(self, emulator):
        import urllib.error
        import urllib.request

        asked = urllib.request.Request(
            emulator.url,
            data=b"{}",
            headers={"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters"},
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(asked)


def test_calls_are_told_as_policies_write_them(emulator):
    run(emulator, networkConfiguration=network(emulator))
    client(emulator, "ec2").describe_network_interfaces()
    assert [call.action for call in emulator.calls] == [
        "ecs:RunTask",
        "ec2:DescribeNetworkInterfaces",
    ]
    assert {call.key for call in emulator.calls} == {emulator.environment["AWS_ACCESS_KEY_ID"]}


@pytest.mark.parametrize("status", ["PROVISIONING", "PENDING"])
def test_defects_of_the_emulator_are_told_at_its_end(status):
    """In a call, and in what a task does by itself."""
    broken = []

    def breaks(task):
        if task.last_status == status:
            broken.append(task)
            raise ZeroDivisionError

    def use():
        with FargateEmulator(EmulatorConfig.quick(**QUICK)) as emulator:
            emulator.on_change(breaks)
            with suppress(ClientError):
                run(emulator)
            until(lambda: broken)
            if status == "PROVISIONING":
                assert notes(emulator) == [(500, "ServerException")]

    with pytest.raises(ExceptionGroup, match="defects") as caught:
        use()
    assert caught.group_contains(ZeroDivisionError)

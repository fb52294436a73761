"""The Fargate backend and its launcher, against an emulated account."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial

import anyio
import pytest
from pydantic import SecretStr

from cloudburst import Client, Limits
from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.backend import open_fargate
from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.aws.fargate.run_task import secrets_of, started_by, tag_value
from cloudburst.aws.setup.permissions import PolicyScope, Purpose, policy_document
from cloudburst.emulator.run_task import check_tags
from cloudburst.engine.launch import launched
from cloudburst.errors import (
    AccessDeniedError,
    CapacityError,
    ConfigurationError,
    CredentialsError,
    LaunchError,
    NoAnswerError,
    Remedy,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff, Timeouts
from cloudburst.models.task import Protocol, Secrets, TaskId, TaskSpec, TaskState, seconds_billed
from cloudburst.models.tier import Tier, encoder_slots
from cloudburst.testing import AWS_BUCKETS, Fault, TaskFault
from support.fargate_backend import (
    RAISED,
    account,
    backend_of,
    count,
    request,
    settings_of,
    stop,
    until,
)

pytestmark = pytest.mark.anyio


class Observer:
    """A launch observer that records nothing."""

    async def before_request(self, token):
        pass

    def on_launch(self, task):
        pass

    def on_status(self, status):
        pass

    def on_stop(self, accepted):
        pass

    def has_other_tasks(self):
        return False


NO_PROCESSES = {"provisioning": 600.0}
"""Tasks that only exist: none gets so far that it runs."""


async def test_a_task_lives_from_launch_to_stop():
    with account() as emulator:
        async with backend_of(emulator, capacity="FARGATE") as backend:
            task = await backend.launcher.launch(request("one", scene="第一幕 <1>", run="r-1"))
            status = await until(backend, task, lambda s: s.address)
            (it,) = emulator.tasks
            assert status.address == f"http://{it.address}:5000"
            assert await until(backend, task, TaskState.RUNNING)
            await backend.launcher.stop(task, reason="done")
            status = await until(backend, task, TaskState.STOPPED)
    assert it.tags == {
        "CreatedBy": "animagent",
        "Purpose": "video-generation",
        "Scene": "第一幕 _1_",
        "Language": "chinese",
        "Project": "CloudBurst",
        "cloudburst:run": "r-1",
    }
    assert (it.started_by, it.vcpu, it.memory_mb) == ("cloudburst/r-1", 2, 4096)
    watchdog = it.overrides["containerOverrides"][1]
    assert watchdog == {"name": "cloudburst-watchdog", "command": ["sleep", "3600"]}
    assert status.stop_code == "UserInitiated"
    assert status.reason.startswith("done (UserInitiated); cloudburst-processor: exit code ")


async def test_the_bill_is_by_the_times_that_aws_tells():
    with account() as emulator:
        async with backend_of(emulator, ephemeral_storage=30) as backend:
            task = await backend.launcher.launch(request("one", tier=Tier.ECONOMY))
            seen = []
            with anyio.move_on_after(2.5):
                while True:
                    if (usage := (await backend.launcher.describe(task)).usage) is not None:
                        assert usage.created_at <= usage.last_seen_at <= time.time()
                        seen.append(usage.last_seen_at)
                    await anyio.sleep(0.05)
            await backend.launcher.stop(task, reason="done")
            final = (await until(backend, task, TaskState.STOPPED)).usage
        (it,) = emulator.tasks
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] + 1
    assert final is not None
    assert final.stopped_at is not None
    assert final.last_seen_at <= final.stopped_at == pytest.approx(it.stopped, abs=0.002)
    assert final.pull_started_at == pytest.approx(it.pull_started, abs=0.002)
    assert (final.vcpu, final.memory_gb, final.extra_disk_gb, final.public_ipv4) == (1, 2, 10, True)
    assert seconds_billed(final) == 60


@pytest.mark.parametrize("capacity", ["FARGATE", "FARGATE_SPOT"])
async def test_a_status_says_whether_the_task_is_on_spot(capacity):
    with account() as emulator:
        async with backend_of(emulator, capacity=capacity) as backend:
            task = await backend.launcher.launch(request("one"))
            status = await until(backend, task, TaskState.RUNNING)
        assert status.spot == emulator.tasks[0].spot == (capacity == "FARGATE_SPOT")


@pytest.mark.parametrize("kind", ["lost", "doubled", "dropped"])
async def test_the_same_token_starts_one_task(kind):
    with account() as emulator:
        emulator.add_fault(Fault(operation="RunTask", kind=kind))
        async with backend_of(emulator) as backend:
            one = request("one")
            with anyio.fail_after(30):
                try:
                    first = await backend.launcher.launch(one)
                except NoAnswerError:
                    first = None
                assert (first is None) == (kind != "doubled")
                task = await backend.launcher.launch(one)
            assert first in {None, task}
            assert await backend.launcher.launch(one) == task
            assert len(emulator.tasks) == 1
            await stop(backend, task)


@pytest.mark.few(1)
@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException"])
async def test_a_refusal_does_not_undo_a_launch_without_answer(code):
    """Who may not ask is told nothing: asked again, it is the very same request."""
    with account(**NO_PROCESSES) as emulator:
        emulator.add_fault(Fault(operation="RunTask", kind="lost"))
        emulator.add_fault(Fault(operation="RunTask", code=code))
        async with backend_of(emulator, capacity="FARGATE_SPOT") as backend:
            one = request("one")
            for error in (NoAnswerError, LaunchError):
                with pytest.raises(error):
                    await backend.launcher.launch(one)
            assert len(await registered_runs()) == 1, "there may be a task"
            task = await backend.launcher.launch(one)
            assert [it.arn for it in emulator.tasks] == [task]
            await backend.launcher.stop(task, reason="done")
    assert await registered_runs() == ()


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("RESOURCE:CPU", CapacityError),
        ("AGENT", CapacityError),
        ("Capacity is unavailable at this time.", CapacityError),
        ("You've reached the limit on the number of vCPUs you can run concurrently", CapacityError),
        ("ATTRIBUTE", LaunchError),
        ("MISSING", ResourceMissingError),
    ],
)
async def test_failures_in_a_successful_answer_are_errors(reason, error):
    with account() as emulator:
        emulator.add_fault(Fault(operation="RunTask", kind="failures", reason=reason))
        async with backend_of(emulator) as backend:
            with pytest.raises(LaunchError, match=reason[:20]) as caught:
                await backend.launcher.launch(request("one"))
        assert type(caught.value) is error
    assert await registered_runs() == ()


WRAPPED = (
    "Error retrieving subnet information for [subnet-1]: Rate exceeded (ErrorCode: Throttling)"
)
NO_SUBNET = "The subnet ID 'subnet-1' does not exist (ErrorCode: InvalidSubnetID.NotFound)"


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize(
    ("code", "message", "status", "error"),
    [
        ("ThrottlingException", "Rate exceeded", 400, ThrottledError),
        ("InvalidParameterException", WRAPPED, 400, ThrottledError),
        ("InvalidParameterException", NO_SUBNET, 400, ResourceMissingError),
        ("InvalidParameterException", "no", 400, LaunchError),
        ("AccessDeniedException", "no", 400, AccessDeniedError),
        ("BlockedException", "no", 400, AccessDeniedError),
        ("ExpiredTokenException", "no", 400, CredentialsError),
        ("UnrecognizedClientException", "no", 400, CredentialsError),
        ("ClusterNotFoundException", "no", 400, ResourceMissingError),
        ("PlatformUnknownException", "no", 400, LaunchError),
        ("ServerException", "no", 500, NoAnswerError),
        ("Whatever", "no", 503, NoAnswerError),
    ],
)
async def test_refusals_are_errors_by_their_codes(code, message, status, error):
    with account() as emulator:
        fault = Fault(operation="RunTask", code=code, message=message, status=status)
        emulator.add_fault(fault)
        async with backend_of(emulator) as backend:
            with pytest.raises(LaunchError, match=code) as caught:
                await backend.launcher.launch(request("one"))
            assert type(caught.value) is error
            assert count(emulator, "RunTask") == 1


async def test_a_task_definition_that_is_not_there_or_does_not_fit():
    with account() as emulator:
        with pytest.raises(ResourceMissingError, match="ClientException"):
            async with backend_of(emulator, task_definition="nothing"):
                pass
        emulator.register(family="odd", container={"name": "web", "portMappings": []})
        with pytest.raises(ConfigurationError, match="no container is named cloudburst-processor"):
            async with backend_of(emulator, task_definition="odd"):
                pass
        emulator.register(family="label", protocol="gopher")
        with pytest.raises(ConfigurationError, match="'gopher'; expected native or onestep"):
            async with backend_of(emulator, task_definition="label"):
                pass
        with pytest.raises(ConfigurationError, match="AWS_SUBNET_ID"):
            async with backend_of(emulator, subnets=()):
                pass
        assert count(emulator, "DescribeTaskDefinition") == 3


ROLE = "arn:aws:iam::123456789012:role/new"
NOT_YET = (
    f"ECS was unable to assume the role '{ROLE}' that was provided for this task. Please verify "
    "that the role being passed has the proper trust relationship and permissions"
)


def not_yet(times):
    code = "ClientException"
    return Fault(operation="RunTask", code=code, message=NOT_YET, times=times)


async def test_a_role_that_was_just_made_is_waited_for():
    with account(**NO_PROCESSES) as emulator:
        emulator.add_fault(not_yet(2))
        async with backend_of(emulator) as backend:
            spec = TaskSpec(tier=Tier.STANDARD, run="r", scene="s")
            async with launched(backend, spec, Timeouts(), Observer()):
                assert len(emulator.tasks) == 1
        assert emulator.live == ()


async def test_a_role_that_cannot_be_assumed_for_a_minute_ends_the_run(monkeypatch):
    monkeypatch.setattr("cloudburst.aws.fargate.placement.ROLE_TIMEOUT", 0.5)
    with account(**NO_PROCESSES) as emulator:
        emulator.add_fault(not_yet(None))
        async with backend_of(emulator) as backend:
            with pytest.raises(CapacityError) as caught:
                await backend.launcher.launch(request("one"))
            assert caught.value.remedy is Remedy.REPEAT_REQUEST
            await anyio.sleep(0.3)
            with pytest.raises(CapacityError):
                await backend.launcher.launch(request("again"))
            await anyio.sleep(0.3)
            with pytest.raises(LaunchError, match="cloudburst doctor") as caught:
                await backend.launcher.launch(request("two"))
            assert not isinstance(caught.value, CapacityError)
            assert caught.value.remedy is Remedy.FIX_SETUP
            assert "ECS was unable to assume the role" in str(caught.value)
    assert await registered_runs() == (), "nothing was started"


async def test_a_task_that_stops_for_its_role_means_something_else_after_a_minute(monkeypatch):
    monkeypatch.setattr("cloudburst.aws.fargate.placement.ROLE_TIMEOUT", 0.5)
    faults = {0: TaskFault(stopped_reason=NOT_YET)}
    with account(task_faults=faults) as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            status = await until(backend, task, TaskState.STOPPED)
            assert status.failure.remedy is Remedy.REPEAT_REQUEST
            await anyio.sleep(0.3)
            await backend.launcher.describe(task)
            await anyio.sleep(0.3)
            failure = (await backend.launcher.describe(task)).failure
            assert failure.remedy is Remedy.FIX_SETUP
            assert "cloudburst doctor" in failure.summary


async def test_a_task_is_stopped_although_conditions_do_not_see_its_tag_yet():
    with account(tag_lag=1.0, **NO_PROCESSES) as emulator:
        scope = PolicyScope(settings_of(emulator), "us-east-1", "123456789012")
        printed = partial(policy_document, scope, [Purpose.RUN])
        run = await anyio.to_thread.run_sync(printed)
        key = emulator.new_key(policies=[json.loads(json.dumps(run))])
        changes = {
            "access_key_id": key["AWS_ACCESS_KEY_ID"],
            "secret_access_key": SecretStr(key["AWS_SECRET_ACCESS_KEY"]),
        }
        async with backend_of(emulator, **changes) as backend:
            spec = TaskSpec(tier=Tier.STANDARD, run="r", scene="s")
            async with launched(backend, spec, Timeouts(), Observer()):
                assert len(emulator.live) == 1
        assert emulator.live == ()
        notes = [call.note for call in emulator.calls if call.operation == "StopTask"]
        assert "AccessDeniedException" in notes


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="DescribeTaskDefinition", times=6),
        Fault(operation="DescribeTaskDefinition", code="ServerException", status=500, times=6),
        Fault(operation="DescribeTasks", code="ServerException", status=500, times=6),
    ],
    ids=["throttled", "5xx", "5xx of the cluster"],
)
async def test_an_outage_while_it_is_opened_is_borne_as_one_in_a_run(monkeypatch, caplog, fault):
    """Four tries are made for each question; then it is asked again, with growing pauses."""
    monkeypatch.setattr("cloudburst.aws.client.client.CALL_BACKOFF", Backoff(first=0.01, cap=0.01))
    monkeypatch.setattr("cloudburst.aws.client.rate_limit.THROTTLE_PAUSE", 0.0)
    monkeypatch.setattr("cloudburst.aws.fargate.backend.RETRY_BACKOFF", Backoff(first=0.1, cap=0.1))
    with account(**NO_PROCESSES) as emulator:
        emulator.add_fault(fault)
        async with backend_of(emulator):
            pass
        assert count(emulator, fault.operation) >= 7
        assert (
            "AWS does not answer, and nothing is started yet; the call is repeated" in caplog.text
        )
        emulator.add_fault(replace(fault, times=None))
        with pytest.raises((NoAnswerError, ThrottledError)), anyio.fail_after(30):
            async with backend_of(emulator, timeouts=Timeouts(launch=0.5)):
                pass
    assert await registered_runs() == ()


async def test_where_nobody_listens_it_is_not_opened_for_long():
    """A region or endpoint that is mistyped is said at once, and not after two minutes."""
    with account(**NO_PROCESSES) as emulator:
        settings = settings_of(emulator, endpoint_url="http://127.0.0.1:9")
        with anyio.fail_after(12), pytest.raises(NoAnswerError, match=r"127\.0\.0\.1:9"):
            async with open_fargate(settings, Timeouts(), Tier.STANDARD):
                pass


OLD_POLICY = {
    "ecs:RunTask",
    "ecs:StopTask",
    "ecs:DescribeTasks",
    "ecs:DescribeClusters",
    "ecs:ListTasks",
    "ecs:ListTagsForResource",
    "ecs:TagResource",
    "ec2:DescribeNetworkInterfaces",
    "sts:GetCallerIdentity",  # which needs no permission
}
"""What the policy of ``cloudburst-fargate`` allows, as far as a run may need it."""
NOT_IN_IT = {
    "ec2:DescribeSubnets",
    "ecs:DescribeTaskDefinition",
    "logs:GetLogEvents",
    "logs:FilterLogEvents",
}


async def test_the_policy_of_the_old_client_is_enough_to_render(caplog, make_scene, tmp_path):
    with account(denied=frozenset(NOT_IN_IT), watchdog=False) as emulator:
        emulator.add_fault(Fault(operation="RunTask"))
        backend = partial(open_fargate, settings_of(emulator))
        async with Client(backend, limits=Limits(workers=1)) as client:
            report = await client.render_all([make_scene("a", seconds=0.3)], to=tmp_path / "out")
            await report.settled()
        assert report.status == "complete"
        assert emulator.live == ()
        done = {call.action for call in emulator.calls if call.status == 200}
    assert done <= OLD_POLICY
    assert "so it is assumed to have a container cloudburst-processor" in (caplog.text)
    assert "with protocol onestep on port 5000 and X86_64" in caplog.text


async def test_what_is_assumed_of_a_task_definition_that_may_not_be_read():
    with account(**NO_PROCESSES, denied=frozenset(NOT_IN_IT)) as emulator:
        async with backend_of(emulator) as backend:
            assert backend.kind.split()[:4] == ["fargate", "STANDARD", "onestep", "X86_64"]
            assert backend.kind.endswith(" us-east-1 123456789012 -"), "told by GetCallerIdentity"
            task = await backend.launcher.launch(request("one"))
            await anyio.sleep(0.3)  # by then ECS knows the task
            assert "ecs:DescribeTaskDefinition" in await backend.launcher.post_mortem(task)
            (found,) = await backend.launcher.find("run1")
            assert found.task == task
        assert emulator.tasks[0].environment["AUTHENTICATION_KEY"]


async def test_figures_are_kept_for_the_account_region_and_endpoint():
    with account(**NO_PROCESSES) as emulator:
        async with backend_of(emulator) as backend:
            place = f"{emulator.url} us-east-1 123456789012"
            image = "betashow/video-generation-api:latest"
            assert backend.kind == f"fargate STANDARD onestep X86_64 {place} {image}"


async def test_a_full_quota_of_spot_does_not_climb_to_what_costs_more(caplog):
    said = "You've reached the limit on the number of spot tasks you can run concurrently"
    with account(**NO_PROCESSES) as emulator:
        emulator.add_fault(Fault(operation="RunTask", kind="failures", reason=said, times=3))
        async with backend_of(emulator, capacity="FARGATE_SPOT") as backend:
            for number in range(3):
                with pytest.raises(CapacityError, match="L-36FBB829") as caught:
                    await backend.launcher.launch(request(f"r{number}"))
                assert caught.value.remedy is Remedy.FEWER_TASKS
                assert "L-3032A538" not in str(caught.value)
            await backend.launcher.launch(request("last"))
        assert emulator.tasks[0].spot
        assert emulator.tasks[0].vcpu == 2
    assert "the next tasks are requested" not in caplog.text


async def test_all_launches_ask_for_the_revision_that_was_read():
    """A new one may speak otherwise, and would make a repeated launch another request."""
    with account(**NO_PROCESSES) as emulator:
        settings = settings_of(emulator)
        async with backend_of(emulator) as backend:
            emulator.add_fault(Fault(operation="RunTask", kind="lost"))
            with pytest.raises(NoAnswerError):
                await backend.launcher.launch(request("one"))
            emulator.register()
            task = await backend.launcher.launch(request("one"))
            assert [it.arn for it in emulator.tasks] == [task]
            other = await backend.launcher.launch(request("two"))
        async with open_aws(settings) as aws:
            answer = await aws.call(
                "ecs", "describe_tasks", cluster=settings.cluster, tasks=[task, other]
            )
    assert {it["taskDefinitionArn"].rpartition(":")[2] for it in answer["tasks"]} == {"1"}


async def test_sixty_launches_at_once_are_no_more_than_aws_allows():
    refusals = []

    async def launch(launcher, number):
        try:
            await launcher.launch(request(f"t{number}"))
        except ThrottledError as exc:  # calls that a busy machine delays arrive in a bunch
            refusals.append(exc)
            await anyio.sleep(1)
            await launcher.launch(request(f"t{number}"))

    with account(**NO_PROCESSES, buckets=AWS_BUCKETS) as emulator:
        async with backend_of(emulator) as backend, anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(launch, backend.launcher, number)
        assert len(emulator.tasks) == 60
        assert len(refusals) <= 12
    assert len(await registered_runs()) == 1  # nobody has stopped them


async def test_a_launch_that_would_wait_long_is_refused_and_not_asked_for():
    with account(**NO_PROCESSES, buckets=AWS_BUCKETS) as emulator:
        refusals = []

        async def launch(number):
            try:
                await backend.launcher.launch(request(f"t{number}"))
            except ThrottledError as exc:
                refusals.append(str(exc))

        async with backend_of(emulator) as backend, anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(launch, number)
        by_us = sum("not sent" in refusal for refusal in refusals)
        assert by_us > 50
        assert count(emulator, "RunTask") == 300 - by_us
        # Calls that are held up on the way arrive in bunches, which no sender can foresee.
        assert len(refusals) - by_us < 10
        assert len(emulator.tasks) == 300 - len(refusals)


async def test_spot_gives_notice_and_costs_less():
    with account() as emulator:
        emulator.register(init=False, environment={"STUB_TERM": "ignore"})
        async with backend_of(emulator, capacity="FARGATE_SPOT") as backend:
            task = await backend.launcher.launch(request("one"))
            status = await until(backend, task, lambda s: s.state is TaskState.RUNNING)
            assert emulator.tasks[0].spot
            assert not status.stop_announced
            emulator.interrupt(notice=8)
            status = await until(backend, task, lambda s: s.stop_announced)
            assert status.state is TaskState.RUNNING
            assert status.stop_code == "SpotInterruption"
            spot = status.usage.rates
        async with backend_of(emulator, capacity="FARGATE") as backend:
            assert backend.usd_per_second > spot.task_usd_per_second(Tier.STANDARD) * 2


async def test_a_task_that_does_not_start_says_why():
    with account(task_faults={0: TaskFault(registry_unreachable=True)}) as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            status = await until(backend, task, TaskState.STOPPED)
    assert status.stop_code == "TaskFailedToStart"
    assert "CannotPullContainerError" in status.reason
    assert status.usage.pull_started_at is not None


async def test_a_task_that_crashes_says_its_exit_code():
    with account() as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            await until(backend, task, TaskState.RUNNING)
            emulator.crash()
            status = await until(backend, task, TaskState.STOPPED)
    assert status.stop_code == "EssentialContainerExited"
    assert "cloudburst-processor: exit code 137" in status.reason


async def test_no_public_address_is_told():
    with account(task_faults={0: TaskFault(no_public_address=True)}) as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            status = await until(backend, task, lambda s: s.reason)
            assert status.state is TaskState.RUNNING
            assert status.address is None
            assert "no public address" in status.reason
            await backend.launcher.stop(task, reason="done")
            await until(backend, task, TaskState.STOPPED)


async def test_private_addresses_need_no_ec2():
    with account() as emulator:
        async with backend_of(emulator, public_address=False) as backend:
            task = await backend.launcher.launch(request("one"))
            status = await until(backend, task, lambda s: s.address)
            (it,) = emulator.tasks
            assert status.address == f"http://{it.address}:5000"
            assert not it.public
            assert status.usage.public_ipv4 is False
            await backend.launcher.stop(task, reason="done")
        assert {call.service for call in emulator.calls} == {"ecs"}


async def test_two_hundred_and_fifty_tasks_are_three_calls_a_round(monkeypatch):
    monkeypatch.setattr("cloudburst.aws.fargate.watcher.FAST_INTERVAL", 0.5)
    with account(**NO_PROCESSES, buckets=RAISED) as emulator:
        settings = settings_of(emulator)
        network = {"awsvpcConfiguration": {"subnets": list(settings.subnets)}}
        async with open_aws(settings) as aws:
            for _ in range(25):
                await aws.call(
                    "ecs",
                    "run_task",
                    cluster=settings.cluster,
                    taskDefinition=settings.task_definition,
                    launchType="FARGATE",
                    networkConfiguration=network,
                    count=10,
                )
        async with backend_of(emulator) as backend:
            for it in emulator.tasks:  # launched by somebody else, and adopted
                await backend.launcher.describe(TaskId(it.arn))
            await anyio.sleep(0.75)
            before = count(emulator, "DescribeTasks")
            await anyio.sleep(1.5)  # none has an address yet: a round each half second
            asked = count(emulator, "DescribeTasks") - before
            last = TaskId(emulator.tasks[-1].arn)
            assert (await backend.launcher.describe(last)).usage is not None
    assert 5 <= asked <= 12  # calls are told when they are answered


async def test_a_denied_stop_is_asked_again_until_the_task_is_seen_to_have_stopped():
    """Our policy allows it by the tags of the task, which a stopped one has no more."""
    denied = Fault(operation="StopTask", code="AccessDeniedException", message="no tag", times=2)
    with account() as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            emulator.add_fault(denied)
            with pytest.raises(NoAnswerError, match="no tag"):
                await backend.launcher.stop(task, reason="too young")
            await until(backend, task, TaskState.RUNNING)
            emulator.crash()
            await until(backend, task, TaskState.STOPPED)
            await backend.launcher.stop(task, reason="gone by itself")
            assert count(emulator, "StopTask") == 2


async def test_a_stop_is_no_error_for_a_task_that_is_gone_but_for_one_that_is_not_seen_yet():
    with account(**NO_PROCESSES, new_task_invisible=1.0) as emulator:
        async with backend_of(emulator) as backend:
            arn = "arn:aws:ecs:us-east-1:123456789012:task/cloudburst-cluster/" + "0" * 32
            await backend.launcher.stop(TaskId(arn), reason="done")
            task = await backend.launcher.launch(request("one"))
            with pytest.raises(NoAnswerError, match="does not know"):
                await backend.launcher.stop(task, reason="done")
            await anyio.sleep(1.1)
            await backend.launcher.stop(task, reason="done")
            await backend.launcher.stop(task, reason="again")
            await until(backend, task, TaskState.STOPPED)
            await backend.launcher.stop(task, reason="again")
        assert emulator.live == ()
    assert await registered_runs() == ()


async def test_denied_looks_are_reported_and_succeed_when_allowed():
    with account() as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            denied = Fault(operation="DescribeTasks", code="AccessDeniedException", times=2)
            emulator.add_fault(denied)
            with pytest.raises(AccessDeniedError):
                await until(backend, task, lambda s: s.address)
            await until_no_error(backend, task)
            await backend.launcher.stop(task, reason="done")


async def until_no_error(backend, task):
    with anyio.fail_after(30):
        while True:
            try:
                return await backend.launcher.describe(task)
            except (AccessDeniedError, CredentialsError):
                await anyio.sleep(0.05)


async def test_throttled_and_lost_looks_end_nothing():
    with account() as emulator:
        async with backend_of(emulator) as backend:
            emulator.add_fault(Fault(operation="DescribeTasks", times=2))
            emulator.add_fault(Fault(operation="DescribeTasks", kind="dropped", times=2))
            task = await backend.launcher.launch(request("one"))
            await until(backend, task, lambda s: s.address, seconds=30)
            await backend.launcher.stop(task, reason="done")


async def test_secrets_are_found_in_the_task_itself():
    secrets = Secrets(key="the key", certificate="cert", private_key="private")
    with account(**NO_PROCESSES, protocol="native") as emulator:
        settings = settings_of(emulator)
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one", secrets=secrets))
        async with open_aws(settings) as aws:
            answer = await aws.call("ecs", "describe_tasks", cluster=settings.cluster, tasks=[task])
    assert secrets_of(answer["tasks"][0], "cloudburst-processor") == secrets
    assert secrets_of({}, "cloudburst-processor") == Secrets(key="")


async def test_native_and_onestep_backends():
    with account(**NO_PROCESSES) as emulator:
        async with backend_of(emulator, tier=Tier.HIGH_PERFORMANCE) as backend:
            assert (backend.encoder_slots, backend.encode_timeout_factor) == (1, 10.0)
            assert (backend.queues_jobs, backend.uses_s3) == (False, False)
            assert backend.shares_uplink
            assert backend.new_secrets().certificate == ""
        emulator.register(protocol="native")
        async with backend_of(
            emulator, tier=Tier.HIGH_PERFORMANCE, auth_key=SecretStr("fixed")
        ) as backend:
            assert (backend.encoder_slots, backend.encode_timeout_factor) == (4, 0.0)
            assert (backend.queues_jobs, backend.uses_s3) == (True, True)
            assert backend.shares_uplink
            secrets = backend.new_secrets()
            assert secrets.key == "fixed"
            assert "CERTIFICATE" in secrets.certificate
            await backend.launcher.launch(request("one", secrets=secrets))
        (it,) = emulator.tasks
        assert len(json.dumps(it.overrides)) < 4096  # of 8,192
        assert it.environment["CLOUDBURST_CERTIFICATE"] == secrets.certificate
        assert it.environment["CLOUDBURST_PRIVATE_KEY"] == secrets.private_key
        assert it.environment["CLOUDBURST_LIFETIME_SECONDS"] == "3600.0"
        async with backend_of(emulator, protocol=Protocol.ONESTEP) as backend:
            assert backend.encoder_slots == 1


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("tier", list(Tier))
async def test_a_task_is_told_how_many_scenes_it_encodes_at_once(tier):
    slots = encoder_slots(tier.vcpu)
    with account(**NO_PROCESSES) as emulator:
        emulator.register(protocol="native")
        async with backend_of(emulator, tier=tier) as backend:
            assert backend.encoder_slots == slots
            await backend.launcher.launch(request("one", tier=tier))
        (it,) = emulator.tasks
    assert it.environment["CLOUDBURST_ENCODERS"] == str(slots)


async def test_a_session_of_the_callers():
    import aioboto3

    with account(**NO_PROCESSES) as emulator:
        keys = emulator.new_key()
        theirs = aioboto3.Session(
            **{name.lower(): value for name, value in keys.items()}, region_name="us-east-1"
        )
        role = "arn:aws:iam::123456789012:role/not-wanted"
        async with backend_of(emulator, session=theirs, role_arn=role) as backend:
            await backend.launcher.launch(request("one"))
        assert {call.key for call in emulator.calls} == {keys["AWS_ACCESS_KEY_ID"]}


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.3, 0.6, 1.2])
async def test_cancelled_at_any_time_it_leaves_no_task(after):
    with account(latency=0.1) as emulator:
        with anyio.move_on_after(after):
            async with backend_of(emulator) as backend:
                spec = TaskSpec(run="run1")
                async with launched(backend, spec, Timeouts(), Observer()):
                    await anyio.sleep_forever()
        assert emulator.live == ()
    assert await registered_runs() == ()


async def test_a_launch_without_answer_is_found_and_stopped_when_cancelled():
    with account() as emulator:
        fault = Fault(operation="RunTask", kind="lost", times=1, seconds=0.3)
        async with backend_of(emulator) as backend:
            emulator.add_fault(fault)
            with anyio.move_on_after(0.2):
                async with launched(backend, TaskSpec(run="r"), Timeouts(), Observer()):
                    await anyio.sleep_forever()
        assert [it.live for it in emulator.tasks] == [False]
    assert await registered_runs() == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scene_1", "scene_1"),
        ("第一幕 é α/β", "第一幕 é α/β"),
        ("a<b>\n\tc#é&", "a_b___c_é_"),
        ("AWS:mine", "AWS_mine"),
        ("x" * 300, "x" * 256),
        ("", ""),
    ],
)
def test_tags_have_only_what_aws_takes(name, value):
    assert tag_value(name) == value
    check_tags({"Scene": tag_value(name)})


def test_started_by_is_short_and_names_the_run():
    assert started_by("abc-1") == "cloudburst/abc-1"
    assert started_by("a b/场" + "x" * 200) == ("cloudburst/a_b/_" + "x" * 200)[:128]


async def test_two_backends_at_once_have_files_of_their_own():
    with account(**NO_PROCESSES) as emulator:
        settings = settings_of(emulator)
        async with (
            open_fargate(settings, Timeouts(), Tier.STANDARD) as one,
            open_fargate(settings, Timeouts(), Tier.STANDARD) as two,
        ):
            first = await one.launcher.launch(request("a"))
            second = await two.launcher.launch(request("b"))
            assert [run.run for run in await registered_runs()] == ["run1", "run1"]
            assert all(run.active for run in await registered_runs())
            await one.launcher.stop(first, reason="done")
            assert len(await registered_runs()) == 1
            await two.launcher.stop(second, reason="done")
        assert await registered_runs() == ()

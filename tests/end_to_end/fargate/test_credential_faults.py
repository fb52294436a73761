"""Credentials that end or may not do it: said loudly, and what is left can be found again."""

from __future__ import annotations

import logging
from dataclasses import replace

import anyio
import pytest

from cloudburst import Status
from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.aws.setup.running_tasks import cleanup
from cloudburst.emulator.faults import PendingFaults
from cloudburst.errors import AccessDeniedError
from cloudburst.events import SceneEncoding, WorkerLaunched
from cloudburst.testing import Fault
from support.emulator_settings import settings_of
from support.run_invariants import HURRIED, first, hold, tried

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("by_the_second"),
]

WORKING = {"STUB_GENERATE_SECONDS": "1"}
ROLE = {"role_arn": "arn:aws:iam::123456789012:role/renderer"}


async def test_a_role_is_assumed_again_when_its_session_ends(account, scenes, out):
    with account(worker_environment=WORKING) as aws:
        watch = first(SceneEncoding, lambda _: aws.expire_credentials())
        trial = await tried(aws, scenes(4), out, watch=watch, settings=ROLE, own_session=False)
    hold(trial)
    assumed = [call for call in trial.calls if call.operation == "AssumeRole"]
    assert len(assumed) == 2
    stops = [call for call in trial.calls if call.operation == "StopTask" and not call.note]
    keys = {call.key for call in stops}
    assert not keys & {call.key for call in trial.calls if call.operation == "RunTask"}


@pytest.mark.nightly
async def test_a_role_that_lasts_for_seconds(account, scenes, out):
    """Its end comes again and again, also between a launch and its stop."""
    with account(worker_environment=WORKING, role_seconds=2) as aws:
        trial = await tried(aws, scenes(4), out, settings=ROLE, own_session=False)
    hold(trial)


def named(aws, trial, caplog, *, told):
    """Hold that the tasks that could not be stopped are named loudly; returns them."""
    assert trial.final.status is Status.COMPLETE, "the videos came all the same"
    assert aws.live
    left = {task.arn for task in aws.live}
    assert {worker.task for worker in trial.final.workers if worker.possibly_running} == left
    assert not trial.final.cost.final
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    for arn in left:
        assert any(arn in record.getMessage() for record in loud), "said by name"
    texts = "\n".join(f"{record.getMessage()} {record.exc_info}" for record in loud)
    assert told in texts
    return left


async def left_behind(aws, trial, caplog, *, told):
    """The tasks that could not be stopped are named loudly; a cleanup finds them."""
    left = named(aws, trial, caplog, told=told)
    (run,) = await registered_runs()
    assert (run.run, run.active) == (trial.final.run, False)
    swept = await cleanup(settings_of(aws, **aws.new_key()))
    assert {task.task_arn for task in swept.stopped} == left
    assert not aws.live
    assert not await registered_runs()


async def test_static_keys_end(account, scenes, out, caplog):
    """What encodes is finished, for that needs no AWS; nobody can stop the tasks."""
    with account(worker_environment=WORKING) as aws:
        watch = first(SceneEncoding, lambda _: aws.expire_credentials())
        trial = await tried(aws, scenes(4), out, watch=watch)
        await left_behind(aws, trial, caplog, told="CredentialsError")


@pytest.mark.nightly
async def test_static_keys_end_before_a_worker_is_ready(account, scenes, out, caplog):
    with account() as aws:
        watch = first(WorkerLaunched, lambda _: aws.expire_credentials())
        trial = await tried(aws, scenes(2), out, watch=watch)
        assert trial.final.status is Status.FAILED
        assert all("CredentialsError" in entry.error for entry in trial.final.scenes)
        left = {task.arn for task in aws.live}
        assert {worker.task for worker in trial.final.workers if worker.possibly_running} == left
        await cleanup(settings_of(aws, **aws.new_key()))
        assert not aws.live


async def test_launches_are_denied(account, scenes, out):
    with account(denied=frozenset({"ecs:RunTask"})) as aws:
        with anyio.fail_after(30):
            trial = await tried(aws, scenes(3), out)
    hold(trial, failed=trial.names)
    assert not trial.tasks
    assert all("AccessDeniedError" in entry.error for entry in trial.final.scenes)
    assert len(trial.requests) <= 2, "asked once for each worker, and never again"


async def test_stops_are_denied(account, scenes, out, caplog):
    with account(worker_environment=WORKING) as aws:
        fault = Fault(operation="StopTask", code="AccessDeniedException", message="no", times=1000)
        aws.add_fault(fault)
        trial = await tried(aws, scenes(2), out, timeouts=replace(HURRIED, settle=3))
        aws._inside.api.faults = PendingFaults()  # now they are allowed
        await left_behind(aws, trial, caplog, told="AccessDenied")


@pytest.mark.nightly
async def test_a_stop_that_is_denied_while_tags_are_not_known_is_repeated(account, scenes, out):
    with account(worker_environment=WORKING) as aws:
        fault = Fault(operation="StopTask", code="AccessDeniedException", message="no", times=2)
        aws.add_fault(fault)
        trial = await tried(aws, scenes(2), out)
        assert not aws.live
    hold(trial)


async def test_looks_are_denied(account, scenes, out):
    """Nobody would see the tasks: none is launched."""
    with account(denied=frozenset({"ecs:DescribeTasks"})) as aws:
        with anyio.fail_after(30), pytest.raises(AccessDeniedError, match="describe_tasks"):
            await tried(aws, scenes(1), out)
        assert not aws.tasks


@pytest.mark.nightly
async def test_looks_are_denied_later(account, scenes, out):
    denied = Fault(operation="DescribeTasks", code="AccessDeniedException", skip=1, times=None)
    with account() as aws:
        aws.add_fault(denied)
        with anyio.fail_after(15):
            trial = await tried(aws, scenes(2), out)
        assert trial.final.status is Status.FAILED
        assert all("AccessDeniedError" in entry.error for entry in trial.final.scenes)
        assert not [task for task in trial.tasks if task.live]


async def test_public_addresses_are_denied(account, scenes, out):
    """Told as what it is; within the VPC the same credentials will do."""
    with account(denied=frozenset({"ec2:DescribeNetworkInterfaces"})) as aws:
        with anyio.fail_after(15):
            trial = await tried(aws, scenes(2), out)
    hold(trial, failed=trial.names)
    assert all("describe_network_interfaces" in entry.error for entry in trial.final.scenes)

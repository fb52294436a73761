"""The time limit for refusals of a new execution role, in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import pytest

from cloudburst.aws.fargate.placement import LaunchFailures, RolePropagation
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.errors import Remedy
from cloudburst.models.failures.stops import ROLE_NOT_READY_AT_START
from cloudburst.testing import VirtualClockLoop


def test_a_refusal_long_after_the_last_one_is_the_first_again():
    async def refused():
        role = RolePropagation()
        for pause in (0, 50, 3600, 50):
            await anyio.sleep(pause)
            assert role.failure_of(ROLE_NOT_READY_AT_START) is ROLE_NOT_READY_AT_START
        await anyio.sleep(50)
        assert role.failure_of(ROLE_NOT_READY_AT_START).remedy is Remedy.FIX_SETUP

    anyio.run(refused, backend_options={"loop_factory": VirtualClockLoop})


NOT_ALLOWED = (
    "ResourceInitializationError: unable to pull secrets or registry auth: AccessDeniedException: "
    "User: role is not authorized to perform: ecr:GetAuthorizationToken on resource: *"
)
NO_ROLE = "ECS was unable to assume the role 'arn:aws:iam::123456789012:role/x'"
NO_PULL = "CannotPullContainerError: failed to resolve ref x: [manifests]: 403 Forbidden"


def described(status, reason=""):
    """The description of a task whose image pull has begun."""
    now = datetime.now(UTC)
    stop = {"stopCode": "TaskFailedToStart", "stoppedReason": reason} if reason else {}
    times = {"createdAt": now, "pullStartedAt": now}
    return parse_task_description({"lastStatus": status, "containers": [], **times, **stop})


@pytest.mark.parametrize("reason", [NOT_ALLOWED, NO_PULL])
def test_a_role_without_permissions_may_be_new_for_a_minute(reason):
    async def refused():
        failures = LaunchFailures(None)
        for pause in (0, 30, 29):
            await anyio.sleep(pause)
            failures.after_description("t", described("PENDING"))
            failure = failures.after_description("t", described("STOPPED", reason))
            assert failure.remedy is Remedy.REPEAT_REQUEST
        await anyio.sleep(1)
        failure = failures.after_description("t", described("STOPPED", reason))
        assert failure.remedy is Remedy.FIX_SETUP
        assert "cloudburst doctor" in failure.summary

    anyio.run(refused, backend_options={"loop_factory": VirtualClockLoop})


@pytest.mark.parametrize("reason", [NOT_ALLOWED, NO_PULL, NO_ROLE])
def test_a_wrong_role_is_found_even_if_each_task_takes_minutes_to_stop(reason):
    async def refused():
        failures = LaunchFailures(None)
        failure = failures.after_description("t", described("STOPPED", reason))
        assert failure.remedy is Remedy.REPEAT_REQUEST
        await anyio.sleep(150)
        failure = failures.after_description("u", described("STOPPED", reason))
        assert failure.remedy is Remedy.FIX_SETUP

    anyio.run(refused, backend_options={"loop_factory": VirtualClockLoop})


def test_a_role_with_which_a_task_has_started_is_not_new():
    async def refused():
        failures = LaunchFailures(None)
        failures.after_description("t", described("RUNNING"))
        failure = failures.after_description("u", described("STOPPED", NOT_ALLOWED))
        assert failure.remedy is Remedy.FIX_SETUP

    anyio.run(refused, backend_options={"loop_factory": VirtualClockLoop})


def test_a_task_that_ends_without_permission_has_not_started():
    async def refused():
        failures = LaunchFailures(None)
        for status in ("DEPROVISIONING", "STOPPED"):
            failure = failures.after_description("t", described(status, NOT_ALLOWED))
            assert failure.remedy is Remedy.REPEAT_REQUEST

    anyio.run(refused, backend_options={"loop_factory": VirtualClockLoop})

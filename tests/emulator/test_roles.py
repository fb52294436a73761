"""Roles that AWS does not know everywhere yet, and roles that there are not."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.policies import Access
from cloudburst.emulator.roles import RoleDetails, Roles
from cloudburst.testing import EmulatorConfig
from support.emulator_calls import client, reach, refused, request, run

ARN = "arn:aws:iam::123456789012:role/mine"
DEFINITION = {"executionRoleArn": ARN}


@pytest.fixture
def aged():
    """The roles of an account, and a clock: ``now[0]`` is the age of the role ``mine``."""
    now = [0.0]
    roles = Roles(EmulatorConfig(role_passable=2, role_assumable=10), clock=lambda: now[0])
    roles.record_change("CreateRole", {"RoleName": "mine"})
    return roles, now


def test_a_fresh_role_cannot_be_passed_at_first(aged):
    roles, now = aged
    now[0] = 1.9
    with pytest.raises(ApiError, match="iam:PassRole on resource: " + ARN) as caught:
        roles.check_passing(DEFINITION, "me")
    assert caught.value.code == "AccessDeniedException"
    now[0] = 2.0
    roles.check_passing(DEFINITION, "me")


def test_then_run_task_refuses_it_and_then_its_tasks_stop(aged):
    roles, now = aged
    now[0] = 4.9
    with pytest.raises(ApiError, match="ECS was unable to assume the role") as caught:
        roles.check_run(DEFINITION, {})
    assert caught.value.code == "ClientException"
    now[0] = 9.9
    roles.check_run(DEFINITION, {})
    assert f"ECS was unable to assume the role '{ARN}'" in roles.start_failure(DEFINITION, {})
    now[0] = 10.0
    assert roles.start_failure(DEFINITION, {}) is None


def test_roles_of_a_request_count_too(aged):
    roles, _ = aged
    with pytest.raises(ApiError, match="unable to assume"):
        roles.check_run({}, {"taskRoleArn": ARN})


def test_a_role_that_is_not_there_is_not_valid(aged):
    roles, now = aged
    now[0] = 60
    roles.check_run(DEFINITION, {})
    roles.record_change("DeleteRole", {"RoleName": "mine"})
    with pytest.raises(ApiError, match="Role is not valid"):
        roles.check_passing(DEFINITION, "me")
    with pytest.raises(ApiError, match="unable to assume"):
        roles.check_run(DEFINITION, {})


def test_a_definition_with_a_role_that_is_not_there_is_refused(emulator):
    with refused("ClientException"):
        client(emulator, "ecs").register_task_definition(
            family="mine",
            executionRoleArn=ARN,
            containerDefinitions=[{"name": "one", "image": "busybox"}],
        )


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(60)
def test_a_role_made_a_moment_ago_is_refused_for_a_moment(emulate):
    pytest.importorskip("moto")
    emulator = emulate(moto=None, role_passable=60.0, role_assumable=60.0)
    iam, ecs = client(emulator, "iam"), client(emulator, "ecs")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    made = iam.create_role(RoleName="mine", Path="/teams/", AssumeRolePolicyDocument=trust)
    wanted = ecs.describe_task_definition(taskDefinition="cloudburst-task")["taskDefinition"]
    members = ("networkMode", "requiresCompatibilities", "cpu", "memory", "containerDefinitions")
    wanted = {name: wanted[name] for name in members}
    with pytest.raises(ClientError, match="iam:PassRole") as caught:
        ecs.register_task_definition(**wanted, family="mine", executionRoleArn=made["Role"]["Arn"])
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    with pytest.raises(ClientError, match="unable to assume the role"):
        ecs.run_task(**request(emulator, overrides={"executionRoleArn": made["Role"]["Arn"]}))
    iam.delete_role(RoleName="mine")


@pytest.mark.real
@pytest.mark.timeout(60)
def test_a_task_whose_role_is_too_young_stops(with_moto):
    emulator = with_moto
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    made = client(emulator, "iam").create_role(RoleName="young", AssumeRolePolicyDocument=trust)
    roles = emulator._inside.account.roles
    [task] = run(emulator, overrides={"executionRoleArn": made["Role"]["Arn"]})
    roles.record_change("DeleteRole", {"RoleName": "young"})
    task = reach(emulator, task, "STOPPED")
    assert task.stop_code == "TaskFailedToStart"
    assert task.stopped_reason.startswith("ECS was unable to assume the role")
    assert not task.pull_started


def test_a_changed_policy_takes_effect_after_a_while(aged):
    roles, now = aged
    login = Access(action="ecr:GetAuthorizationToken")
    everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    assert roles.refusal(ARN, "task", login) is None  # nothing is known about it
    for policies in ([everything], []):
        details = RoleDetails(tags={}, boundary="", documents=[policies])
        roles.record_change("PutRolePolicy", {"RoleName": "mine"}, details)
        before = roles.refusal(ARN, "task", login)
        now[0] += 9.9
        assert roles.refusal(ARN, "task", login) == before
        now[0] += 0.1
    assert roles.refusal(ARN, "task", login).startswith(
        "User: arn:aws:sts::123456789012:assumed-role/mine/task is not authorized to perform: ecr:"
    )

"""Keys with policies: the permissions that each call needs, and AWS's words if one is missing."""

from __future__ import annotations

import json
import re
import time

import pytest
from botocore.exceptions import ClientError

from cloudburst.emulator.policies import Access
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.emulator_calls import (
    CLUSTER,
    DEFINITION,
    client,
    new_client,
    request,
    until,
)

ECS = "arn:aws:ecs:us-east-1:123456789012"
REGISTER = {
    "family": "mine",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": "arn:aws:iam::123456789012:role/cloudburst-execution-us-east-1",
    "containerDefinitions": [{"name": "main", "image": "busybox"}],
}


def limited(emulator, service, *statements):
    """A client with a key that may only do what these statements allow."""
    document = {"Version": "2012-10-17", "Statement": [*statements]}
    keys = emulator.new_key(policies=[document])
    key, secret = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
    return new_client(emulator, service, key=key, secret=secret)


def refused(code, words=""):
    """The context in which AWS must refuse with this code, in words that match a pattern."""
    return pytest.raises(ClientError, match=rf"\({code}\).*{words}")


def allow(*actions, resource="*", **condition):
    return {
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": resource,
        **({"Condition": condition} if condition else {}),
    }


@pytest.fixture(scope="module")
def shared():
    with FargateEmulator(
        EmulatorConfig.quick(moto=False, tag_lag=0.0, new_task_invisible=0.0)
    ) as emulator:
        yield emulator


def test_a_refusal_names_caller_action_and_resource(shared):
    with refused("AccessDeniedException") as caught:
        limited(shared, "ecs").describe_clusters(clusters=[CLUSTER])
    assert caught.value.response["Error"]["Message"].endswith(
        f" is not authorized to perform: ecs:DescribeClusters on resource: {ECS}:cluster/{CLUSTER}"
        " because no identity-based policy allows the ecs:DescribeClusters action"
    )
    with refused("UnauthorizedOperation", "ec2:DescribeSubnets on resource: *"):
        limited(shared, "ec2").describe_subnets()


def test_a_key_without_policies_may_do_everything_and_one_with_none_may_ask_who_it_is(shared):
    client(shared, "ecs").describe_clusters(clusters=[CLUSTER])
    arn = limited(shared, "sts").get_caller_identity()["Arn"]
    assert arn.startswith("arn:aws:iam::123456789012:user/emulator-")


RUN = [
    allow(
        "ecs:RunTask",
        resource=f"{ECS}:task-definition/{DEFINITION}:*",
        ArnEquals={"ecs:cluster": f"{ECS}:cluster/{CLUSTER}"},
        StringEquals={"aws:RequestTag/who": "me"},
        StringEqualsIfExists={"ecs:enable-execute-command": "false"},
    ),
    allow(
        "ecs:TagResource",
        resource=f"{ECS}:task/{CLUSTER}/*",
        StringEquals={"ecs:CreateAction": "RunTask"},
    ),
    allow("iam:PassRole", StringEquals={"iam:PassedToService": "ecs-tasks.amazonaws.com"}),
]
TAGS = [{"key": "who", "value": "me"}]


@pytest.mark.parametrize(
    ("without", "change", "match"),
    [
        (0, {}, "ecs:RunTask on resource: .*:task-definition/cloudburst-task:1 "),
        (1, {}, f"ecs:TagResource on resource: .*:task/{CLUSTER}/\\* "),
        (2, {}, "iam:PassRole on resource: .*:role/cloudburst-execution-us-east-1 "),
        (None, {"tags": None}, "ecs:RunTask"),
        (None, {"tags": [{"key": "who", "value": "you"}]}, "ecs:RunTask"),
        (None, {"enableExecuteCommand": True}, "ecs:RunTask"),
    ],
)
def test_run_task_needs_three_permissions_and_their_conditions(shared, without, change, match):
    statements = [one for number, one in enumerate(RUN) if number != without]
    ecs, wanted = limited(shared, "ecs", *statements), request(shared, **{"tags": TAGS, **change})
    with refused("AccessDeniedException", match):
        ecs.run_task(**wanted)
    assert not shared.live


def test_run_task_passes_with_its_permissions(shared):
    given = limited(shared, "ecs", *RUN).run_task(**request(shared, tags=TAGS))
    client(shared, "ecs").stop_task(cluster=CLUSTER, task=given["tasks"][0]["taskArn"])


def test_registering_a_definition_passes_its_role(shared):
    ecs = limited(shared, "ecs", allow("ecs:RegisterTaskDefinition"))
    with refused("AccessDeniedException", "iam:PassRole"):
        ecs.register_task_definition(**REGISTER)
    with refused(
        "AccessDeniedException", f"ecs:TagResource on resource: {ECS}:task-definition/mine"
    ):
        ecs.register_task_definition(**REGISTER, tags=TAGS)


def test_every_task_of_a_request_is_checked(shared):
    mine, other = f"{ECS}:task/{CLUSTER}/1", f"{ECS}:task/{CLUSTER}/2"
    ecs = limited(shared, "ecs", allow("ecs:DescribeTasks", resource=mine))
    ecs.describe_tasks(cluster=CLUSTER, tasks=[mine])
    ecs.describe_tasks(cluster=f"{ECS}:cluster/{CLUSTER}", tasks=["1"])
    with refused("AccessDeniedException", f"on resource: {other}"):
        ecs.describe_tasks(cluster=CLUSTER, tasks=[mine, other])


def test_conditions_see_the_tags_of_a_new_resource_after_a_while(emulate):
    emulator = emulate(tag_lag=0.5)
    mine = {"aws:ResourceTag/who": "me"}
    ecs = limited(emulator, "ecs", *RUN, allow("ecs:StopTask", StringEquals=mine))
    arn = ecs.run_task(**request(emulator, tags=TAGS))["tasks"][0]["taskArn"]
    with refused("AccessDeniedException", "ecs:StopTask"):
        ecs.stop_task(cluster=CLUSTER, task=arn)
    time.sleep(0.6)
    ecs.stop_task(cluster=CLUSTER, task=arn)
    stranger = client(emulator, "ecs").run_task(**request(emulator))["tasks"][0]["taskArn"]
    time.sleep(0.6)
    with refused("AccessDeniedException", "ecs:StopTask"):
        ecs.stop_task(cluster=CLUSTER, task=stranger)


def test_the_simulator_knows_the_policies_of_a_key(shared):
    cluster = {"ecs:cluster": f"{ECS}:cluster/{CLUSTER}"}
    iam = limited(
        shared,
        "iam",
        allow("ecs:ListTasks", ArnEquals=cluster),
        allow("iam:SimulatePrincipalPolicy", resource="arn:aws:iam::*:user/${aws:username}"),
    )
    me = f"arn:aws:iam::123456789012:user/emulator-{len(shared._inside.account.identity._keys) - 1}"
    entry = {"ContextKeyName": "ecs:cluster", "ContextKeyType": "string"}

    def decided(*values):
        entries = [{**entry, "ContextKeyValues": [value]} for value in values]
        given = iam.simulate_principal_policy(
            PolicySourceArn=me, ActionNames=["ecs:ListTasks"], ContextEntries=entries
        )
        return given["EvaluationResults"][0]["EvalDecision"]

    assert decided(cluster["ecs:cluster"]) == "allowed"
    assert decided("another") == "implicitDeny"
    assert decided() == "implicitDeny"
    with refused("AccessDenied", "iam:SimulatePrincipalPolicy"):
        iam.simulate_principal_policy(PolicySourceArn=f"{me}0", ActionNames=["ecs:ListTasks"])


def test_objects_and_lists_of_a_bucket_need_their_own_permissions(shared):
    client(shared, "s3").create_bucket(Bucket="mine")
    s3 = limited(
        shared,
        "s3",
        allow("s3:GetObject", "s3:PutObject", resource="arn:aws:s3:::mine/in/*"),
        allow("s3:ListBucket", resource="arn:aws:s3:::mine", StringLike={"s3:prefix": "in/*"}),
    )
    s3.put_object(Bucket="mine", Key="in/a", Body=b"x")
    s3.head_object(Bucket="mine", Key="in/a")
    upload = s3.create_multipart_upload(Bucket="mine", Key="in/b")["UploadId"]
    s3.upload_part(Bucket="mine", Key="in/b", UploadId=upload, PartNumber=1, Body=b"x")
    s3.list_objects_v2(Bucket="mine", Prefix="in/")
    with refused("AccessDenied", 's3:PutObject on resource: "arn:aws:s3:::mine/out/a"'):
        s3.put_object(Bucket="mine", Key="out/a", Body=b"x")
    with refused("AccessDenied", "s3:DeleteObject"):
        s3.delete_object(Bucket="mine", Key="in/a")
    with refused("AccessDenied", "s3:AbortMultipartUpload"):
        s3.abort_multipart_upload(Bucket="mine", Key="in/b", UploadId=upload)
    for prefix in ({}, {"Prefix": "out/"}):
        with refused("AccessDenied", 's3:ListBucket on resource: "arn:aws:s3:::mine"'):
            s3.list_objects_v2(Bucket="mine", **prefix)
    # The condition is about lists, so nothing says that the object is missing.
    with refused("403"):
        s3.head_object(Bucket="mine", Key="in/missing")


ROLE = "limited"
BOUNDARY = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
OWN_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "/ecs/cloudburst",
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "ecs",
    },
}


def put_policy(iam, *statements):
    document = json.dumps({"Version": "2012-10-17", "Statement": [*statements]})
    iam.put_role_policy(RoleName=ROLE, PolicyName="p", PolicyDocument=document)


@pytest.fixture(scope="module")
def with_role(with_moto):
    """The account with a role of a boundary, without policies, and a task definition of it."""
    client(with_moto, "iam").create_role(
        RoleName=ROLE,
        AssumeRolePolicyDocument="{}",
        PermissionsBoundary=BOUNDARY,
        Tags=[{"Key": "who", "Value": "me"}],
    )
    main = {"name": "main", "image": OWN_IMAGE, "logConfiguration": LOGS}
    own = {"family": ROLE, "executionRoleArn": ROLE, "containerDefinitions": [main]}
    client(with_moto, "ecs").register_task_definition(**{**REGISTER, **own})
    return with_moto


def end_of_a_task(emulator):
    """Why a task stopped; empty if it ran."""
    wanted = request(emulator, taskDefinition=ROLE, tags=None)
    arn = client(emulator, "ecs").run_task(**wanted)["tasks"][0]["taskArn"]
    number = len(emulator.tasks) - 1
    until(lambda: emulator.tasks[number].last_status in {"RUNNING", "DEPROVISIONING", "STOPPED"})
    client(emulator, "ecs").stop_task(cluster=CLUSTER, task=arn)
    return emulator.tasks[number].container_reason or ""


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        ((), "registry auth: .*not authorized to perform: ecr:GetAuthorizationToken on resource"),
        ((allow("ecr:Get*"),), "CannotPullContainerError: .*repository/mine.* 403 Forbidden"),
        ((allow("ecr:*", "s3:*"),), "failed to validate logger args: .*logs:CreateLogStream on "),
        ((allow("ecr:*", "logs:*"),), None),
    ],
)
def test_tasks_start_with_the_policies_of_their_role_only(with_role, statements, match):
    put_policy(client(with_role, "iam"), *statements, allow("s3:*"))
    reason = end_of_a_task(with_role)
    assert re.search(match, reason) if match else reason == "", reason


def test_the_boundary_limits_the_policies_of_a_role(with_role):
    iam = client(with_role, "iam")
    roles = with_role._inside.account.roles
    put_policy(iam, allow("*"))
    login = Access(action="ecr:GetAuthorizationToken")
    assert roles.refusal(ROLE, "task", login) is None
    assert "s3:GetObject" in roles.refusal(ROLE, "task", Access(action="s3:GetObject"))
    iam.delete_role_permissions_boundary(RoleName=ROLE)
    assert roles.refusal(ROLE, "task", Access(action="s3:GetObject")) is None
    iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=BOUNDARY)
    iam.delete_role_policy(RoleName=ROLE, PolicyName="p")
    assert roles.refusal(ROLE, "task", login)
    iam.attach_role_policy(RoleName=ROLE, PolicyArn=BOUNDARY)
    assert roles.refusal(ROLE, "task", login) is None
    iam.detach_role_policy(RoleName=ROLE, PolicyArn=BOUNDARY)


def test_calls_about_a_role_see_its_boundary_and_tags(with_role):
    bounded = {"iam:PermissionsBoundary": BOUNDARY}
    iam = limited(
        with_role,
        "iam",
        allow("iam:PutRolePolicy", "iam:CreateRole", ArnEquals=bounded),
        allow("iam:DeleteRole", StringEquals={"aws:ResourceTag/who": "you"}),
        allow("iam:DeleteRolePolicy", StringEquals={"aws:ResourceTag/who": "me"}),
    )
    put_policy(iam, allow("ecr:*"))
    iam.delete_role_policy(RoleName=ROLE, PolicyName="p")
    new = {"RoleName": "new", "AssumeRolePolicyDocument": "{}"}
    with refused("AccessDenied", "iam:CreateRole"):
        iam.create_role(**new)
    with refused("AccessDenied", "iam:TagRole"):
        iam.create_role(**new, PermissionsBoundary=BOUNDARY, Tags=[{"Key": "who", "Value": "me"}])
    with refused("AccessDenied", "iam:DeleteRole on resource: .*role/limited because"):
        iam.delete_role(RoleName=ROLE)


def test_security_groups_need_permissions_for_the_group_its_vpc_and_its_tags(with_role):
    vpc = client(with_role, "ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    group = "arn:aws:ec2:us-east-1:123456789012:security-group/*"
    create = allow("ec2:CreateSecurityGroup", resource=group)
    tagging = allow("ec2:CreateTags", StringEquals={"ec2:CreateAction": "CreateSecurityGroup"})
    tags = [{"ResourceType": "security-group", "Tags": [{"Key": "who", "Value": "me"}]}]
    wanted = {"GroupName": "mine", "Description": "mine", "VpcId": vpc, "TagSpecifications": tags}
    with refused("UnauthorizedOperation", f"ec2:CreateSecurityGroup on resource: .*:vpc/{vpc} "):
        limited(with_role, "ec2", create).create_security_group(**wanted)
    both = {**create, "Resource": [group, f"arn:aws:ec2:us-east-1:123456789012:vpc/{vpc}"]}
    with refused("UnauthorizedOperation", "ec2:CreateTags"):
        limited(with_role, "ec2", both).create_security_group(**wanted)
    mine = allow("ec2:DeleteSecurityGroup", StringEquals={"aws:ResourceTag/who": "me"})
    ec2 = limited(with_role, "ec2", both, tagging, mine)
    made = ec2.create_security_group(**wanted)["GroupId"]
    plain = client(with_role, "ec2").create_security_group(
        GroupName="plain", Description="plain", VpcId=vpc
    )["GroupId"]
    with refused("UnauthorizedOperation", f"ec2:DeleteSecurityGroup on resource: .*{plain}"):
        ec2.delete_security_group(GroupId=plain)
    ec2.delete_security_group(GroupId=made)

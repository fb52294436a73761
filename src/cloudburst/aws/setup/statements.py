"""IAM statements for rendering and for ``doctor``, and the ARNs in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.setup.ecr_login import OUR_REPOSITORY
from cloudburst.aws.setup.images import Repository, repository_of
from cloudburst.aws.setup.resource_definitions import (
    LOG_GROUP,
    PERMISSIONS_BOUNDARY,
    TAGS,
    all_families,
    execution_role,
    partition,
)
from cloudburst.models.settings import OWN_IMAGE, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Statement of an IAM policy that allows actions on resources."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    """ARNs of the resources; ``*`` if IAM cannot limit these actions to certain resources."""
    conditions: Mapping[str, Mapping[str, str | Sequence[str]]] | None = None

    def document(self) -> dict[str, Any]:
        """Return the statement in the syntax of IAM."""
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": self.resources[0] if len(self.resources) == 1 else list(self.resources),
            **({"Condition": self.conditions} if self.conditions else {}),
        }


class ResourceArns:
    """ARNs, and patterns of ARNs, of the resources that IAM statements name."""

    def __init__(
        self, settings: Settings, region: str, account: str, roles: Sequence[str], caller: str
    ) -> None:
        aws = f"arn:{partition(region)}"
        cluster = settings.cluster.rpartition("/")[2]
        ecs, ec2 = f"{aws}:ecs:{region}:{account}", f"{aws}:ec2:{region}:{account}"
        iam = f"{aws}:iam::{account}"
        self.cluster = f"{ecs}:cluster/{cluster}"
        self.tasks = f"{ecs}:task/{cluster}/*"
        self.task_definitions = tuple(
            f"{ecs}:task-definition/{family}:*" for family in all_families(settings)
        )
        repository = repository_of(settings.image)
        ours = Repository(account=account, region=region, name=OUR_REPOSITORY)
        self.our_repository = ours.arn
        """ARN of the repository of our own image."""
        self.image_repository = (
            self.our_repository if settings.image == OWN_IMAGE else repository and repository.arn
        )
        """ARN of the ECR repository of the settings' image; ``None`` for other registries."""
        self.log_group = f"{aws}:logs:{region}:{account}:log-group:{LOG_GROUP}"
        self.security_groups = f"{ec2}:security-group/*"
        self.vpcs = f"{ec2}:vpc/*"
        self.execution_role = f"{iam}:role/{execution_role(region)}"
        self.task_roles = tuple(roles) or (self.execution_role,)
        """ARNs of the roles that the task definition passes to tasks."""
        self.service_role = f"{iam}:role/aws-service-role/ecs.amazonaws.com/*"
        self.boundary = f"{aws}:iam::aws:policy/{PERMISSIONS_BOUNDARY}"
        self.callers = _caller_arns(iam, settings.role_arn, caller)
        """ARNs and patterns of ARNs of the users and roles that may use the policy."""
        self.has_boundary = {"ArnEquals": {"iam:PermissionsBoundary": self.boundary}}
        """Condition that a role has the permissions boundary that ``init`` gives to the execution
        role."""
        self.in_cluster = {"ArnEquals": {"ecs:cluster": self.cluster}}
        """Condition that a call is for the cluster of the settings."""


def _caller_arns(iam: str, role_arn: str | None, caller: str) -> tuple[str, ...]:
    # The ARN of a user may contain a path, which the variable does not include.
    arns = [f"{iam}:user/${{aws:username}}", f"{iam}:user/*/${{aws:username}}"]
    if role_arn:
        arns.append(role_arn)
    if session := caller.partition(":assumed-role/")[2]:
        name = session.partition("/")[0]
        arns += [f"{iam}:role/{name}", f"{iam}:role/*/{name}"]
    return tuple(arns)


OUR_TAG = "CreatedBy"
"""Key of the tag by which tasks of cloudburst are recognised; `cloudburst.aws.fargate.run_task`
sets the tag."""
_TASK_LIMITS: Mapping[str, Mapping[str, str | Sequence[str]]] = {
    "StringEquals": {f"aws:RequestTag/{OUR_TAG}": TAGS[OUR_TAG]},
    "StringEqualsIfExists": {
        "ecs:enable-ebs-volumes": "false",
        "ecs:enable-execute-command": "false",
    },
    "ForAllValues:StringLike": {"ecs:capacity-provider": ["*FARGATE", "*FARGATE_SPOT"]},
}
"""Conditions of RunTask: tasks must have our tag, and run on Fargate without a shell and without
EBS volumes. Their size is not limited: a run may need the most vCPU that Fargate has, and no
condition limits the number of tasks. AWS does not document which of the ``ecs:`` keys are present
if a request omits the parameter in question. Where a key is missing, ``IfExists`` and
``ForAllValues`` allow the request; a plain operator would deny every run. The values of
``ecs:capacity-provider`` are ARNs."""


def run_statements(settings: Settings, arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements for rendering, ``cloudburst tasks``, ``cleanup`` and ``logs``."""
    addresses = Statement(
        sid="DescribeNetworkInterfaces", actions=("ec2:DescribeNetworkInterfaces",)
    )
    return (
        Statement(
            sid="StartTasks",
            actions=("ecs:RunTask",),
            resources=arns.task_definitions,
            conditions={**arns.in_cluster, **_TASK_LIMITS},
        ),
        Statement(
            sid="TagNewTasks",
            actions=("ecs:TagResource",),
            resources=(arns.tasks,),
            conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}},
        ),
        Statement(
            sid="DescribeTasks",
            actions=("ecs:DescribeTasks",),
            resources=(arns.tasks,),
            conditions=arns.in_cluster,
        ),
        Statement(
            sid="StopOurTasks",
            actions=("ecs:StopTask",),
            resources=(arns.tasks,),
            conditions={
                **arns.in_cluster,
                "StringEquals": {f"aws:ResourceTag/{OUR_TAG}": TAGS[OUR_TAG]},
            },
        ),
        Statement(sid="ListTasks", actions=("ecs:ListTasks",), conditions=arns.in_cluster),
        Statement(sid="DescribeTaskDefinitions", actions=("ecs:DescribeTaskDefinition",)),
        pass_role_statement(*arns.task_roles),
        *([addresses] if settings.public_address else []),
        Statement(
            sid="ListLogStreams",
            actions=("logs:DescribeLogStreams",),
            resources=(f"{arns.log_group}:*",),
        ),
        # A run does not need these: they explain workers that do not answer, and show subnets in
        # which no worker can be used.
        Statement(
            sid="DescribeWorkerNetwork",
            actions=("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets"),
        ),
        Statement(
            sid="ReadLogs",
            actions=("logs:GetLogEvents",),
            resources=(f"{arns.log_group}:log-stream:*",),
        ),
    )


def doctor_statements(arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements that ``cloudburst doctor`` needs."""
    image = Statement(
        sid="ReadImage",
        actions=("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        resources=(arns.image_repository,) if arns.image_repository else (),
    )
    caller_roles = tuple(arn for arn in arns.callers if ":role/" in arn)
    return (
        describe_cluster_statement(arns),
        Statement(sid="DescribeTaskDefinitions", actions=("ecs:DescribeTaskDefinition",)),
        Statement(
            sid="ReadRoles",
            actions=("iam:GetRole",),
            resources=(*arns.task_roles, *caller_roles),
        ),
        # Limited to the caller: the simulator shows the permissions of any user or role.
        Statement(
            sid="SimulateOwnPermissions",
            actions=("iam:SimulatePrincipalPolicy",),
            resources=arns.callers,
        ),
        *([image] if arns.image_repository else []),
        list_log_groups_statement(),
        describe_network_statement(),
        Statement(sid="DescribeVpcEndpoints", actions=("ec2:DescribeVpcEndpoints",)),
        Statement(sid="ReadQuotas", actions=("servicequotas:GetServiceQuota",)),
        Statement(sid="ReadDefaultQuotas", actions=("servicequotas:GetAWSDefaultServiceQuota",)),
    )


def pass_role_statement(*roles: str) -> Statement:
    """Return the statement that RunTask and RegisterTaskDefinition need to pass roles to tasks."""
    return Statement(
        sid="PassRolesToTasks",
        actions=("iam:PassRole",),
        resources=roles,
        conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    )


def describe_cluster_statement(arns: ResourceArns) -> Statement:
    """Return the statement for reading the cluster."""
    return Statement(
        sid="DescribeCluster", actions=("ecs:DescribeClusters",), resources=(arns.cluster,)
    )


def list_log_groups_statement() -> Statement:
    """Return the statement for listing log groups, which IAM can only allow for all of them."""
    return Statement(sid="ListLogGroups", actions=("logs:DescribeLogGroups",))


def describe_network_statement() -> Statement:
    """Return the statement for reading subnets, routes and security groups."""
    return Statement(
        sid="DescribeNetwork",
        actions=(
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ),
    )


def our_tags_condition() -> dict[str, dict[str, str]]:
    """Return the condition that a resource carries the tags of ``init``."""
    return {"StringEquals": {f"aws:ResourceTag/{key}": value for key, value in TAGS.items()}}

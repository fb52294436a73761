"""The least that IAM must allow, for each thing that we do in an account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from cloudburst.account.arns import partition
from cloudburst.account.blueprint import LOG_GROUP, ROLE, ROLE_POLICY, TAGS, families
from cloudburst.adapters.aws.session import open_aws
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings

__all__ = ["Purpose", "Statement", "policy", "policy_document", "statements"]

ANY_ACCOUNT = "*"
NEEDS_NONE = frozenset({"sts:GetCallerIdentity"})
"""Actions that need no permission: GetCallerIdentity in the STS API reference (2026-11)."""


class Purpose(StrEnum):
    """What a policy is for."""

    RUN = "run"
    """Rendering; ``cloudburst tasks``, ``cleanup`` and ``logs`` too."""
    INIT = "init"
    DESTROY = "destroy"
    DOCTOR = "doctor"
    PRICES = "prices"
    """``cloudburst prices --refresh``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of a policy that allows."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    """``*`` where AWS knows no resources for these actions."""
    conditions: Mapping[str, Mapping[str, str | Sequence[str]]] | None = None

    def document(self) -> dict[str, Any]:
        """As IAM reads it."""
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": self.resources[0] if len(self.resources) == 1 else list(self.resources),
            **({"Condition": self.conditions} if self.conditions else {}),
        }


async def policy(
    settings: Settings,
    *,
    purposes: Iterable[Purpose] = (Purpose.RUN,),
    session: Any = None,
) -> dict[str, Any]:
    """The policy for these settings, as a JSON document.

    The account is that of the credentials. Where AWS does not tell it, its place in the
    ARNs is ``*``: whoever needs a policy may have no credentials yet. The session is as for `init`.
    """
    async with open_aws(settings, session=session) as aws:
        account = ANY_ACCOUNT
        roles: tuple[str, ...] = ()
        # Whoever may not look gets a policy too: with the role that init makes.
        with suppress(CloudburstError):
            account = await aws.account()
            answer = await aws.call(
                "ecs", "describe_task_definition", taskDefinition=settings.task_definition
            )
            roles = roles_of(answer["taskDefinition"])
        return policy_document(settings, purposes, region=aws.region, account=account, roles=roles)


def policy_document(
    settings: Settings,
    purposes: Iterable[Purpose],
    *,
    region: str,
    account: str,
    roles: Sequence[str] = (),
) -> dict[str, Any]:
    """The same for what is known.

    Args:
        settings: Names.
        purposes: What for.
        region: Of the ARNs.
        account: Of the ARNs.
        roles: ARNs of the roles that the task definition has; none: the one that init makes.
    """
    found: dict[str, Statement] = {}
    for purpose in purposes:
        for statement in statements(settings, purpose, region=region, account=account, roles=roles):
            known = found.get(statement.sid, statement)
            resources = tuple(dict.fromkeys((*known.resources, *statement.resources)))
            found[statement.sid] = replace(statement, resources=resources)
    return {"Version": "2012-10-17", "Statement": [one.document() for one in found.values()]}


def roles_of(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """ARNs of the roles that RunTask hands on to the tasks of a described task definition."""
    roles = (definition.get("executionRoleArn"), definition.get("taskRoleArn"))
    return tuple(role for role in roles if role)


def statements(
    settings: Settings,
    purpose: Purpose,
    *,
    region: str,
    account: str,
    roles: Sequence[str] = (),
) -> tuple[Statement, ...]:
    """The statements for one purpose; the arguments are those of `policy_document`.

    Which actions know which resources and conditions: "Actions, resources, and condition keys" of
    each service, Service Authorization Reference (2026-11).
    """
    names = _Names(settings, region, account, roles)
    match purpose:
        case Purpose.RUN:
            return _run(settings, names)
        case Purpose.INIT:
            return _init(names)
        case Purpose.DESTROY:
            return _destroy(names)
        case Purpose.DOCTOR:
            return _doctor(names)
        case Purpose.PRICES:
            return (Statement(sid="ReadPrices", actions=("pricing:GetProducts",)),)


class _Names:
    """ARNs of what a set-up consists of."""

    def __init__(self, settings: Settings, region: str, account: str, roles: Sequence[str]) -> None:
        where = partition(region)
        cluster = settings.cluster.rpartition("/")[2]
        ecs = f"arn:{where}:ecs:{region}:{account}"
        ec2 = f"arn:{where}:ec2:{region}:{account}"
        self.cluster = f"{ecs}:cluster/{cluster}"
        self.tasks = f"{ecs}:task/{cluster}/*"
        self.definitions = tuple(
            f"{ecs}:task-definition/{family}:*"
            for family in families(settings.task_definition).values()
        )
        self.group = f"arn:{where}:logs:{region}:{account}:log-group:{LOG_GROUP}"
        self.role = f"arn:{where}:iam::{account}:role/{ROLE}"
        self.roles = tuple(roles) or (self.role,)
        self.role_policy = f"arn:{where}:iam::aws:policy/{ROLE_POLICY}"
        self.service_role = f"arn:{where}:iam::{account}:role/aws-service-role/ecs.amazonaws.com/*"
        self.security_groups = f"{ec2}:security-group/*"
        self.vpcs = f"{ec2}:vpc/*"
        self.in_cluster = {"ArnEquals": {"ecs:cluster": self.cluster}}


def _run(settings: Settings, names: _Names) -> tuple[Statement, ...]:
    addresses = Statement(sid="FindAddresses", actions=("ec2:DescribeNetworkInterfaces",))
    return (
        Statement(
            sid="StartTasks",
            actions=("ecs:RunTask",),
            resources=names.definitions,
            conditions=names.in_cluster,
        ),
        Statement(
            sid="TagTasksAtTheirStart",
            actions=("ecs:TagResource",),
            resources=(names.tasks,),
            conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}},
        ),
        Statement(
            sid="WatchAndStopTasks",
            actions=("ecs:DescribeTasks", "ecs:StopTask"),
            resources=(names.tasks,),
            conditions=names.in_cluster,
        ),
        Statement(sid="ListTasks", actions=("ecs:ListTasks",), conditions=names.in_cluster),
        Statement(sid="ReadTaskDefinitions", actions=("ecs:DescribeTaskDefinition",)),
        _pass_role(*names.roles),
        *([addresses] if settings.public_address else []),
        Statement(
            sid="FindLogs",
            actions=("logs:DescribeLogStreams",),
            resources=(f"{names.group}:*",),
        ),
        Statement(
            sid="ReadLogs",
            actions=("logs:GetLogEvents",),
            resources=(f"{names.group}:log-stream:*",),
        ),
    )


def _init(names: _Names) -> tuple[Statement, ...]:
    return (
        Statement(
            sid="MakeTheCluster",
            actions=(
                "ecs:CreateCluster",
                "ecs:DescribeClusters",
                "ecs:PutClusterCapacityProviders",
            ),
            resources=(names.cluster,),
        ),
        Statement(
            sid="MakeTaskDefinitions",
            actions=("ecs:RegisterTaskDefinition",),
            resources=names.definitions,
        ),
        Statement(sid="ReadTaskDefinitions", actions=("ecs:DescribeTaskDefinition",)),
        Statement(
            sid="TagWhatIsMade",
            actions=("ecs:TagResource",),
            resources=(names.cluster, *names.definitions),
            conditions={
                "StringEquals": {"ecs:CreateAction": ["CreateCluster", "RegisterTaskDefinition"]}
            },
        ),
        _pass_role(names.role),
        Statement(
            sid="MakeTheExecutionRole",
            actions=(
                "iam:CreateRole",
                "iam:GetRole",
                "iam:ListAttachedRolePolicies",
                "iam:TagRole",
                "iam:UpdateAssumeRolePolicy",
            ),
            resources=(names.role,),
        ),
        Statement(
            sid="GiveItOnePolicy",
            actions=("iam:AttachRolePolicy",),
            resources=(names.role,),
            conditions={"ArnEquals": {"iam:PolicyARN": names.role_policy}},
        ),
        Statement(sid="FindTheServiceRole", actions=("iam:ListRoles",)),
        Statement(
            sid="MakeTheServiceRole",
            actions=("iam:CreateServiceLinkedRole",),
            resources=(names.service_role,),
            conditions={"StringEquals": {"iam:AWSServiceName": "ecs.amazonaws.com"}},
        ),
        Statement(
            sid="MakeTheLogGroup",
            actions=(
                "logs:CreateLogGroup",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
            ),
            resources=(names.group, f"{names.group}:*"),
        ),
        _find_log_groups(),
        _look_at_network(),
        Statement(
            sid="MakeASecurityGroup",
            actions=("ec2:CreateSecurityGroup",),
            resources=(names.security_groups, names.vpcs),
        ),
        Statement(
            sid="TagASecurityGroup",
            actions=("ec2:CreateTags",),
            resources=(names.security_groups,),
            conditions={"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}},
        ),
        Statement(
            sid="OpenAndCloseOurSecurityGroups",
            actions=("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"),
            resources=(names.security_groups,),
            conditions=_tagged(),
        ),
    )


def _destroy(names: _Names) -> tuple[Statement, ...]:
    return (
        Statement(
            sid="RemoveTheCluster",
            actions=("ecs:DeleteCluster", "ecs:DescribeClusters"),
            resources=(names.cluster,),
        ),
        Statement(sid="ListTasks", actions=("ecs:ListTasks",), conditions=names.in_cluster),
        Statement(
            sid="RemoveTaskDefinitions",
            actions=(
                "ecs:DeregisterTaskDefinition",
                "ecs:DescribeTaskDefinition",
                "ecs:ListTaskDefinitions",
            ),
        ),
        Statement(
            sid="RemoveTheExecutionRole",
            actions=(
                "iam:DeleteRole",
                "iam:DetachRolePolicy",
                "iam:GetRole",
                "iam:ListAttachedRolePolicies",
                "iam:UntagRole",
            ),
            resources=(names.role,),
        ),
        Statement(
            sid="RemoveTheLogGroup",
            actions=("logs:DeleteLogGroup", "logs:ListTagsForResource"),
            resources=(names.group, f"{names.group}:*"),
        ),
        _find_log_groups(),
        _look_at_network(),
        Statement(
            sid="RemoveOurSecurityGroups",
            actions=("ec2:DeleteSecurityGroup",),
            resources=(names.security_groups,),
            conditions=_tagged(),
        ),
    )


def _doctor(names: _Names) -> tuple[Statement, ...]:
    return (
        Statement(
            sid="LookAtTheCluster", actions=("ecs:DescribeClusters",), resources=(names.cluster,)
        ),
        Statement(sid="ReadTaskDefinitions", actions=("ecs:DescribeTaskDefinition",)),
        Statement(
            sid="LookAtRoles",
            actions=("iam:GetRole", "iam:SimulatePrincipalPolicy"),
        ),
        _find_log_groups(),
        _look_at_network(),
        Statement(sid="LookForEndpoints", actions=("ec2:DescribeVpcEndpoints",)),
        Statement(sid="ReadQuotas", actions=("servicequotas:GetServiceQuota",)),
        Statement(sid="ReadDefaultQuotas", actions=("servicequotas:GetAWSDefaultServiceQuota",)),
    )


def _pass_role(*roles: str) -> Statement:
    """RunTask and RegisterTaskDefinition hand roles on to tasks."""
    return Statement(
        sid="PassRolesToTasks",
        actions=("iam:PassRole",),
        resources=roles,
        conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    )


def _find_log_groups() -> Statement:
    return Statement(sid="FindLogGroups", actions=("logs:DescribeLogGroups",))


def _look_at_network() -> Statement:
    return Statement(
        sid="LookAtTheNetwork",
        actions=(
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ),
    )


def _tagged() -> dict[str, dict[str, str]]:
    return {"StringEquals": {f"aws:ResourceTag/{key}": value for key, value in TAGS.items()}}

"""IAM statements for runs, ``doctor``, ``init`` and ``destroy``, and the ARNs in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cloudburst.aws.setup.ecr import OUR_REPOSITORY, Repository, repository_of
from cloudburst.aws.setup.resource_definitions import (
    LOG_GROUP,
    PERMISSIONS_BOUNDARY,
    TAGS,
    all_families,
    execution_role,
    partition,
)
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import OWN_IMAGE, Settings

Conditions: TypeAlias = Mapping[str, Mapping[str, str | Sequence[str]]]
OUR_TAG = "CreatedBy"
"""Key of the tag by which tasks of cloudburst are recognised; `cloudburst.aws.fargate.run_task`
sets the tag."""
OUR_TAGS = {"StringEquals": {f"aws:ResourceTag/{key}": value for key, value in TAGS.items()}}
"""Condition that a resource carries the tags of ``init``."""
# Conditions of RunTask: tasks must have our tag, and run on Fargate without a shell and without EBS
# volumes. Their size is not limited: a run may need the most vCPU that Fargate has, and no
# condition limits the number of tasks. AWS does not document which of the ``ecs:`` keys are present
# if a request omits the parameter in question. Where a key is missing, ``IfExists`` and
# ``ForAllValues`` allow the request; a plain operator would deny every run. The values of
# ``ecs:capacity-provider`` are ARNs.
_TASK_LIMITS: Mapping[str, Mapping[str, str | Sequence[str]]] = {
    "StringEquals": {f"aws:RequestTag/{OUR_TAG}": TAGS[OUR_TAG]},
    "StringEqualsIfExists": {
        "ecs:enable-ebs-volumes": "false",
        "ecs:enable-execute-command": "false",
    },
    "ForAllValues:StringLike": {"ecs:capacity-provider": ["*FARGATE", "*FARGATE_SPOT"]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Statement of an IAM policy that allows actions on resources."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    """ARNs of the resources; ``*`` if IAM cannot limit these actions to certain resources."""
    conditions: Conditions | None = None

    def document(self) -> dict[str, Any]:
        """Return the statement in the syntax of IAM."""
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": self.resources[0] if len(self.resources) == 1 else list(self.resources),
            **({"Condition": self.conditions} if self.conditions else {}),
        }


def allow(
    sid: str, resources: str | Sequence[str], *actions: str, when: Conditions | None = None
) -> Statement:
    """Return the statement that allows actions on resources, under conditions if there are any."""
    named = (resources,) if isinstance(resources, str) else tuple(resources)
    return Statement(sid=sid, actions=actions, resources=named, conditions=when)


@dataclass(frozen=True, slots=True)
class PolicyScope:
    """Account, region and resources to which a policy is limited."""

    settings: Settings
    """Names of the resources."""
    region: str
    """Region in the ARNs."""
    account: str
    """Id of the account in the ARNs."""
    roles: Sequence[str] = ()
    """ARNs of the roles of the task definition; if empty, the role that ``init`` creates."""
    caller: str = ""
    """ARN of the caller; if it is a role, the policy for ``doctor`` allows reading that role."""
    s3: Sequence[S3Prefix] = ()
    """Folders in S3 that runs use."""
    s3_keys: Sequence[str] = ()
    """ARNs of the keys of KMS with which objects in these folders are encrypted."""


class ResourceArns:
    """ARNs, and patterns of ARNs, of the resources that IAM statements name."""

    def __init__(self, scope: PolicyScope) -> None:
        settings, region, account = scope.settings, scope.region, scope.account
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
        self.security_groups, self.vpcs = f"{ec2}:security-group/*", f"{ec2}:vpc/*"
        self.execution_role = f"{iam}:role/{execution_role(region)}"
        self.task_roles = tuple(scope.roles) or (self.execution_role,)
        """ARNs of the roles that the task definition passes to tasks."""
        self.service_role = f"{iam}:role/aws-service-role/ecs.amazonaws.com/*"
        self.callers = _caller_arns(iam, settings.role_arn, scope.caller)
        """ARNs and patterns of ARNs of the users and roles that may use the policy."""
        boundary = f"{aws}:iam::aws:policy/{PERMISSIONS_BOUNDARY}"
        self.has_boundary = {"ArnEquals": {"iam:PermissionsBoundary": boundary}}
        self.in_cluster = {"ArnEquals": {"ecs:cluster": self.cluster}}


def _caller_arns(iam: str, role_arn: str | None, caller: str) -> tuple[str, ...]:
    # The ARN of a user may contain a path, which the variable does not include.
    arns = [f"{iam}:user/${{aws:username}}", f"{iam}:user/*/${{aws:username}}"]
    if role_arn:
        arns.append(role_arn)
    if session := caller.partition(":assumed-role/")[2]:
        name = session.partition("/")[0]
        arns += [f"{iam}:role/{name}", f"{iam}:role/*/{name}"]
    return tuple(arns)


def run_statements(settings: Settings, arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements for rendering, ``cloudburst tasks``, ``cleanup`` and ``logs``."""
    our_tag = {"StringEquals": {f"aws:ResourceTag/{OUR_TAG}": TAGS[OUR_TAG]}}
    new = {"StringEquals": {"ecs:CreateAction": "RunTask"}}
    streams = f"{arns.log_group}:log-stream:*"
    start = {**arns.in_cluster, **_TASK_LIMITS}
    addresses = allow("DescribeNetworkInterfaces", "*", "ec2:DescribeNetworkInterfaces")
    return (
        allow("StartTasks", arns.task_definitions, "ecs:RunTask", when=start),
        allow("TagNewTasks", arns.tasks, "ecs:TagResource", when=new),
        allow("DescribeTasks", arns.tasks, "ecs:DescribeTasks", when=arns.in_cluster),
        allow("StopOurTasks", arns.tasks, "ecs:StopTask", when={**arns.in_cluster, **our_tag}),
        allow("ListTasks", "*", "ecs:ListTasks", when=arns.in_cluster),
        allow("DescribeTaskDefinitions", "*", "ecs:DescribeTaskDefinition"),
        pass_role_statement(arns.task_roles),
        *([addresses] if settings.public_address else []),
        allow("ListLogStreams", f"{arns.log_group}:*", "logs:DescribeLogStreams"),
        # A run does not need these: they explain workers that do not answer, show subnets in which
        # no worker can be used, and bound the tasks for a budget or a deadline.
        allow("DescribeWorkerNetwork", "*", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets"),
        allow("ReadLogs", streams, "logs:GetLogEvents"),
        READ_QUOTAS,
    )


def doctor_statements(arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements that ``cloudburst doctor`` needs."""
    image = arns.image_repository
    read_image = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    roles = (*arns.task_roles, *(arn for arn in arns.callers if ":role/" in arn))
    return (
        describe_cluster_statement(arns),
        allow("DescribeTaskDefinitions", "*", "ecs:DescribeTaskDefinition"),
        allow("ReadRoles", roles, "iam:GetRole"),
        # Limited to the caller: the simulator shows the permissions of any user or role.
        allow("SimulateOwnPermissions", arns.callers, "iam:SimulatePrincipalPolicy"),
        *([allow("ReadImage", image, *read_image)] if image else []),
        LIST_LOG_GROUPS,
        DESCRIBE_NETWORK,
        allow("DescribeVpcEndpoints", "*", "ec2:DescribeVpcEndpoints"),
        READ_QUOTAS,
    )


def pass_role_statement(roles: str | Sequence[str]) -> Statement:
    """Return the statement that RunTask and RegisterTaskDefinition need to pass roles to tasks."""
    to_tasks = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    return allow("PassRolesToTasks", roles, "iam:PassRole", when=to_tasks)


def describe_cluster_statement(arns: ResourceArns) -> Statement:
    """Return the statement for reading the cluster."""
    return allow("DescribeCluster", arns.cluster, "ecs:DescribeClusters")


# IAM can allow the two for all resources only.
LIST_LOG_GROUPS = allow("ListLogGroups", "*", "logs:DescribeLogGroups")
READ_QUOTAS = allow(
    "ReadQuotas",
    "*",
    "servicequotas:GetServiceQuota",
    "servicequotas:GetAWSDefaultServiceQuota",
)
DESCRIBE_NETWORK = allow(
    "DescribeNetwork",
    "*",
    *(f"ec2:Describe{name}" for name in ("RouteTables", "SecurityGroups", "Subnets", "Vpcs")),
)


def init_statements(settings: Settings, arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements that ``cloudburst init`` needs."""
    cluster, role, group = arns.cluster, arns.execution_role, arns.security_groups
    log_group = (arns.log_group, f"{arns.log_group}:*")
    creation = ["CreateCluster", "RegisterTaskDefinition"]
    new = {"StringEquals": {"ecs:CreateAction": creation}}
    new_group = {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}}
    for_ecs = {"StringEquals": {"iam:AWSServiceName": "ecs.amazonaws.com"}}
    return (
        *(_image_statements(arns) if settings.image == OWN_IMAGE else ()),
        describe_cluster_statement(arns),
        allow("CreateCluster", cluster, "ecs:CreateCluster", "ecs:PutClusterCapacityProviders"),
        # The Service Authorization Reference names a resource for this action; the ECS developer
        # guide says that there is none ("Identity-based policy examples", 2026-11), and refusals
        # name "resource: *". With ARNs IAM might deny it. What a definition can run is limited by
        # PassRolesToTasks, and RunTask by its own policy.
        allow("RegisterTaskDefinitions", "*", "ecs:RegisterTaskDefinition"),
        allow("DescribeTaskDefinitions", "*", "ecs:DescribeTaskDefinition"),
        allow("TagNewResources", (cluster, *arns.task_definitions), "ecs:TagResource", when=new),
        pass_role_statement(role),
        allow(
            "ReadAndTagExecutionRole",
            role,
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:TagRole",
        ),
        # A user who may write the policy of a role, or its trust policy, and pass the role to a
        # task has all permissions of the role. So these actions are allowed only for a role that
        # can never have more than AWS's own policy for execution roles.
        allow(
            "CreateExecutionRole",
            role,
            "iam:CreateRole",
            "iam:PutRolePermissionsBoundary",
            "iam:PutRolePolicy",
            "iam:UpdateAssumeRolePolicy",
            when=arns.has_boundary,
        ),
        allow("ListRoles", "*", "iam:ListRoles"),
        allow("CreateServiceRole", arns.service_role, "iam:CreateServiceLinkedRole", when=for_ecs),
        allow(
            "CreateLogGroup",
            log_group,
            "logs:CreateLogGroup",
            "logs:ListTagsForResource",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
        ),
        LIST_LOG_GROUPS,
        DESCRIBE_NETWORK,
        allow("CreateSecurityGroup", (group, arns.vpcs), "ec2:CreateSecurityGroup"),
        allow("TagNewSecurityGroup", group, "ec2:CreateTags", when=new_group),
        allow(
            "ChangeOurIngressRules",
            group,
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:RevokeSecurityGroupIngress",
            when=OUR_TAGS,
        ),
    )


def _image_statements(arns: ResourceArns) -> tuple[Statement, ...]:
    # The actions of a push: "IAM permissions for pushing an image to an Amazon ECR private
    # repository", ECR user guide (2026-11).
    repository = arns.our_repository
    return (
        # IAM supports no resource for it.
        allow("LogInToECR", "*", "ecr:GetAuthorizationToken"),
        allow(
            "DescribeRepository",
            repository,
            "ecr:DescribeRepositories",
            "ecr:GetLifecyclePolicy",
            "ecr:ListTagsForResource",
        ),
        allow(
            "CreateRepository",
            repository,
            "ecr:CreateRepository",
            "ecr:PutImageScanningConfiguration",
            "ecr:PutLifecyclePolicy",
            "ecr:TagResource",
        ),
        push_statement("PushImage", repository),
    )


def push_statement(sid: str, repository: str) -> Statement:
    """Return the statement for pushing images to a repository."""
    return allow(
        sid,
        repository,
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    )


def destroy_statements(arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements that ``cloudburst init --destroy`` needs."""
    role, repository, ours = arns.execution_role, arns.our_repository, OUR_TAGS
    log_group = (arns.log_group, f"{arns.log_group}:*")
    delete_role = ("iam:DeleteRole", "iam:DeleteRolePolicy")
    delete_repository = ("ecr:BatchDeleteImage", "ecr:DeleteRepository")
    return (
        describe_cluster_statement(arns),
        allow("DeleteCluster", arns.cluster, "ecs:DeleteCluster", when=ours),
        allow("ListTasks", "*", "ecs:ListTasks", when=arns.in_cluster),
        # IAM supports neither a resource nor a condition for any of the three: this allows to
        # deregister every task definition of the account.
        allow(
            "DeregisterTaskDefinitions",
            "*",
            "ecs:DeregisterTaskDefinition",
            "ecs:DescribeTaskDefinition",
            "ecs:ListTaskDefinitions",
        ),
        allow("ReadExecutionRole", role, "iam:GetRole", "iam:GetRolePolicy"),
        allow("DeleteExecutionRole", role, *delete_role, when=ours),
        allow("DeleteLogGroup", log_group, "logs:DeleteLogGroup", "logs:ListTagsForResource"),
        LIST_LOG_GROUPS,
        allow(
            "ReadRepository",
            repository,
            "ecr:BatchGetImage",
            "ecr:DescribeImages",
            "ecr:DescribeRepositories",
            "ecr:ListTagsForResource",
        ),
        allow("DeleteOurRepository", repository, *delete_repository, when=ours),
        DESCRIBE_NETWORK,
        allow(
            "DeleteOurSecurityGroups", arns.security_groups, "ec2:DeleteSecurityGroup", when=ours
        ),
    )

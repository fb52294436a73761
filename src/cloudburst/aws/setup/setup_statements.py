"""IAM statements that ``init`` needs to create resources, and ``destroy`` to remove them."""

from __future__ import annotations

from cloudburst.aws.setup.statements import (
    OUR_TAGS,
    ResourceArns,
    Statement,
    allow,
    describe_cluster_statement,
    describe_network_statement,
    list_log_groups_statement,
    pass_role_statement,
)
from cloudburst.models.settings import OWN_IMAGE, Settings


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
        list_log_groups_statement(),
        describe_network_statement(),
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
    """Return the statements for the repository of our own image, and for pushing to it.

    The actions of a push are those of "IAM permissions for pushing an image to an Amazon ECR
    private repository", ECR user guide (2026-11).
    """
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
        list_log_groups_statement(),
        allow(
            "ReadRepository",
            repository,
            "ecr:BatchGetImage",
            "ecr:DescribeImages",
            "ecr:DescribeRepositories",
            "ecr:ListTagsForResource",
        ),
        allow("DeleteOurRepository", repository, *delete_repository, when=ours),
        describe_network_statement(),
        allow(
            "DeleteOurSecurityGroups", arns.security_groups, "ec2:DeleteSecurityGroup", when=ours
        ),
    )

"""IAM statements that ``init`` needs to create resources, and ``destroy`` to remove them."""

from __future__ import annotations

from cloudburst.aws.setup.statements import (
    ResourceArns,
    Statement,
    describe_cluster_statement,
    describe_network_statement,
    list_log_groups_statement,
    our_tags_condition,
    pass_role_statement,
)
from cloudburst.models.settings import OWN_IMAGE, Settings


def init_statements(settings: Settings, arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements that ``cloudburst init`` needs."""
    return (
        *(_image_statements(arns) if settings.image == OWN_IMAGE else ()),
        describe_cluster_statement(arns),
        Statement(
            sid="CreateCluster",
            actions=("ecs:CreateCluster", "ecs:PutClusterCapacityProviders"),
            resources=(arns.cluster,),
        ),
        # The Service Authorization Reference names a resource for this action; the ECS developer
        # guide says that there is none ("Identity-based policy examples", 2026-11), and refusals
        # name "resource: *". With ARNs IAM might deny it. What a definition can run is limited by
        # PassRolesToTasks, and RunTask by its own policy.
        Statement(sid="RegisterTaskDefinitions", actions=("ecs:RegisterTaskDefinition",)),
        Statement(sid="DescribeTaskDefinitions", actions=("ecs:DescribeTaskDefinition",)),
        Statement(
            sid="TagNewResources",
            actions=("ecs:TagResource",),
            resources=(arns.cluster, *arns.task_definitions),
            conditions={
                "StringEquals": {"ecs:CreateAction": ["CreateCluster", "RegisterTaskDefinition"]}
            },
        ),
        pass_role_statement(arns.execution_role),
        Statement(
            sid="ReadAndTagExecutionRole",
            actions=(
                "iam:GetRole",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:TagRole",
            ),
            resources=(arns.execution_role,),
        ),
        # A user who may write the policy of a role, or its trust policy, and pass the role to a
        # task has all permissions of the role. So these actions are allowed only for a role that
        # can never have more than AWS's own policy for execution roles.
        Statement(
            sid="CreateExecutionRole",
            actions=(
                "iam:CreateRole",
                "iam:PutRolePermissionsBoundary",
                "iam:PutRolePolicy",
                "iam:UpdateAssumeRolePolicy",
            ),
            resources=(arns.execution_role,),
            conditions=arns.has_boundary,
        ),
        Statement(sid="ListRoles", actions=("iam:ListRoles",)),
        Statement(
            sid="CreateServiceRole",
            actions=("iam:CreateServiceLinkedRole",),
            resources=(arns.service_role,),
            conditions={"StringEquals": {"iam:AWSServiceName": "ecs.amazonaws.com"}},
        ),
        Statement(
            sid="CreateLogGroup",
            actions=(
                "logs:CreateLogGroup",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
            ),
            resources=(arns.log_group, f"{arns.log_group}:*"),
        ),
        list_log_groups_statement(),
        describe_network_statement(),
        Statement(
            sid="CreateSecurityGroup",
            actions=("ec2:CreateSecurityGroup",),
            resources=(arns.security_groups, arns.vpcs),
        ),
        Statement(
            sid="TagNewSecurityGroup",
            actions=("ec2:CreateTags",),
            resources=(arns.security_groups,),
            conditions={"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}},
        ),
        Statement(
            sid="ChangeOurIngressRules",
            actions=("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"),
            resources=(arns.security_groups,),
            conditions=our_tags_condition(),
        ),
    )


def _image_statements(arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements for the repository of our own image, and for pushing to it.

    The actions of a push are those of "IAM permissions for pushing an image to an Amazon ECR
    private repository", ECR user guide (2026-11).
    """
    repository = (arns.our_repository,)
    return (
        # IAM supports no resource for it.
        Statement(sid="LogInToECR", actions=("ecr:GetAuthorizationToken",)),
        Statement(
            sid="DescribeRepository",
            actions=(
                "ecr:DescribeRepositories",
                "ecr:GetLifecyclePolicy",
                "ecr:ListTagsForResource",
            ),
            resources=repository,
        ),
        Statement(
            sid="CreateRepository",
            actions=(
                "ecr:CreateRepository",
                "ecr:PutImageScanningConfiguration",
                "ecr:PutLifecyclePolicy",
                "ecr:TagResource",
            ),
            resources=repository,
        ),
        push_statement("PushImage", arns.our_repository),
    )


def push_statement(sid: str, repository: str) -> Statement:
    """Return the statement for pushing images to a repository."""
    return Statement(
        sid=sid,
        actions=(
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ),
        resources=(repository,),
    )


def destroy_statements(arns: ResourceArns) -> tuple[Statement, ...]:
    """Return the statements that ``cloudburst init --destroy`` needs."""
    return (
        describe_cluster_statement(arns),
        Statement(
            sid="DeleteCluster",
            actions=("ecs:DeleteCluster",),
            resources=(arns.cluster,),
            conditions=our_tags_condition(),
        ),
        Statement(sid="ListTasks", actions=("ecs:ListTasks",), conditions=arns.in_cluster),
        # IAM supports neither a resource nor a condition for any of the three: this allows to
        # deregister every task definition of the account.
        Statement(
            sid="DeregisterTaskDefinitions",
            actions=(
                "ecs:DeregisterTaskDefinition",
                "ecs:DescribeTaskDefinition",
                "ecs:ListTaskDefinitions",
            ),
        ),
        Statement(
            sid="ReadExecutionRole",
            actions=("iam:GetRole", "iam:GetRolePolicy"),
            resources=(arns.execution_role,),
        ),
        Statement(
            sid="DeleteExecutionRole",
            actions=("iam:DeleteRole", "iam:DeleteRolePolicy"),
            resources=(arns.execution_role,),
            conditions=our_tags_condition(),
        ),
        Statement(
            sid="DeleteLogGroup",
            actions=("logs:DeleteLogGroup", "logs:ListTagsForResource"),
            resources=(arns.log_group, f"{arns.log_group}:*"),
        ),
        list_log_groups_statement(),
        Statement(
            sid="ReadRepository",
            actions=(
                "ecr:BatchGetImage",
                "ecr:DescribeImages",
                "ecr:DescribeRepositories",
                "ecr:ListTagsForResource",
            ),
            resources=(arns.our_repository,),
        ),
        Statement(
            sid="DeleteOurRepository",
            actions=("ecr:BatchDeleteImage", "ecr:DeleteRepository"),
            resources=(arns.our_repository,),
            conditions=our_tags_condition(),
        ),
        describe_network_statement(),
        Statement(
            sid="DeleteOurSecurityGroups",
            actions=("ec2:DeleteSecurityGroup",),
            resources=(arns.security_groups,),
            conditions=our_tags_condition(),
        ),
    )

"""Resources of an account but security groups and images: each function reads one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_structure, or_none
from cloudburst.aws.fargate.placement import CAPACITY_PROVIDERS
from cloudburst.aws.setup.changes import SETTLE_TIMEOUT, USED_UNCHANGED, Change, Resource
from cloudburst.aws.setup.ecr import repository_of, short_image_name
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE_POLICY,
    LOG_GROUP,
    LOG_RETENTION_DAYS,
    PERMISSIONS_BOUNDARY,
    PULL_SID,
    TAGS,
    TRUST_POLICY,
    differences,
    differences_text,
    execution_role,
    has_our_tags,
    partition,
    role_policy,
    tag_list,
)
from cloudburst.errors import ConfigurationError

SERVICE_ROLE = "AWSServiceRoleForECS"
SERVICE_ROLE_PATH = "/aws-service-role/ecs.amazonaws.com/"


async def read_service_role(aws: AWSClient) -> Resource:
    """Return the role with which ECS attaches network interfaces."""
    found = await aws.collect_pages("iam", "list_roles", "Roles", PathPrefix=SERVICE_ROLE_PATH)
    detail = "for ECS's own use; destroy keeps it because other clusters need it too"
    create = Change(
        "iam", "create_service_linked_role", {"AWSServiceName": "ecs.amazonaws.com"}, detail
    )
    return Resource(
        kind="service role",
        name=SERVICE_ROLE,
        exists=bool(found),
        missing=() if found else (create,),
        note="for ECS's own use",
    )


async def read_cluster(aws: AWSClient, reference: str) -> Resource:
    """Return a cluster, which lacks capacity providers of Fargate if another program created it."""
    name = reference.rpartition("/")[2]
    answer = await aws.call("ecs", "describe_clusters", clusters=[name], include=["TAGS"])
    found = next((one for one in answer["clusters"] if one["status"] == "ACTIVE"), None)
    known: Mapping[str, Any] = found or {}
    attached: list[str] = known.get("capacityProviders") or []
    lacking = [provider for provider in CAPACITY_PROVIDERS if provider not in attached]
    missing: list[Change] = []
    if found is None:
        parameters = {
            "clusterName": name,
            "capacityProviders": lacking,
            # AWS bills Container Insights by the metric.
            "settings": [{"name": "containerInsights", "value": "disabled"}],
            "tags": tag_list(),
        }
        detail = f"with {' and '.join(lacking)}"
        missing.append(Change("ecs", "create_cluster", parameters, detail))
    elif lacking:
        parameters = {
            "cluster": name,
            "capacityProviders": [*attached, *lacking],
            "defaultCapacityProviderStrategy": found.get("defaultCapacityProviderStrategy") or [],
        }
        detail = f"{' and '.join(lacking)} attached"
        missing.append(Change("ecs", "put_cluster_capacity_providers", parameters, detail))
    return Resource(
        kind="cluster",
        name=name,
        exists=found is not None,
        tags=known.get("tags") or (),
        missing=missing,
        removal=[Change("ecs", "delete_cluster", {"cluster": name})],
    )


async def read_log_group(aws: AWSClient, *, to_remove: bool = False) -> Resource:
    """Return the log group of tasks; its tags are read only if they are needed."""
    groups = await aws.collect_pages(
        "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=LOG_GROUP
    )
    found: Mapping[str, Any] | None = next(
        (one for one in groups if one["logGroupName"] == LOG_GROUP), None
    )
    name, tags, missing, kept = {"logGroupName": LOG_GROUP}, dict[str, str](), list[Change](), ""
    if found is None:
        missing.append(Change("logs", "create_log_group", {**name, "tags": dict(TAGS)}))
    elif to_remove or not found.get("retentionInDays"):
        arn = found.get("logGroupArn") or str(found["arn"]).removesuffix(":*")
        answer = await aws.call("logs", "list_tags_for_resource", resourceArn=arn)
        tags = answer["tags"]
    if found is None or not found.get("retentionInDays"):
        parameters = {**name, "retentionInDays": LOG_RETENTION_DAYS}
        detail = f"keeps lines for {LOG_RETENTION_DAYS} days"
        missing.append(Change("logs", "put_retention_policy", parameters, detail))
    if found and missing and not has_our_tags(tags):
        missing, kept = [], "not created by init, and keeps lines forever"
    return Resource(
        kind="log group",
        name=LOG_GROUP,
        exists=found is not None,
        tags=tags,
        missing=missing,
        removal=[Change("logs", "delete_log_group", name)],
        kept=kept,
    )


async def read_execution_role(aws: AWSClient, account: str, image: str = "") -> Resource:
    """Return the role with which Fargate pulls an image and writes logs.

    Raises:
        ConfigurationError: The role exists, was not created by ``init``, and lacks permissions or
            trust that tasks need.
    """
    name, prefix = execution_role(aws.region), f"arn:{partition(aws.region)}:iam:"
    boundary = f"{prefix}:aws:policy/{PERMISSIONS_BOUNDARY}"
    answer = await or_none(aws.call("iam", "get_role", RoleName=name))
    role: Mapping[str, Any] | None = answer["Role"] if answer else None
    policy: dict[str, Any] = {"RoleName": name, "PolicyName": EXECUTION_ROLE_POLICY}
    answer = await or_none(aws.call("iam", "get_role_policy", **policy)) if role else None
    inline: Mapping[str, Any] | None = answer["PolicyDocument"] if answer else None
    repository, trust = repository_of(image) if image else None, json.dumps(TRUST_POLICY)
    pulled = {repository.arn} if repository else set[str]()
    required = role_policy(aws.region, account, pulled | _pulled_repositories(inline))
    missing: list[Change] = []

    def add(operation: str, detail: str, **parameters: Any) -> None:
        missing.append(Change("iam", operation, {"RoleName": name, **parameters}, detail))

    if role is None:
        add(
            "create_role",
            "",
            Description="Lets Fargate pull images and write logs for CloudBurst",
            AssumeRolePolicyDocument=trust,
            PermissionsBoundary=boundary,
            Tags=tag_list(key="Key", value="Value"),
        )
    else:
        # The boundary comes first: the policy of `init` allows the next two for a role with this
        # boundary only.
        if get_structure(role, "PermissionsBoundary").get("PermissionsBoundaryArn") != boundary:
            detail = "permissions boundary set"
            add("put_role_permissions_boundary", detail, PermissionsBoundary=boundary)
        if role.get("AssumeRolePolicyDocument") != TRUST_POLICY:
            add("update_assume_role_policy", "trusts ECS tasks only", PolicyDocument=trust)
    if inline != required:
        pulls = f" and pull {repository.name}" if repository else ""
        parameters = {**policy, "PolicyDocument": json.dumps(required)}
        detail = f"may write to {LOG_GROUP}{pulls}"
        missing.append(Change("iam", "put_role_policy", parameters, detail))
    tags, note = (role or {}).get("Tags") or (), ""
    if role and image and not has_our_tags(tags):
        await _check_foreign_role(aws, name, {one.operation for one in missing}, boundary)
        missing, note = [], USED_UNCHANGED
    removal = [
        # Only our own policy: IAM refuses to delete a role with anything else attached.
        *([Change("iam", "delete_role_policy", policy)] if inline is not None else []),
        Change("iam", "delete_role", {"RoleName": name}),
    ]
    return Resource(
        kind="execution role",
        name=name,
        exists=role is not None,
        arn=str(role["Arn"]) if role else f"{prefix}:{account}:role/{name}",
        is_new=role is not None
        and (datetime.now(UTC) - role["CreateDate"]).total_seconds() < SETTLE_TIMEOUT,
        tags=tags,
        missing=missing,
        removal=removal,
        note=note,
    )


def _pulled_repositories(inline: Mapping[str, Any] | None) -> set[str]:
    """Return the repositories of a policy: other task definitions of the region need them."""
    statements: Sequence[Mapping[str, Any]] = (inline or {}).get("Statement") or []
    for statement in statements:
        if statement.get("Sid") == PULL_SID:
            named: str | list[str] = statement.get("Resource") or []
            return {named} if isinstance(named, str) else set(named)
    return set()


async def _check_foreign_role(
    aws: AWSClient, name: str, corrections: set[str], boundary: str
) -> None:
    # A role that ``init`` did not create is never changed. AWS's managed policy is enough, too.
    lacks: list[str] = []
    if "update_assume_role_policy" in corrections:
        lacks.append("a trust policy for ecs-tasks.amazonaws.com")
    if "put_role_policy" in corrections:
        attached = await aws.collect_pages(
            "iam", "list_attached_role_policies", "AttachedPolicies", RoleName=name
        )
        if boundary not in {one["PolicyArn"] for one in attached}:
            lacks.append(PERMISSIONS_BOUNDARY.rpartition("/")[2])
    if lacks:
        msg = f"the role {name} was not created by init and lacks {' and '.join(lacks)}"
        fix = "add what it lacks (if a stack owns it, with the stack's parameter Image)"
        raise ConfigurationError(f"{msg}: {fix}, or delete the role")


async def read_task_definition(aws: AWSClient, required: Mapping[str, Any]) -> Resource:
    """Return a family's newest revision, which is correct if it is as ``required``."""
    found = await newest_definition(aws, required["family"])
    paths = differences(required, found) if found else []
    if paths:
        detail = f"a new revision: {differences_text(paths)}"
    else:
        image = required["containerDefinitions"][0]["image"]
        architecture = required["runtimePlatform"]["cpuArchitecture"]
        detail = f"{short_image_name(image)} on {architecture}"
    parameters = {**required, "tags": tag_list()}
    register = Change("ecs", "register_task_definition", parameters, detail)
    return Resource(
        kind="task definition",
        name=revision_name(found["taskDefinitionArn"]) if found else required["family"],
        exists=found is not None,
        missing=[register] if paths or found is None else (),
        note=detail,
    )


async def read_revision(aws: AWSClient, arn: str) -> Resource:
    """Return a revision of a task definition."""
    answer = await or_none(
        aws.call("ecs", "describe_task_definition", taskDefinition=arn, include=["TAGS"])
    )
    return Resource(
        kind="task definition",
        name=revision_name(arn),
        exists=answer is not None,
        tags=(answer or {}).get("tags") or (),
        removal=[Change("ecs", "deregister_task_definition", {"taskDefinition": arn})],
    )


async def newest_definition(aws: AWSClient, family: str) -> dict[str, Any] | None:
    """Return a family's newest active revision; ``None`` if there is none."""
    answer = await or_none(aws.call("ecs", "describe_task_definition", taskDefinition=family))
    return answer["taskDefinition"] if answer else None


def revision_name(arn: str) -> str:
    """Return the family and the revision in the ARN of a task definition."""
    return arn.rpartition("/")[2]

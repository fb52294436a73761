"""IAM roles that tasks need: ECS's service role and the execution role."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.aws.setup.images import repository_of
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE_POLICY,
    LOG_GROUP,
    PERMISSIONS_BOUNDARY,
    PULL_SID,
    TRUST_POLICY,
    execution_role,
    has_our_tags,
    partition,
    role_policy,
    tag_list,
)
from cloudburst.aws.setup.resources import (
    IAM_VISIBLE_TIMEOUT,
    is_unknown_to_iam,
    retry_while_unknown,
)
from cloudburst.errors import (
    ConfigurationError,
    ResourceMissingError,
)

SERVICE_ROLE = "AWSServiceRoleForECS"
SERVICE_ROLE_PATH = "/aws-service-role/ecs.amazonaws.com/"


async def ensure_service_role(changes: AccountChanges) -> bool:
    """Create the role with which ECS attaches network interfaces, if the account lacks it.

    Returns:
        True if the role was created.
    """
    found = await changes.aws.collect_pages(
        "iam", "list_roles", "Roles", PathPrefix=SERVICE_ROLE_PATH
    )
    if found:
        changes.record("service role", SERVICE_ROLE, StepOutcome.FOUND)
        return False
    await changes.change("iam", "create_service_linked_role", AWSServiceName="ecs.amazonaws.com")
    detail = "for ECS's own use; destroy keeps it because other clusters need it too"
    changes.record("service role", SERVICE_ROLE, StepOutcome.CREATED, detail)
    return not changes.dry_run


async def ensure_execution_role(
    changes: AccountChanges, *, account: str, image: str
) -> tuple[str, bool]:
    """Create or correct the role with which Fargate pulls images and writes logs.

    Args:
        changes: Account in which changes are made and recorded.
        account: Id of the account.
        image: Image that tasks pull.

    Returns:
        The ARN of the role, and whether the role was just created or its permissions were just
        changed. In that case, some AWS services may not know the change yet.

    Raises:
        ConfigurationError: The role exists, was not created by ``init``, and lacks permissions or
            trust that tasks need.
    """
    region = changes.aws.region
    name = execution_role(region)
    repository = repository_of(image)
    repositories = {repository.arn} if repository else set[str]()
    role = await describe_role(changes)
    if role is None:
        arn = await _create_role(changes, role_policy(region, account, repositories))
        pulls = f", pulls {repository.name}" if repository else ""
        changes.record("execution role", name, StepOutcome.CREATED, f"writes to {LOG_GROUP}{pulls}")
        return arn or f"arn:{partition(region)}:iam::{account}:role/{name}", not changes.dry_run
    inline = await inline_policy(changes)
    policy = role_policy(region, account, repositories | _pulled_repositories(inline))
    corrections = _corrections(role, boundary=_boundary_arn(region), inline=inline, policy=policy)
    if not has_our_tags(role.get("Tags") or ()):
        await _check_foreign_role(changes, corrections)
        detail = "not created by init, used unchanged"
        changes.record("execution role", name, StepOutcome.FOUND, detail)
        return str(role["Arn"]), False
    for operation, (_, parameters) in corrections.items():
        await changes.change("iam", operation, RoleName=name, **parameters)
    outcome = StepOutcome.UPDATED if corrections else StepOutcome.FOUND
    detail = "; ".join(detail for detail, _ in corrections.values())
    changes.record("execution role", name, outcome, detail)
    return str(role["Arn"]), bool(corrections) and not changes.dry_run


async def _create_role(changes: AccountChanges, policy: Mapping[str, Any]) -> str | None:
    """Create the execution role with its policy; return its ARN, or ``None`` in a dry run."""
    name = execution_role(changes.aws.region)
    created = await changes.change(
        "iam",
        "create_role",
        RoleName=name,
        Description="Lets Fargate pull images and write logs for CloudBurst",
        AssumeRolePolicyDocument=json.dumps(TRUST_POLICY),
        PermissionsBoundary=_boundary_arn(changes.aws.region),
        Tags=tag_list(key="Key", value="Value"),
    )

    async def put_policy() -> Any:
        return await changes.change(
            "iam",
            "put_role_policy",
            RoleName=name,
            PolicyName=EXECUTION_ROLE_POLICY,
            PolicyDocument=json.dumps(policy),
        )

    await retry_while_unknown(put_policy, is_unknown_to_iam, new=True, timeout=IAM_VISIBLE_TIMEOUT)
    return str(created["Role"]["Arn"]) if created else None


async def describe_role(changes: AccountChanges) -> dict[str, Any] | None:
    """Return the execution role with its trust policy and tags; ``None`` if it does not exist."""
    try:
        response = await changes.read(
            "iam", "get_role", RoleName=execution_role(changes.aws.region)
        )
    except ResourceMissingError:
        return None
    role: dict[str, Any] = response["Role"]
    return role


async def inline_policy(changes: AccountChanges) -> dict[str, Any] | None:
    """Return the policy that ``init`` gives to the execution role; ``None`` if it lacks it."""
    try:
        response = await changes.read(
            "iam",
            "get_role_policy",
            RoleName=execution_role(changes.aws.region),
            PolicyName=EXECUTION_ROLE_POLICY,
        )
    except ResourceMissingError:
        return None
    document: dict[str, Any] = response["PolicyDocument"]
    return document


def _boundary_arn(region: str) -> str:
    """Return the ARN of AWS's managed policy that is the execution role's permissions boundary."""
    return f"arn:{partition(region)}:iam::aws:policy/{PERMISSIONS_BOUNDARY}"


def _corrections(
    role: Mapping[str, Any],
    *,
    boundary: str,
    inline: Mapping[str, Any] | None,
    policy: Mapping[str, Any],
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what the execution role needs: detail and parameters by operation of IAM, in order."""
    found = dict[str, tuple[str, dict[str, Any]]]()
    # The boundary comes first: the policy of `init` allows the next two for a role with this
    # boundary only.
    if get_structure(role, "PermissionsBoundary").get("PermissionsBoundaryArn") != boundary:
        parameters = {"PermissionsBoundary": boundary}
        found["put_role_permissions_boundary"] = ("permissions boundary set", parameters)
    if role.get("AssumeRolePolicyDocument") != TRUST_POLICY:
        parameters = {"PolicyDocument": json.dumps(TRUST_POLICY)}
        found["update_assume_role_policy"] = ("trusts ECS tasks only", parameters)
    if inline != policy:
        parameters = {"PolicyName": EXECUTION_ROLE_POLICY, "PolicyDocument": json.dumps(policy)}
        found["put_role_policy"] = (f"may pull its image and write to {LOG_GROUP}", parameters)
    return found


def _pulled_repositories(inline: Mapping[str, Any] | None) -> set[str]:
    """Return the ARNs of the ECR repositories that an inline policy allows tasks to pull from.

    Other task definitions of the region may need these repositories.
    """
    statements: Sequence[Mapping[str, Any]] = (inline or {}).get("Statement") or []
    for statement in statements:
        if statement.get("Sid") == PULL_SID:
            named: str | list[str] = statement.get("Resource") or []
            return {named} if isinstance(named, str) else set(named)
    return set()


async def _check_foreign_role(changes: AccountChanges, corrections: Collection[str]) -> None:
    """Raise `ConfigurationError` if a role that ``init`` did not create is unusable for tasks.

    Such a role is never changed. AWS's managed policy for execution roles is enough, too.
    """
    name = execution_role(changes.aws.region)
    lacks: list[str] = []
    if "update_assume_role_policy" in corrections:
        lacks.append("a trust policy for ecs-tasks.amazonaws.com")
    if "put_role_policy" in corrections:
        attached = await changes.aws.collect_pages(
            "iam", "list_attached_role_policies", "AttachedPolicies", RoleName=name
        )
        if _boundary_arn(changes.aws.region) not in {one["PolicyArn"] for one in attached}:
            lacks.append(PERMISSIONS_BOUNDARY.rpartition("/")[2])
    if lacks:
        msg = f"the role {name} was not created by init and lacks {' and '.join(lacks)}"
        fix = "add what it lacks (if a stack owns it, with the stack's parameter Image)"
        raise ConfigurationError(f"{msg}: {fix}, or delete the role")

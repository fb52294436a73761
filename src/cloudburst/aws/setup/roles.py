"""IAM roles that tasks need: ECS's service role and the execution role."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.aws.setup.images import repository_of
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE,
    LOG_GROUP,
    PERMISSIONS_BOUNDARY,
    PULL_SID,
    TRUST_POLICY,
    has_our_tags,
    partition,
    role_policy,
    tag_list,
)
from cloudburst.aws.setup.resources import retry_while_role_unknown
from cloudburst.errors import (
    AccessDeniedError,
    CloudburstError,
    ConfigurationError,
    ResourceMissingError,
)

SERVICE_ROLE = "AWSServiceRoleForECS"
SERVICE_ROLE_PATH = "/aws-service-role/ecs.amazonaws.com/"
IAM_VISIBLE_TIMEOUT = 15.0
"""Seconds for which calls to IAM are retried because IAM itself may not find a new role yet."""
_POLICY_NAME = re.compile(r"cloudburst-[a-z]{2}(-[a-z]+)+-\d+")
"""Pattern of the names of the execution role's inline policies, each of which ends in a region."""


def region_tag(region: str) -> str:
    """Return the key of the tag that marks the (global) execution role as used in a region."""
    return f"cloudburst:region/{region}"


def policy_name(region: str) -> str:
    """Return the name of the execution role's inline policy for the tasks of a region."""
    return f"cloudburst-{region}"


def boundary_arn(region: str) -> str:
    """Return the ARN of AWS's managed policy that is the execution role's permissions boundary."""
    return f"arn:{partition(region)}:iam::aws:policy/{PERMISSIONS_BOUNDARY}"


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
    repository = repository_of(image)
    repositories = {repository.arn} if repository else set[str]()
    role = await describe_role(changes)
    if role is None:
        policy = role_policy(region, account, repositories)
        arn = await _create_role(changes, policy)
        pulls = f", pulls {repository.name}" if repository else ""
        detail = f"writes to {LOG_GROUP}{pulls}"
        changes.record("execution role", EXECUTION_ROLE, StepOutcome.CREATED, detail)
        expected = f"arn:{partition(region)}:iam::{account}:role/{EXECUTION_ROLE}"
        return arn or expected, not changes.dry_run
    inline = await inline_policy(changes, region)
    policy = role_policy(region, account, repositories | _pulled_repositories(inline))
    corrections = await _corrections(changes, role, inline=inline, policy=policy)
    if not has_our_tags(role.get("Tags") or ()):
        _check_foreign_role(corrections, policy_fits=inline == policy)
        detail = "not created by init, used unchanged"
        changes.record("execution role", EXECUTION_ROLE, StepOutcome.FOUND, detail)
        return str(role["Arn"]), False
    return str(role["Arn"]), await _correct_role(changes, corrections)


async def _create_role(changes: AccountChanges, policy: Mapping[str, Any]) -> str | None:
    """Create the execution role with its policy; return its ARN, or ``None`` in a dry run."""
    region = changes.aws.region
    created = await changes.change(
        "iam",
        "create_role",
        RoleName=EXECUTION_ROLE,
        Description="Lets Fargate pull images and write logs for CloudBurst",
        AssumeRolePolicyDocument=json.dumps(TRUST_POLICY),
        PermissionsBoundary=boundary_arn(region),
        Tags=[
            *tag_list(key="Key", value="Value"),
            {"Key": region_tag(region), "Value": "used"},
        ],
    )

    async def put_policy() -> Any:
        return await changes.change(
            "iam",
            "put_role_policy",
            RoleName=EXECUTION_ROLE,
            PolicyName=policy_name(region),
            PolicyDocument=json.dumps(policy),
        )

    await retry_while_role_unknown(
        put_policy, _is_role_unknown_to_iam, new_role=True, timeout=IAM_VISIBLE_TIMEOUT
    )
    return str(created["Role"]["Arn"]) if created else None


def _is_role_unknown_to_iam(error: CloudburstError) -> bool:
    """Return whether an error may mean that IAM does not know a new role everywhere yet."""
    return isinstance(error, (AccessDeniedError, ResourceMissingError))


async def describe_role(
    changes: AccountChanges, name: str = EXECUTION_ROLE
) -> dict[str, Any] | None:
    """Return a role with its trust policy and tags; ``None`` if it does not exist."""
    try:
        response = await changes.read("iam", "get_role", RoleName=name)
    except ResourceMissingError:
        return None
    role: dict[str, Any] = response["Role"]
    return role


async def inline_policy(changes: AccountChanges, region: str) -> dict[str, Any] | None:
    """Return the execution role's inline policy for a region; ``None`` if there is none."""
    try:
        response = await changes.read(
            "iam", "get_role_policy", RoleName=EXECUTION_ROLE, PolicyName=policy_name(region)
        )
    except ResourceMissingError:
        return None
    document: dict[str, Any] = response["PolicyDocument"]
    return document


async def inline_policies(changes: AccountChanges) -> list[str]:
    """Return the names of the execution role's inline policies that ``init`` created."""
    names = await changes.aws.collect_pages(
        "iam", "list_role_policies", "PolicyNames", RoleName=EXECUTION_ROLE
    )
    return [name for name in names if _POLICY_NAME.fullmatch(name)]


async def has_managed_policy(changes: AccountChanges) -> bool:
    """Return whether the execution role has AWS's managed policy for execution roles attached."""
    attached = await changes.aws.collect_pages(
        "iam", "list_attached_role_policies", "AttachedPolicies", RoleName=EXECUTION_ROLE
    )
    return boundary_arn(changes.aws.region) in {one["PolicyArn"] for one in attached}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Correction:
    """A change that the execution role needs, and the IAM operation that makes it."""

    operation: str
    """Operation of IAM; empty if the change cannot be made yet."""
    detail: str
    parameters: Mapping[str, Any]


async def _corrections(
    changes: AccountChanges,
    role: Mapping[str, Any],
    *,
    inline: Mapping[str, Any] | None,
    policy: Mapping[str, Any],
) -> list[_Correction]:
    """Return the corrections that the execution role needs.

    If the corrections are made in this order, tasks never lack a permission that they need.
    """
    region = changes.aws.region
    boundary = boundary_arn(region)
    found: list[_Correction] = []

    def add(operation: str, detail: str, **parameters: Any) -> None:
        found.append(_Correction(operation=operation, detail=detail, parameters=parameters))

    # The boundary comes first: the policy of `init` allows the next two for a role with this
    # boundary only.
    if get_structure(role, "PermissionsBoundary").get("PermissionsBoundaryArn") != boundary:
        detail = "permissions boundary set"
        add("put_role_permissions_boundary", detail, PermissionsBoundary=boundary)
    if role.get("AssumeRolePolicyDocument") != TRUST_POLICY:
        trust = json.dumps(TRUST_POLICY)
        add("update_assume_role_policy", "trusts ECS tasks only", PolicyDocument=trust)
    if inline != policy:
        parameters = {"PolicyName": policy_name(region), "PolicyDocument": json.dumps(policy)}
        add("put_role_policy", f"may pull its image and write to {LOG_GROUP}", **parameters)
    if await has_managed_policy(changes):
        missing = await _regions_without_policy(changes, role)
        if missing:
            regions = ", ".join(missing)
            add("", f"keeps AWS's managed policy until init has been run in {regions}")
        else:
            detail = "AWS's managed policy, which reads every repository, detached"
            add("detach_role_policy", detail, PolicyArn=boundary)
    if region_tag(region) not in {tag["Key"] for tag in role.get("Tags") or ()}:
        tag = {"Key": region_tag(region), "Value": "used"}
        add("tag_role", f"used in {region} too", Tags=[tag])
    return found


async def _correct_role(changes: AccountChanges, corrections: Sequence[_Correction]) -> bool:
    """Make the corrections and record them; return whether they changed what tasks may do."""
    changed = [one for one in corrections if one.operation]
    for one in changed:
        await changes.change("iam", one.operation, RoleName=EXECUTION_ROLE, **one.parameters)
    outcome = StepOutcome.UPDATED if changed else StepOutcome.FOUND
    detail = "; ".join(one.detail for one in corrections)
    changes.record("execution role", EXECUTION_ROLE, outcome, detail)
    return any(one.operation != "tag_role" for one in changed) and not changes.dry_run


async def _regions_without_policy(changes: AccountChanges, role: Mapping[str, Any]) -> list[str]:
    """Return the other regions whose tasks still rely on AWS's managed policy."""
    prefix = region_tag("")
    keys = (str(tag["Key"]) for tag in role.get("Tags") or ())
    regions = {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
    inline = await inline_policies(changes)
    return sorted(
        region for region in regions - {changes.aws.region} if policy_name(region) not in inline
    )


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


def _check_foreign_role(corrections: Sequence[_Correction], *, policy_fits: bool) -> None:
    """Raise `ConfigurationError` if a role that ``init`` did not create is unusable for tasks.

    Such a role is never changed.
    """
    operations = {one.operation for one in corrections}
    lacks: list[str] = []
    if "update_assume_role_policy" in operations:
        lacks.append("a trust policy for ecs-tasks.amazonaws.com")
    if not policy_fits and not operations & {"detach_role_policy", ""}:
        lacks.append(PERMISSIONS_BOUNDARY.rpartition("/")[2])
    if lacks:
        msg = f"the role {EXECUTION_ROLE} was not created by init and lacks {' and '.join(lacks)}"
        raise ConfigurationError(f"{msg}: add what it lacks, or delete the role")

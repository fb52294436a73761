"""Checks of the caller: credentials, region, permissions and quotas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.price_list import load_prices
from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.setup.checks import Check, CheckContext, failed, passed, warning
from cloudburst.aws.setup.permissions import (
    PolicyScope,
    Purpose,
    Statement,
    roles_of,
    statements,
)
from cloudburst.errors import (
    AccessDeniedError,
    CloudburstError,
    CredentialsError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.failures.connections import ADD_CREDENTIALS
from cloudburst.models.tier import NEW_ACCOUNT_VCPU

# Codes of Fargate's vCPU quotas by capacity provider: "Fargate service quotas", AWS General
# Reference (2026-11).
QUOTA_CODES = {"FARGATE": "L-3032A538", "FARGATE_SPOT": "L-36FBB829"}
# Note that is added to a quota as small as that of a new account, because Service Quotas does not
# show whether AWS has verified the account (2026-11):
# https://github.com/aws/copilot-cli/issues/3064.
UNVERIFIED_ACCOUNT = "a new account starts no task until AWS has verified it, even within its quota"
OPTIONAL_SIDS = frozenset({"DescribeWorkerNetwork", "ListLogStreams", "ReadLogs", "ReadQuotas"})
"""Ids (``Sid``) of the IAM statements without which a run still works."""
ALLOW_RUN = "allow the actions of: cloudburst init --policy"


async def check_credentials(context: CheckContext) -> Sequence[Check]:
    """Check that AWS accepts the credentials."""
    try:
        identity = await context.identity()
    except CredentialsError as exc:
        role = context.settings.role_arn
        found, _, advice = str(exc).partition("; run aws configure ")
        fix = f"run aws configure {advice}" if advice else ADD_CREDENTIALS
        if role:
            fix = f"check that {role} trusts these credentials; {fix}"
        return [failed("credentials", found, fix)]
    except (NoAnswerError, ThrottledError) as exc:
        endpoint = context.settings.endpoint_url
        fix = "network, proxy and AWS_REGION of this machine" if endpoint is None else endpoint
        return [failed("credentials", str(exc), f"check {fix}")]
    found = f"account {identity['Account']}, {identity['Arn']}"
    if identity["Arn"].endswith(":root"):
        fix = "create a user or role with the policy of: cloudburst init --policy"
        found = f"{found}: the root user, which has every permission"
        return [warning("credentials", found, fix)]
    return [passed("credentials", found)]


async def check_region(context: CheckContext) -> Sequence[Check]:
    """Check that the region is set explicitly and that its prices are known."""
    name, prices = context.aws.region, await load_prices()
    if not prices.has_region(name):
        found = f"{name}; its prices are not known, those of us-east-1 are used"
        return [warning("region", found, "cloudburst prices --refresh")]
    if context.settings.region is None:
        found = f"{name}, from the AWS profile or by default"
        return [warning("region", found, "set AWS_REGION")]
    return [passed("region", name)]


async def read_vcpu_quota(aws: AWSClient, provider: str) -> float:
    """Return how many vCPUs tasks of a capacity provider may have at the same time."""
    code: dict[str, Any] = {"ServiceCode": "fargate", "QuotaCode": QUOTA_CODES[provider]}
    try:
        response = await aws.call("service-quotas", "get_service_quota", **code)
    except ResourceMissingError:
        # The quota was never changed in this account.
        response = await aws.call("service-quotas", "get_aws_default_service_quota", **code)
    return float(response["Quota"]["Value"])


async def check_quotas(context: CheckContext) -> Sequence[Check]:
    """Check that the account's vCPU quota allows all tasks of the planned run at the same time."""
    provider, tasks = context.settings.capacity, context.tasks
    allowed, size = await read_vcpu_quota(context.aws, provider), context.tier.vcpu
    name = "quota" if provider == "FARGATE" else "Spot quota"
    number = "1 task" if tasks == 1 else f"{tasks} tasks"
    found = f"{tasks * size} vCPU needed ({number} of {size}), {allowed:g} allowed"
    if tasks * size <= allowed:
        note = f"; {UNVERIFIED_ACCOUNT}" if allowed <= NEW_ACCOUNT_VCPU else ""
        return [passed(name, found + note)]
    request = (
        f"aws service-quotas request-service-quota-increase --region {context.aws.region} "
        f"--service-code fargate --quota-code {QUOTA_CODES[provider]} "
        f"--desired-value {tasks * size}"
    )
    possible = int(allowed // size)
    if not possible:
        return [failed(name, f"{found}: no task of this size can start", request)]
    fits = "1 task fits" if possible == 1 else f"{possible} tasks fit"
    return [warning(name, f"{found}: {fits} at once", f"--workers {possible}, or {request}")]


async def check_permissions(context: CheckContext) -> Sequence[Check]:
    """Check with IAM's policy simulator that the caller may call all operations of a run."""
    identity = await context.identity()
    principal = await _principal(context, identity["Arn"])
    if principal is None:
        return [passed("permissions", "the root user has every permission")]
    try:
        roles = roles_of(await context.task_definition())
    except CloudburstError:
        roles = ()
    scope = PolicyScope(context.settings, context.aws.region, identity["Account"], roles)
    needed = statements(scope, Purpose.RUN)
    denied: dict[str, list[str]] = {}
    unsure = set[str]()
    for statement in needed:
        try:
            denied[statement.sid], unknown = await _denied_actions(context, principal, statement)
            unsure.update(unknown)
        except AccessDeniedError:
            found = "not checked: iam:SimulatePrincipalPolicy is denied"
            fix = "allow the actions of: cloudburst init --policy doctor"
            return [warning("permissions", found, fix)]
    required = [
        action for sid, each in denied.items() if sid not in OPTIONAL_SIDS for action in each
    ]
    if required:
        found = f"IAM denies {', '.join(sorted(set(required)))}"
        return [failed("permissions", found, ALLOW_RUN)]
    if optional := sorted({action for each in denied.values() for action in each}):
        found = f"enough for a run, not for logs and explanations: IAM denies {', '.join(optional)}"
        return [warning("permissions", found, ALLOW_RUN)]
    if unsure:
        found = f"the organization may deny {', '.join(sorted(unsure))}, by IAM's policy simulator"
        return [warning("permissions", found, "try a run: the simulator often errs about SCPs")]
    number = sum(len(statement.actions) for statement in needed)
    return [passed("permissions", f"all {number} actions of a run are allowed")]


async def _principal(context: CheckContext, arn: str) -> str | None:
    # The simulator accepts neither sessions nor the root user.
    if arn.endswith(":root"):
        return None
    _, _, session = arn.partition(":assumed-role/")
    if not session:
        return arn
    # The ARN of a session does not include the path of its role.
    response = await context.aws.call("iam", "get_role", RoleName=session.partition("/")[0])
    return str(response["Role"]["Arn"])


async def _denied_actions(
    context: CheckContext, principal: str, statement: Statement
) -> tuple[list[str], list[str]]:
    # For members of an organization, the simulator denies what a service control policy (SCP)
    # allows under a condition, such as one of the region: https://github.com/aws/aws-sdk/issues/102
    # (2023-06), https://github.com/aws-containers/amazon-ecs-exec-checker/issues/70 (2024-06).
    # Policies often limit the region: https://github.com/openshift/installer/issues/1322 (2019-02).
    region = _context_entry("aws:RequestedRegion", [context.aws.region])
    results = await context.aws.collect_pages(
        "iam",
        "simulate_principal_policy",
        "EvaluationResults",
        PolicySourceArn=principal,
        ActionNames=list(statement.actions),
        ResourceArns=list(statement.resources),
        ContextEntries=[region, *_context_entries(statement)],
    )
    denied, unsure = list[str](), list[str]()
    for one in results:
        if one["EvalDecision"] != "allowed":
            organization = get_structure(one, "OrganizationsDecisionDetail")
            by_scp = organization.get("AllowedByOrganizations") is False
            (unsure if by_scp else denied).append(one["EvalActionName"])
    return denied, unsure


def _context_entries(statement: Statement) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for operator, condition in (statement.conditions or {}).items():
        for key, value in condition.items():
            values = [value] if isinstance(value, str) else list(value)
            # A pattern is not a value, and a call may omit the key.
            if not any("*" in one for one in values) or operator.startswith("Arn"):
                entries.append(_context_entry(key, values))
    return entries


def _context_entry(key: str, values: list[str]) -> dict[str, Any]:
    return {"ContextKeyName": key, "ContextKeyValues": values, "ContextKeyType": "string"}

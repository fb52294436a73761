"""Checks of who we are to AWS, and of what we may do and have there."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from cloudburst.account.diagnosis import Check, Look, failure, ok, warning
from cloudburst.account.permissions import Purpose, Statement, roles_of, statements
from cloudburst.adapters.aws.prices import load_prices
from cloudburst.adapters.aws.runtask import Providers
from cloudburst.errors import (
    AccessDeniedError,
    CloudburstError,
    CredentialsError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)

SKEW = 60.0
"""Seconds. AWS refuses requests that are five minutes off: "Troubleshooting Signature Version 4",
IAM user guide (2026-11)."""
QUOTAS = {"FARGATE": "L-3032A538", "FARGATE_SPOT": "L-36FBB829"}
"""Codes of the vCPU quotas: "Fargate service quotas", AWS General Reference (2026-11)."""
OPTIONAL = frozenset({"FindLogs", "ReadLogs"})
"""Statements without which a run works."""
NO_KEYS = (
    "aws configure, or aws sso login --profile NAME and AWS_PROFILE=NAME; or AWS_ACCESS_KEY_ID "
    "and AWS_SECRET_ACCESS_KEY in the environment or .env"
)


async def credentials(look: Look) -> Sequence[Check]:
    """Whether AWS takes them, and the clock that signs with them."""
    try:
        identity = await look.identity()
    except CredentialsError as exc:
        role = look.settings.role_arn
        mend = f"whether {role} trusts these credentials; {NO_KEYS}" if role else NO_KEYS
        return [failure("credentials", str(exc), mend)]
    except (NoAnswerError, ThrottledError) as exc:
        endpoint = look.settings.endpoint_url
        mend = "network, proxy and AWS_REGION of this machine" if endpoint is None else endpoint
        return [failure("credentials", str(exc), f"check {mend}")]
    told = f"account {identity['Account']}, {identity['Arn']}"
    if identity["Arn"].endswith(":root"):
        mend = "make a user or role with the policy of: cloudburst init --policy"
        return [warning("credentials", f"{told}: the root user may do everything", mend)]
    return [ok("credentials", told), *_clock(identity)]


def _clock(identity: dict[str, Any]) -> list[Check]:
    headers = identity.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        theirs = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return []
    skew = time.time() - theirs
    told = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS's"
    if abs(skew) > SKEW:
        return [warning("clock", told, "set it: timedatectl set-ntp true")]
    return [ok("clock", "as AWS's" if abs(skew) < 2 else told)]


async def region(look: Look) -> Sequence[Check]:
    """Which region it is, and whether its prices are known."""
    name, prices = look.aws.region, await load_prices()
    if not prices.knows(name):
        told = f"{name}; its prices are not known, those of us-east-1 count"
        return [warning("region", told, "cloudburst prices --refresh")]
    if look.settings.region is None:
        told = f"{name}, of the profile or for want of one"
        return [warning("region", told, "set AWS_REGION")]
    return [ok("region", name)]


async def quotas(look: Look) -> Sequence[Check]:
    """Whether a run has room for its tasks at once."""
    providers = Providers(look.settings.capacity)
    return [
        await _quota(
            look, provider, math.ceil(look.tasks * weight / sum(providers.weights.values()))
        )
        for provider, weight in providers.weights.items()
    ]


async def _quota(look: Look, provider: str, tasks: int) -> Check:
    code: dict[str, Any] = {"ServiceCode": "fargate", "QuotaCode": QUOTAS[provider]}
    try:
        answer = await look.aws.call("service-quotas", "get_service_quota", **code)
    except ResourceMissingError:
        # Nobody has ever touched it in this account.
        answer = await look.aws.call("service-quotas", "get_aws_default_service_quota", **code)
    allowed, size = float(answer["Quota"]["Value"]), look.tier.vcpu
    name = "quota" if provider == "FARGATE" else "Spot quota"
    number = "1 task" if tasks == 1 else f"{tasks} tasks"
    asked = f"{tasks * size} vCPU asked ({number} of {size}), {allowed:g} allowed"
    if tasks * size <= allowed:
        return ok(name, asked)
    mend = (
        f"aws service-quotas request-service-quota-increase --region {look.aws.region} "
        f"--service-code fargate --quota-code {QUOTAS[provider]} --desired-value {tasks * size}"
    )
    fit = int(allowed // size)
    if not fit:
        return failure(name, f"{asked}: not one of them fits; a smaller tier might", mend)
    fits = "1 of them fits" if fit == 1 else f"{fit} of them fit"
    return warning(name, f"{asked}: {fits} at once", f"--workers {fit}, or {mend}")


async def permissions(look: Look) -> Sequence[Check]:
    """Whether IAM would allow what a run does, as its own simulator sees it."""
    identity = await look.identity()
    who = await _principal(look, identity["Arn"])
    if who is None:
        return [ok("permissions", "the root user may do everything")]
    try:
        roles = roles_of(await look.definition())
    except CloudburstError:
        roles = ()
    denied: dict[str, list[str]] = {}
    wanted = statements(
        look.settings,
        Purpose.RUN,
        region=look.aws.region,
        account=identity["Account"],
        roles=roles,
    )
    for statement in wanted:
        try:
            denied[statement.sid] = await _denied(look, who, statement)
        except AccessDeniedError:
            told = "could not be checked: iam:SimulatePrincipalPolicy is denied"
            return [warning("permissions", told, "cloudburst init --policy doctor tells it all")]
    lacking = [action for sid, each in denied.items() if sid not in OPTIONAL for action in each]
    if lacking:
        told = f"IAM denies {', '.join(sorted(set(lacking)))}"
        return [failure("permissions", told, "allow what this prints: cloudburst init --policy")]
    if optional := sorted({action for each in denied.values() for action in each}):
        told = f"a run may do all it needs; {', '.join(optional)} are denied: no cloudburst logs"
        return [warning("permissions", told, "allow what this prints: cloudburst init --policy")]
    number = sum(len(statement.actions) for statement in wanted)
    return [ok("permissions", f"all {number} actions of a run are allowed")]


async def _principal(look: Look, arn: str) -> str | None:
    """The ARN by which the simulator knows who calls; ``None`` for root, whom it does not."""
    if arn.endswith(":root"):
        return None
    _, _, session = arn.partition(":assumed-role/")
    if not session:
        return arn
    # The ARN of a session does not tell the path of its role.
    answer = await look.aws.call("iam", "get_role", RoleName=session.partition("/")[0])
    return str(answer["Role"]["Arn"])


async def _denied(look: Look, who: str, statement: Statement) -> list[str]:
    """The actions of a statement that would be denied."""
    context = [
        {
            "ContextKeyName": key,
            "ContextKeyValues": [value] if isinstance(value, str) else list(value),
            "ContextKeyType": "string",
        }
        for condition in (statement.conditions or {}).values()
        for key, value in condition.items()
    ]
    results = await look.aws.pages(
        "iam",
        "simulate_principal_policy",
        "EvaluationResults",
        PolicySourceArn=who,
        ActionNames=list(statement.actions),
        ResourceArns=list(statement.resources),
        ContextEntries=context,
    )
    return [one["EvalActionName"] for one in results if one["EvalDecision"] != "allowed"]

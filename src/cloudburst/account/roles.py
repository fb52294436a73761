"""The roles that tasks need: ECS's own, and the one in which Fargate starts them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cloudburst.account.arns import partition
from cloudburst.account.blueprint import ROLE, ROLE_POLICY, ROLE_TRUST, is_ours_by_tags, tag_list
from cloudburst.account.hand import Hand, Outcome
from cloudburst.errors import ConfigurationError, ResourceMissingError

SERVICE_ROLE = "AWSServiceRoleForECS"
SERVICE_ROLE_PATH = "/aws-service-role/ecs.amazonaws.com/"


def region_tag(region: str) -> str:
    """Key of the tag that says in which region a role is used: roles are in none."""
    return f"cloudburst:region/{region}"


async def service_role(hand: Hand) -> bool:
    """The role in which ECS itself attaches network interfaces; whether it had to be made."""
    found = await hand.aws.pages("iam", "list_roles", "Roles", PathPrefix=SERVICE_ROLE_PATH)
    if found:
        hand.tell("service role", SERVICE_ROLE, Outcome.FOUND)
        return False
    await hand.change("iam", "create_service_linked_role", AWSServiceName="ecs.amazonaws.com")
    detail = "for ECS's own use; destroy leaves it, other clusters need it too"
    hand.tell("service role", SERVICE_ROLE, Outcome.MADE, detail)
    return not hand.rehearsal


async def execution_role(hand: Hand, *, account: str) -> tuple[str, bool]:
    """ARN of the role in which Fargate pulls images and writes logs; whether it was just made.

    Raises:
        ConfigurationError: There is one of that name which is not ours, and does not fit.
    """
    region, where = hand.aws.region, partition(hand.aws.region)
    policy = f"arn:{where}:iam::aws:policy/{ROLE_POLICY}"
    role = await describe_role(hand)
    if role is None:
        made = await hand.change(
            "iam",
            "create_role",
            RoleName=ROLE,
            Description="Lets Fargate pull images and write logs for CloudBurst",
            AssumeRolePolicyDocument=json.dumps(ROLE_TRUST),
            Tags=[
                *tag_list(key="Key", value="Value"),
                {"Key": region_tag(region), "Value": "used"},
            ],
        )
        await hand.change("iam", "attach_role_policy", RoleName=ROLE, PolicyArn=policy)
        hand.tell("execution role", ROLE, Outcome.MADE, ROLE_POLICY.rpartition("/")[2])
        arn = made["Role"]["Arn"] if made else f"arn:{where}:iam::{account}:role/{ROLE}"
        return arn, not hand.rehearsal
    todo = await _role_faults(hand, role, policy)
    if not todo:
        hand.tell("execution role", ROLE, Outcome.FOUND)
    elif not is_ours_by_tags(role.get("Tags") or ()):
        told = " and ".join(text for text in todo.values() if text)
        if told:
            msg = f"the role {ROLE} was not made by init, and does not fit: it needs {told}"
            raise ConfigurationError(msg)
        hand.tell("execution role", ROLE, Outcome.FOUND)
    else:
        await _mend_role(hand, todo, policy)
        told = " and ".join(text for text in todo.values() if text) or f"used in {region} too"
        hand.tell("execution role", ROLE, Outcome.CHANGED, told)
    return str(role["Arn"]), False


async def describe_role(hand: Hand, name: str = ROLE) -> dict[str, Any] | None:
    """A role with its trust and tags, if it is there."""
    try:
        role: dict[str, Any] = (await hand.ask("iam", "get_role", RoleName=name))["Role"]
    except ResourceMissingError:
        return None
    return role


async def _role_faults(hand: Hand, role: Mapping[str, Any], policy: str) -> dict[str, str]:
    """What is not as it should be, by the operation that mends it."""
    attached = await hand.aws.pages(
        "iam", "list_attached_role_policies", "AttachedPolicies", RoleName=ROLE
    )
    tags = {tag["Key"] for tag in role.get("Tags") or ()}
    faults: dict[str, str] = {}
    if role.get("AssumeRolePolicyDocument") != ROLE_TRUST:
        faults["update_assume_role_policy"] = "ecs-tasks.amazonaws.com's trust"
    if policy not in {one["PolicyArn"] for one in attached}:
        faults["attach_role_policy"] = ROLE_POLICY.rpartition("/")[2]
    if region_tag(hand.aws.region) not in tags:
        faults["tag_role"] = ""
    return faults


async def _mend_role(hand: Hand, faults: Iterable[str], policy: str) -> None:
    trust = json.dumps(ROLE_TRUST)
    more: dict[str, dict[str, Any]] = {
        "update_assume_role_policy": {"PolicyDocument": trust},
        "attach_role_policy": {"PolicyArn": policy},
        "tag_role": {"Tags": [{"Key": region_tag(hand.aws.region), "Value": "used"}]},
    }
    for operation in faults:
        await hand.change("iam", operation, RoleName=ROLE, **more[operation])

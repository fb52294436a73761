"""Evaluation of IAM policies: "Policy evaluation logic" in the IAM user guide (2026-11).

Only the elements ``Action``, ``Resource`` and ``Condition`` are evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

# Policy in the syntax of IAM, parsed from JSON.
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Use of one resource for which a request needs a permission."""

    action: str
    """Action of IAM, such as ``ecs:RunTask``."""
    resource: str = "*"
    """ARN of the resource; ``*`` if the action has none."""
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict[str, str])
    """Values of condition keys. A key with several values has a sequence."""


def decide(documents: Iterable[Document], access: Access) -> str:
    """Return ``allowed``, ``explicitDeny`` or ``implicitDeny``, as IAM's policy simulator does."""
    effects = {
        statement["Effect"]
        for document in documents
        for statement in values_of(document["Statement"])
        if _applies(statement, access)
    }
    if "Deny" in effects:
        return "explicitDeny"
    return "allowed" if "Allow" in effects else "implicitDeny"


def refusal(decision: str, access: Access, caller: str) -> str:
    """Return the message of AWS for an access that a caller's policies do not allow."""
    reason = f"because no identity-based policy allows the {access.action} action"
    if decision == "explicitDeny":
        reason = "with an explicit deny in an identity-based policy"
    resource = f'"{access.resource}"' if access.action.startswith("s3:") else access.resource
    return (
        f"User: {caller} is not authorized to perform: {access.action} on resource: {resource} "
        f"{reason}"
    )


def values_of(element: Any) -> list[Any]:
    """Return the values of an element of a policy, which may have one value or a list of them."""
    return element if isinstance(element, list) else [element]  # pyright: ignore[reportUnknownVariableType]


def _applies(statement: Mapping[str, Any], access: Access) -> bool:
    patterns = [_filled_in(one, access) for one in values_of(statement.get("Resource", []))]
    actions = [one.lower() for one in values_of(statement.get("Action", []))]
    return (
        any(_like(access.action.lower(), pattern) for pattern in actions)
        and any(_like(access.resource, pattern) for pattern in patterns)
        and all(
            _holds(operator, key, wanted, access, denies=statement["Effect"] == "Deny")
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, key: str, wanted: Any, access: Access, *, denies: bool) -> bool:
    """Return whether a condition holds; an unknown operator never gives a permission."""
    found = access.context.get(key)
    texts = [_filled_in(str(one), access) for one in values_of(wanted)]
    if operator == "Null":
        return (found is None) == (texts[0].lower() == "true")
    plain = operator.rpartition(":")[2].removesuffix("IfExists")
    negated, for_all = "Not" in plain, operator.startswith("ForAllValues:")
    if (matches := _OPERATORS.get(plain.replace("Not", ""))) is None:
        return denies
    if found is None:
        return negated or for_all or operator.endswith("IfExists")
    each = [found] if isinstance(found, str) else found
    quantify = all if for_all or negated else any
    return quantify(any(matches(one, text) for text in texts) != negated for one in each)


def _filled_in(text: str, access: Access) -> str:
    """Replace policy variables; an unknown variable stays, and matches nothing."""
    return re.sub(r"\$\{([^}]*)\}", lambda m: str(access.context.get(m[1], m[0])), text)


def _literal(text: str) -> str:
    return re.sub(r"\$\{([*?$])\}", r"\1", text)


def _like(text: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\$\{[*?$]\}|[*?])", pattern)
    wild = {"*": "(?s:.*)", "?": "(?s:.)"}
    return re.compile("".join(wild.get(one) or re.escape(_literal(one)) for one in parts))


# Operators of conditions; those with `Not` are the opposites of the others.
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda found, wanted: found.lower() == wanted.lower(),
    "StringEquals": lambda found, wanted: found == _literal(wanted),
    "StringLike": _like,
}

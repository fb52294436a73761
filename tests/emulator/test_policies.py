"""Decisions about single accesses, as IAM makes them."""

from __future__ import annotations

import pytest

from cloudburst.emulator.policies import Access, decide

TASK = "arn:aws:ecs:us-east-1:123456789012:task/films/1"


def statement(effect="Allow", action="ecs:StopTask", resource="*", **condition):
    return {"Effect": effect, "Action": action, "Resource": resource, "Condition": condition}


def decision(*statements, action="ecs:StopTask", resource=TASK, **context):
    access = Access(action=action, resource=resource, context=context)
    return decide([{"Statement": [*statements]}], access)


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("ecs:StopTask", "*", "allowed"),
        ("ecs:stop*", TASK, "allowed"),
        (["ecs:RunTask", "ecs:StopTas?"], ["arn:x", "arn:aws:ecs:*:task/films/*"], "allowed"),
        ("ecs:RunTask", "*", "implicitDeny"),
        ("ecs:StopTask", "arn:aws:ecs:*:task/film/*", "implicitDeny"),
        ("ecs:StopTask", "arn:aws:ecs:*:task/films", "implicitDeny"),
        ("ecs:StopTask", TASK.upper(), "implicitDeny"),
    ],
)
def test_patterns_of_actions_and_resources(action, resource, expected):
    assert decision(statement(action=action, resource=resource)) == expected


def test_a_deny_wins_over_every_allow():
    assert decision(statement(), statement("Deny")) == "explicitDeny"
    assert decision(statement("Deny", action="ecs:RunTask")) == "implicitDeny"
    single = {"Statement": statement()}
    assert decide([single, {"Statement": []}], Access(action="ecs:StopTask")) == "allowed"


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "holds"),
    [
        ("StringEquals", "a*", "a*", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", "b", False),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringNotEquals", "a", None, True),
        ("StringLike", "a*c?", "abcd", True),
        ("StringLike", "${*}", "*", True),
        ("StringLike", "${*}", "a", False),
        ("ArnEquals", "arn:aws:ecs:*", "arn:aws:ecs:x", True),
        ("ArnEquals", "arn:aws:ecs:*", "arn:aws:s3:x", False),
        ("Bool", "true", "True", True),
        ("Null", "true", None, True),
        ("Null", "true", "a", False),
        ("ForAllValues:StringLike", ["*FARGATE", "*SPOT"], ["x/FARGATE", "x/SPOT"], True),
        ("ForAllValues:StringLike", "*FARGATE", ["x/FARGATE", "x/EC2"], False),
        ("ForAllValues:StringLike", "*FARGATE", None, True),
        ("ForAnyValue:StringEquals", "a", ["b", "a"], True),
        ("ForAnyValue:StringEquals", "a", ["b"], False),
        ("IpAddress", "127.0.0.1", "127.0.0.1", False),
    ],
)
def test_operators_of_conditions(operator, wanted, found, holds):
    context = {} if found is None else {"key": found}
    assert (decision(statement(**{operator: {"key": wanted}}), **context) == "allowed") is holds


def test_all_conditions_must_hold():
    both = statement(StringEquals={"a": "1", "b": "2"}, StringLike={"c": "3"})
    assert decision(both, a="1", b="2", c="3") == "allowed"
    assert decision(both, a="1", b="2", c="4") == "implicitDeny"
    assert decision(both, a="1", c="3") == "implicitDeny"


def test_a_deny_with_an_unknown_operator_denies():
    denies = statement("Deny", IpAddress={"aws:SourceIp": "192.0.2.1"})
    assert decision(statement(), denies) == "explicitDeny"


def test_statements_without_action_or_resource_allow_nothing():
    for element in ("Action", "Resource"):
        other = {name: value for name, value in statement().items() if name != element}
        assert decision({**other, f"Not{element}": "s3:*"}) == "implicitDeny"


def test_variables_are_replaced_with_values_of_the_request():
    own = statement(resource="arn:aws:iam::1:user/${aws:username}")
    me = {"resource": "arn:aws:iam::1:user/me"}
    assert decision(own, **me, **{"aws:username": "me"}) == "allowed"
    assert decision(own, **me, **{"aws:username": "other"}) == "implicitDeny"
    assert decision(own, **me) == "implicitDeny"

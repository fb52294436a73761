"""IAM policies with the least permissions for each purpose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Any

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.setup.live_statements import live_statements
from cloudburst.aws.setup.s3_statements import s3_init_statements, s3_run_statements
from cloudburst.aws.setup.setup_statements import destroy_statements, init_statements
from cloudburst.aws.setup.statements import (
    PolicyScope,
    ResourceArns,
    Statement,
    allow,
    doctor_statements,
    run_statements,
)
from cloudburst.errors import CloudburstError
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import Settings

__all__ = ["PolicyScope", "Purpose", "Statement", "policy", "policy_document", "statements"]

ANY_ACCOUNT = "*"


class Purpose(StrEnum):
    """Purpose for which an IAM policy gives permissions."""

    RUN = "run"
    """Rendering, and ``cloudburst tasks``, ``cleanup`` and ``logs``."""
    INIT = "init"
    DESTROY = "destroy"
    DOCTOR = "doctor"
    LIVE = "live"
    """``cloudburst doctor --live``, with the permissions of ``run`` and ``doctor``."""
    PRICES = "prices"
    """The update of the prices by ``cloudburst prices --refresh``."""


async def policy(
    settings: Settings,
    *,
    purposes: Iterable[Purpose] = (Purpose.RUN,),
    s3: Sequence[S3Prefix] = (),
    s3_keys: Sequence[str] = (),
    session: Any = None,
) -> dict[str, Any]:
    """Return the IAM policy document with the least permissions for the given purposes.

    The ARNs contain the number of the account of the credentials, or ``*`` if AWS does not return
    it: a user who needs a policy may have no credentials yet.

    Args:
        settings: Region, credentials, and names of the resources.
        purposes: Purposes of the policy.
        s3: Folders in S3 that runs use.
        s3_keys: ARNs of the keys of KMS with which objects in these folders are encrypted.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.
    """
    async with open_aws(settings, session=session) as aws:
        scope = PolicyScope(settings, aws.region, ANY_ACCOUNT, s3=s3, s3_keys=s3_keys)
        # A caller without these permissions gets a policy too, for the role that init creates.
        with suppress(CloudburstError):
            identity = await aws.call("sts", "get_caller_identity")
            scope = replace(scope, account=identity["Account"], caller=identity["Arn"])
            response = await aws.call(
                "ecs", "describe_task_definition", taskDefinition=settings.task_definition
            )
            scope = replace(scope, roles=roles_of(response["taskDefinition"]))
        return policy_document(scope, purposes)


def policy_document(scope: PolicyScope, purposes: Iterable[Purpose]) -> dict[str, Any]:
    """Return the IAM policy document for some purposes, without a call to AWS."""
    found: dict[str, Statement] = {}
    for statement in (one for purpose in purposes for one in statements(scope, purpose)):
        known = found.get(statement.sid, statement)
        resources = tuple(dict.fromkeys((*known.resources, *statement.resources)))
        found[statement.sid] = replace(statement, resources=resources)
    return {"Version": "2012-10-17", "Statement": [one.document() for one in found.values()]}


def roles_of(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ARNs of the roles that a described task definition passes to its tasks."""
    roles = (definition.get("executionRoleArn"), definition.get("taskRoleArn"))
    return tuple(role for role in roles if role)


def statements(scope: PolicyScope, purpose: Purpose) -> tuple[Statement, ...]:
    """Return the IAM statements for one purpose.

    The resources and conditions that each action supports are from "Actions, resources, and
    condition keys" of each service, Service Authorization Reference (2026-11).
    """
    arns, settings = ResourceArns(scope), scope.settings
    run = (
        *run_statements(settings, arns),
        *s3_run_statements(scope.s3, scope.region, keys=scope.s3_keys),
    )
    match purpose:
        case Purpose.RUN:
            return run
        case Purpose.LIVE:
            return (*run, *doctor_statements(arns), *live_statements(scope))
        case Purpose.INIT:
            s3 = s3_init_statements(scope.s3, scope.region, keys=scope.s3_keys)
            return (*init_statements(settings, arns), *s3)
        case Purpose.DESTROY:
            return destroy_statements(arns)
        case Purpose.DOCTOR:
            return doctor_statements(arns)
        case Purpose.PRICES:
            return (allow("ReadPrices", "*", "pricing:GetProducts"),)

"""IAM policies with the least permissions for each purpose, and the statements for S3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Any

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.s3.object_store import METADATA_FOLDER
from cloudburst.aws.setup.ecr import Repository
from cloudburst.aws.setup.resource_definitions import partition
from cloudburst.aws.setup.statements import (
    OUR_TAGS,
    PolicyScope,
    ResourceArns,
    Statement,
    allow,
    destroy_statements,
    doctor_statements,
    init_statements,
    push_statement,
    run_statements,
)
from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import Settings

__all__ = ["PolicyScope", "Purpose", "Statement", "policy", "policy_document", "statements"]

ANY_ACCOUNT = "*"
# Escapes of the characters with a meaning in a policy: "IAM policy elements: Variables and tags",
# IAM user guide (2026-11).
_ESCAPES = str.maketrans({"*": "${*}", "?": "${?}", "$": "${$}"})
# Ends of the aliases of access points, with which no name of a bucket ends ("General purpose bucket
# naming rules", Amazon S3 User Guide, 2026-11).
_ALIAS_ENDS = ("-s3alias", "--ol-s3")
LIVE_NAME = "cloudburst-check"
"""Name of the repository that exists only during the check, and of the run in the tags of its
tasks."""
LIVE_OBJECTS = ".cloudburst/check-live-"
"""Start of the names of its objects in a folder of S3. In this subfolder, the policy of a run
permits to delete objects."""


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


def s3_run_statements(
    folders: Iterable[S3Prefix], region: str, *, keys: Sequence[str] = ()
) -> tuple[Statement, ...]:
    """Return the statements for runs with inputs or videos in these folders of S3.

    The actions are those of "Required permissions for Amazon S3 API operations", Amazon S3 User
    Guide (2026-11): a multipart upload needs ``PutObject``, and HEAD requests need ``GetObject``.

    Raises:
        ConfigurationError: A folder is named by the alias of an access point.
    """
    known = tuple(folders)
    if not known:
        return ()
    objects = tuple(_objects(folder, region) for folder in known)
    actions = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
    lists = [
        allow(
            f"ListS3Folder{number}",
            bucket_arn(folder, region),
            "s3:ListBucket",
            when={"StringLike": {"s3:prefix": f"{_escaped(folder.prefix)}*"}},
        )
        for number, folder in enumerate(known, 1)
    ]
    return (
        allow("UseS3Objects", objects, *actions),
        _delete_checks_statement(known, region),
        *lists,
        *_key_statements(keys),
    )


def s3_init_statements(
    folders: Iterable[S3Prefix], region: str, *, keys: Sequence[str] = ()
) -> tuple[Statement, ...]:
    """Return the statements for the check by ``init``, which writes an empty object.

    It asks S3 about the object with a HEAD request, and deletes it. Arguments and errors are those
    of `s3_run_statements`.
    """
    known = tuple(folders)
    if not known:
        return ()
    tried = [_metadata(folder, region) for folder in known]
    return (
        allow("TryS3Folders", tried, "s3:GetObject", "s3:PutObject"),
        _delete_checks_statement(known, region),
        *_key_statements(keys),
    )


def _key_statements(keys: Sequence[str]) -> tuple[Statement, ...]:
    # Reads need ``Decrypt``, writes ``GenerateDataKey``, multipart uploads both: "PutObject",
    # "HeadObject" and "CreateMultipartUpload", Amazon S3 API reference (2026-11).
    actions, through_s3 = ("kms:Decrypt", "kms:GenerateDataKey"), {"kms:ViaService": "s3.*"}
    named = tuple(dict.fromkeys(keys))
    return (allow("UseS3Keys", named, *actions, when={"StringLike": through_s3}),) if named else ()


def _delete_checks_statement(folders: tuple[S3Prefix, ...], region: str) -> Statement:
    # A film and a batch of the calls of ``cloudburst-fargate`` may have a folder of their own
    # below.
    resources: list[str] = []
    for folder in folders:
        below = f"{_objects(folder, region)}/{METADATA_FOLDER}*"
        resources += [_metadata(folder, region), below]
    return allow("DeleteS3Checks", resources, "s3:DeleteObject")


def bucket_arn(folder: S3Prefix, region: str) -> str:
    """Return the ARN of the bucket of a folder; raise `ConfigurationError` for an alias."""
    if folder.bucket.endswith(_ALIAS_ENDS):
        msg = (
            f"{folder}: the alias of an access point, which policies cannot name: name its bucket, "
            "and allow the same actions for the ARN of the access point, too"
        )
        raise ConfigurationError(msg)
    return f"arn:{partition(region)}:s3:::{folder.bucket}"


def _objects(folder: S3Prefix, region: str) -> str:
    return f"{bucket_arn(folder, region)}/{_escaped(folder.prefix)}*"


def _metadata(folder: S3Prefix, region: str) -> str:
    return f"{bucket_arn(folder, region)}/{_escaped(folder.prefix)}{METADATA_FOLDER}*"


def _escaped(prefix: str) -> str:
    return prefix.translate(_ESCAPES)


def live_statements(scope: PolicyScope) -> tuple[Statement, ...]:
    """Return the statements that the check needs in addition to those of a run and of ``doctor``.

    The repository is configured and deleted by its tags, as ``destroy`` does.
    """
    repository = Repository(account=scope.account, region=scope.region, name=LIVE_NAME).arn
    buckets = tuple(dict.fromkeys(bucket_arn(folder, scope.region) for folder in scope.s3))
    return (
        allow("LogInToECR", "*", "ecr:GetAuthorizationToken"),
        push_statement("PushToCheckRepository", repository),
        allow(
            "CreateCheckRepository",
            repository,
            "ecr:CreateRepository",
            "ecr:DescribeRepositories",
            "ecr:GetLifecyclePolicyPreview",
            "ecr:ListTagsForResource",
            "ecr:StartLifecyclePolicyPreview",
            "ecr:TagResource",
        ),
        allow(
            "DeleteCheckRepository",
            repository,
            "ecr:DeleteRepository",
            "ecr:PutLifecyclePolicy",
            when=OUR_TAGS,
        ),
        *([allow("ListUploads", buckets, "s3:ListBucketMultipartUploads")] if buckets else []),
    )

"""IAM statements for folders in S3: for the runs that use them, and for their check by ``init``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudburst.aws.s3.run_markers import METADATA_FOLDER
from cloudburst.aws.setup.resource_definitions import partition
from cloudburst.aws.setup.statements import Statement, allow
from cloudburst.errors import ConfigurationError
from cloudburst.models.locations import S3Prefix

_ESCAPES = str.maketrans({"*": "${*}", "?": "${?}", "$": "${$}"})
"""Escapes of the characters with a meaning in a policy: "IAM policy elements: Variables and tags",
IAM user guide (2026-11)."""
_ALIAS_ENDS = ("-s3alias", "--ol-s3")
"""Ends of the aliases of access points, with which no name of a bucket ends ("General purpose
bucket naming rules", Amazon S3 User Guide, 2026-11)."""


def s3_run_statements(
    folders: Iterable[S3Prefix], region: str, *, keys: Sequence[str] = ()
) -> tuple[Statement, ...]:
    """Return the statements for runs with inputs or videos in these folders of S3.

    The actions are those of "Required permissions for Amazon S3 API operations", Amazon S3 User
    Guide (2026-11): a multipart upload needs ``PutObject``, and HEAD requests need ``GetObject``.

    Args:
        folders: The folders.
        region: Region of the caller, which determines the partition in the ARNs.
        keys: ARNs of the keys of KMS with which their objects are encrypted.

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
        _delete_markers_statement(known, region),
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
        _delete_markers_statement(known, region),
        *_key_statements(keys),
    )


def _key_statements(keys: Sequence[str]) -> tuple[Statement, ...]:
    """Return the statement for the keys of KMS, which permits their use by requests to S3 only.

    Reads need ``Decrypt``, writes ``GenerateDataKey``, and multipart uploads both: "PutObject",
    "HeadObject" and "CreateMultipartUpload", Amazon S3 API reference (2026-11).
    """
    actions, through_s3 = ("kms:Decrypt", "kms:GenerateDataKey"), {"kms:ViaService": "s3.*"}
    named = tuple(dict.fromkeys(keys))
    return (allow("UseS3Keys", named, *actions, when={"StringLike": through_s3}),) if named else ()


def _delete_markers_statement(folders: tuple[S3Prefix, ...], region: str) -> Statement:
    """Return the statement for the markers of runs in the folders, and in folders below them.

    A film and a batch of the calls of ``cloudburst-fargate`` may have a folder of their own.
    """
    resources: list[str] = []
    for folder in folders:
        below = f"{_objects(folder, region)}/{METADATA_FOLDER}*"
        resources += [_metadata(folder, region), below]
    return allow("DeleteS3Markers", resources, "s3:DeleteObject")


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

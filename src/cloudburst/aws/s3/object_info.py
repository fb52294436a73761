"""Objects as S3 describes them, and the metadata of those that runs of this package write."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from cloudburst.errors import CloudburstError, NoAnswerError
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.transfers import ETAG_PATTERN

_SIZE = re.compile(r"[0-9]{1,15}")
_ETAG = re.compile(ETAG_PATTERN)
# Maximum length of a name in the metadata of an object, in characters. All metadata together may
# have 2 KB ("Working with object metadata", Amazon S3 User Guide, 2026-11), of which the rest takes
# less than 500 bytes.
MAX_SCENE_CHARS = 1000
RUN, SCENE, FINGERPRINT, SHA256 = (
    "cloudburst-run",
    "cloudburst-scene",
    "cloudburst-fingerprint",
    "cloudburst-sha256",
)
"""Names of the metadata of a video or cover in S3. The scene's name is percent-encoded; in place of
the location of a film that is too long, there is its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """Object as S3 describes it in its answer to a request."""

    size: int
    """Size of the whole object, in bytes."""
    etag: str
    """ETag, with its quotes."""
    version_id: str | None
    """Version in a bucket with versions; ``None`` otherwise."""
    modified: str | None
    """``Last-Modified`` as S3 sends it."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """Metadata by name in lower case, without ``x-amz-meta-``."""
    sha256: str | None = None
    """SHA-256 of the whole object in hexadecimal, if S3 has verified it and was asked for it."""

    def remote_file(self, location: S3Object) -> RemoteFile:
        """Return the object as an input file."""
        return RemoteFile(
            location=location,
            size=self.size,
            etag=None if self.etag.startswith("W/") else self.etag,
            version_id=self.version_id,
            modified=self.modified,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRange:
    """Part of an object, with the description of the whole object."""

    data: bytes
    info: ObjectInfo


def object_info(response: Mapping[str, Any], operation: str) -> ObjectInfo:
    """Return the description of an object in the answer to an operation.

    Raises:
        NoAnswerError: The answer has no valid size or ETag.
    """
    headers: dict[str, str] = response["ResponseMetadata"]["HTTPHeaders"]
    metadata: dict[str, str] = response.get("Metadata") or {}
    size = str(response.get("ContentRange") or response["ContentLength"]).rpartition("/")[2]
    etag = str(response["ETag"])
    if not _SIZE.fullmatch(size) or not _ETAG.fullmatch(etag):
        raise NoAnswerError(f"{operation}: the answer has no valid size or ETag")
    checksum = response.get("ChecksumSHA256", "")
    whole = response.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    version = response.get("VersionId")
    return ObjectInfo(
        size=int(size),
        etag=etag,
        version_id=None if version in {None, "null"} else version,
        modified=headers.get("last-modified"),
        metadata={name.lower(): value for name, value in metadata.items()},
        sha256=_hexadecimal(checksum) if whole else None,
    )


def _hexadecimal(checksum: str) -> str | None:
    try:
        return base64.b64decode(checksum, validate=True).hex() or None
    except ValueError:
        return None


@contextmanager
def named_errors(location: S3Object | S3Prefix) -> Generator[None]:
    """Begin the message of an error with the location that it is about."""
    try:
        yield
    except CloudburstError as exc:
        message = str(exc)
        if not message.startswith("s3://"):
            exc.args = (f"{location}: {message}",)
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedObject:
    """Video or cover in S3 that a run of this package has written."""

    fingerprint: str
    """Fingerprint of the scene; empty if it was not known."""
    sha256: str
    """SHA-256 in hexadecimal; empty if it was not known."""
    size: int
    """Size in bytes."""


def object_metadata(*, run: str, scene: str, fingerprint: str, sha256: str) -> dict[str, str]:
    """Return the metadata of a video or cover."""
    return {
        RUN: quote(run, safe=""),
        SCENE: _in_metadata(scene),
        FINGERPRINT: fingerprint,
        SHA256: sha256,
    }


def _in_metadata(scene: str) -> str:
    name = quote(scene, safe="")
    if len(name) <= MAX_SCENE_CHARS:
        return name
    return f"sha256-{hashlib.sha256(scene.encode()).hexdigest()}"


def as_finished(info: ObjectInfo, *, run: str, scene: str) -> FinishedObject | None:
    """Return an object that a run has written for a scene or film; ``None`` for any other one."""
    metadata = info.metadata
    if (metadata.get(RUN), metadata.get(SCENE)) != (quote(run, safe=""), _in_metadata(scene)):
        return None
    return FinishedObject(
        fingerprint=metadata.get(FINGERPRINT, ""),
        sha256=metadata.get(SHA256, ""),
        size=info.size,
    )


def run_of(info: ObjectInfo) -> str:
    """Return the name of the run that has written an object; empty if it is not known."""
    return unquote(info.metadata.get(RUN, ""))

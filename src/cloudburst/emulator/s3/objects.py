"""Buckets and objects of the emulated S3."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudburst.emulator.errors import ApiError

ARCHIVES = {"DEEP_ARCHIVE", "GLACIER"}
"""Storage classes whose objects must be restored before they can be read. The emulator does not
restore them."""
MANAGED_KEY = "aws-s3"
"""Id of the key ``aws/s3`` of each account in the emulator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """Encryption of an object, or the default encryption of a bucket."""

    algorithm: str = "AES256"
    """``AES256``, ``aws:kms`` or ``aws:kms:dsse``; empty with a key of the customer."""
    key: str = ""
    """ARN of the key of KMS; empty without one."""
    customer_md5: str = ""
    """MD5 in Base64 of the key of the customer (SSE-C); empty without one."""

    @property
    def managed(self) -> bool:
        """True if the key of KMS is ``aws/s3``."""
        return self.key.endswith(f"/{MANAGED_KEY}")

    @property
    def headers(self) -> dict[str, str]:
        """Headers of responses about the object."""
        start = "x-amz-server-side-encryption"
        if self.customer_md5:
            return {
                f"{start}-customer-algorithm": "AES256",
                f"{start}-customer-key-MD5": self.customer_md5,
            }
        found = {start: self.algorithm}
        return {**found, f"{start}-aws-kms-key-id": self.key} if self.key else found


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """Version of an object, or a part of a multipart upload."""

    path: Path
    """File with the content."""
    size: int
    etag: str
    """ETag, with its quotes."""
    modified: datetime
    content_type: str = "binary/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    checksums: Mapping[str, str] = field(default_factory=dict[str, str])
    """Checksum in Base64, by algorithm."""
    checksum_type: str = "FULL_OBJECT"
    version_id: str | None = None
    """Version; ``None`` in a bucket without versions."""
    encryption: Encryption = field(default_factory=Encryption)
    storage_class: str = "STANDARD"


@dataclass(slots=True, kw_only=True)
class MultipartUpload:
    """Multipart upload that is neither completed nor aborted."""

    key: str
    started: datetime
    content_type: str
    metadata: Mapping[str, str]
    algorithm: str
    """Checksum algorithm in lower case; empty if the caller chose none."""
    encryption: Encryption = field(default_factory=Encryption)
    encryption_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Headers about the encryption in the request that started the upload."""
    storage_class: str = "STANDARD"
    parts: dict[int, StoredObject] = field(default_factory=dict[int, StoredObject])


@dataclass(slots=True, kw_only=True)
class Bucket:
    """Bucket of the account."""

    region: str
    created: datetime
    owner: str
    """Number of the account that owns it."""
    encryption: Encryption = field(default_factory=Encryption)
    """Encryption of objects whose requests name no other."""
    retention: str = ""
    """Mode of Object Lock for new objects, such as ``GOVERNANCE``; empty without a default."""
    requester_pays: bool = False
    policy: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Statements of the bucket policy."""
    objects: dict[str, StoredObject] = field(default_factory=dict[str, StoredObject])
    """Current object of each key."""
    versioned: bool = False
    older: dict[tuple[str, str], StoredObject] = field(
        default_factory=dict[tuple[str, str], StoredObject]
    )
    """Versions that are not current any more, by key and version."""
    uploads: dict[str, MultipartUpload] = field(default_factory=dict[str, MultipartUpload])

    def find(self, key: str, version: str | None) -> StoredObject:
        """Return the current object of a key, or one of its versions.

        Raises:
            ApiError: There is no such object.
        """
        current = self.objects.get(key)
        if version is None or (current and current.version_id == version):
            found = current
        else:
            found = self.older.get((key, version))
        if found is None:
            code = "NoSuchKey" if version is None else "NoSuchVersion"
            raise ApiError(code, "The specified key does not exist.", status=404)
        return found

    def put(self, key: str, new: StoredObject) -> None:
        """Make an object the current one of its key."""
        self.remove(key)
        self.objects[key] = new

    def remove(self, key: str) -> None:
        """Remove the current object of a key; a bucket with versions keeps it as an older one."""
        old = self.objects.pop(key, None)
        if old and old.version_id:
            self.older[key, old.version_id] = old
        elif old:
            old.path.unlink(missing_ok=True)

    def drop_upload(self, upload_id: str) -> None:
        """Forget a multipart upload and delete its parts."""
        for part in self.uploads.pop(upload_id).parts.values():
            part.path.unlink(missing_ok=True)

    def keys(self, prefix: str, after: str) -> Iterator[str]:
        """Yield the keys with a prefix that follow another key, in the order of S3."""
        for key in sorted(self.objects, key=str.encode):
            if key.startswith(prefix) and key.encode() > after.encode():
                yield key


def new_etag(encryption: Encryption, md5: bytes) -> str:
    """Return the ETag of a new object or part: the MD5 of its content, unless a key hides it."""
    hidden = encryption != Encryption()
    return f'"{secrets.token_hex(16) if hidden else md5.hex()}"'


class BucketFolder:
    """All buckets of the account, with a temporary folder for the contents of objects."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self._folder: Path | None = None

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises:
            ApiError: There is no such bucket.
        """
        if (found := self.buckets.get(name)) is None:
            raise ApiError("NoSuchBucket", "The specified bucket does not exist", status=404)
        return found

    def new_path(self) -> Path:
        """Return the path of a new file."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="cloudburst-s3-"))
        return self._folder / secrets.token_hex(8)

    def close(self) -> None:
        """Delete all contents."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def now() -> datetime:
    """Return the current time, in whole seconds as in S3's answers."""
    return datetime.now(UTC).replace(microsecond=0)

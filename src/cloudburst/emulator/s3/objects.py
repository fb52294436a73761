"""Buckets and objects of the emulated S3."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.requests import S3Request


def now() -> datetime:
    """Return the current time, in whole seconds as in S3's answers."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """Encryption of an object, or the default encryption of a bucket."""

    algorithm: str = "AES256"
    """``AES256``, ``aws:kms`` or ``aws:kms:dsse``."""
    key: str = ""
    """ARN of the key of KMS; empty without one."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers of responses about the object."""
        start = "x-amz-server-side-encryption"
        found = {start: self.algorithm}
        return {**found, f"{start}-aws-kms-key-id": self.key} if self.key else found


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """Object, or a part of a multipart upload."""

    path: Path
    """File with the content."""
    size: int
    etag: str
    """ETag, with its quotes."""
    request: S3Request
    """Request that created the object or its multipart upload. It has the metadata."""
    encryption: Encryption
    checksums: Mapping[str, str]
    """Checksum in Base64, by algorithm."""
    modified: datetime = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class MultipartUpload:
    """Multipart upload that is neither completed nor aborted."""

    request: S3Request
    """Request that started the upload."""
    encryption: Encryption
    parts: dict[int, StoredObject] = field(default_factory=dict[int, StoredObject])


@dataclass(slots=True, kw_only=True)
class Bucket:
    """Bucket of the account."""

    region: str
    owner: str
    """Number of the account that owns it."""
    encryption: Encryption = field(default_factory=Encryption)
    """Encryption of objects whose requests name no other."""
    requester_pays: bool = False
    policy: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Statements of the bucket policy."""
    objects: dict[str, StoredObject] = field(default_factory=dict[str, StoredObject])
    """Current object of each key."""
    created: datetime = field(default_factory=now)
    uploads: dict[str, MultipartUpload] = field(default_factory=dict[str, MultipartUpload])

    def find(self, key: str) -> StoredObject:
        """Return the object of a key."""
        if (found := self.objects.get(key)) is None:
            raise ApiError("NoSuchKey", "The specified key does not exist.", status=404)
        return found

    def put(self, key: str, new: StoredObject) -> None:
        """Make an object the current one of its key."""
        self.remove(key)
        self.objects[key] = new

    def remove(self, key: str) -> None:
        """Remove the object of a key, if there is one."""
        if old := self.objects.pop(key, None):
            old.path.unlink(missing_ok=True)

    def drop_upload(self, upload_id: str) -> None:
        """Forget a multipart upload and delete its parts."""
        for part in self.uploads.pop(upload_id).parts.values():
            part.path.unlink(missing_ok=True)


def new_etag(encryption: Encryption, md5: bytes) -> str:
    """Return the ETag of a new object or part: the MD5 of its content, unless a key hides it."""
    return f'"{secrets.token_hex(16) if encryption.key else md5.hex()}"'


class BucketFolder:
    """All buckets of the account, with a folder for the contents of objects."""

    def __init__(self, folder: Path) -> None:
        self.buckets: dict[str, Bucket] = {}
        self._folder = folder
        folder.mkdir()

    def bucket(self, name: str) -> Bucket:
        """Return a bucket."""
        if (found := self.buckets.get(name)) is None:
            raise ApiError("NoSuchBucket", "The specified bucket does not exist", status=404)
        return found

    def new_path(self) -> Path:
        """Return the path of a new file."""
        return self._folder / secrets.token_hex(8)

"""Check of a folder in S3 before a run: bucket, region, permission to write, and checksums."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass

from cloudburst.aws.s3.claim_file import METADATA_FOLDER
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.models.locations import S3Prefix

_SHA256_OF_NOTHING = hashlib.sha256(b"").hexdigest()
DELETE_TIMEOUT = 20.0
"""Maximum seconds to delete the object that was written for the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationCheck:
    """Result of the check of a folder in S3."""

    prefix: S3Prefix
    region: str
    tried: bool
    """True if an object was written and deleted; false if writing was not tried."""
    left: str = ""
    """Location of the empty object that was written and could not be deleted; usually empty."""

    @property
    def detail(self) -> str:
        """Description of the result, without the folder's name."""
        if not self.tried:
            return f"in {self.region}; writing was not tried"
        if self.left:
            return (
                f"in {self.region}; it accepts objects, but they cannot be deleted: allow "
                f"s3:DeleteObject, and remove {self.left}"
            )
        return f"in {self.region}; it accepts objects"


async def check_destination(
    store: ObjectStore, prefix: S3Prefix, *, write: bool = True
) -> DestinationCheck:
    """Check that a folder in S3 can be written to, and return the result.

    An empty object is written in the folder, described by S3 and deleted, unless ``write`` is
    false.

    Raises:
        ConfigurationError: The store does not report the SHA-256 of objects.
        ResourceMissingError: The bucket does not exist.
        AccessDeniedError: The credentials do not have permission to write.
        CloudburstError: S3 refuses a request for another reason.
    """
    region = await store.bucket_region(prefix.bucket)
    if not write:
        return DestinationCheck(prefix=prefix, region=region, tried=False)
    probe = prefix.object(f"{METADATA_FOLDER}check-{secrets.token_hex(8)}")
    left = str(probe)

    async def delete() -> None:
        nonlocal left
        with suppress(CloudburstError):  # it would replace a cancellation
            await store.delete(probe)
            left = ""

    try:
        await store.put_small(probe, b"")
        info = await store.head(probe)
    finally:
        with suppress(TimeoutError):
            await finish_despite_cancel(delete, seconds=DELETE_TIMEOUT)
    if info.sha256 != _SHA256_OF_NOTHING:
        msg = (
            f"{prefix}: the store does not report the SHA-256 of an object in its answer to HEAD, "
            "without which no video can be verified: use S3, or a store with "
            "x-amz-checksum-sha256"
        )
        raise ConfigurationError(msg)
    return DestinationCheck(prefix=prefix, region=region, tried=True, left=left)

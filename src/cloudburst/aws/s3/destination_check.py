"""Checks of a folder in S3 that write an empty object to it.

Before a run, they find a missing bucket or permission. During a run, they show whether S3 refuses
objects, as a worker reports.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from pydantic import SecretStr

from cloudburst.aws.s3.object_store import (
    METADATA_FOLDER,
    PRECONDITION_FAILED,
    ObjectStore,
)
from cloudburst.aws.s3.request_waits import DELETE_TIMEOUT
from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import AccessDeniedError, AWSError, CloudburstError, ConfigurationError
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.transfers import PutPart, TransferProblem
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.put import put_part

_SHA256_OF_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationCheck:
    """Result of the check of a folder in S3."""

    prefix: S3Prefix
    region: str
    tried: bool
    """True if an object was written and deleted; false if writing was not tried."""
    left: str = ""
    """Location of the empty object that was written and could not be deleted; usually empty."""
    owned: bool | None = None
    """True if the bucket belongs to the account of the credentials; ``None`` if that is not
    known."""
    url_refusal: str = ""
    """Reason with which S3 refuses a presigned URL; empty if it accepts one, or if that is not
    known."""

    @property
    def detail(self) -> str:
        """Description of the result, without the folder's name."""
        if not self.tried:
            return f"in {self.region}; writing was not tried"
        place = f"in {self.region}"
        if self.owned is False:
            place += ", in another account (make sure that you know its owner)"
        if self.left:
            return (
                f"{place}; it accepts objects, but they cannot be deleted: allow "
                f"s3:DeleteObject, and remove {self.left}"
            )
        if self.url_refusal:
            return (
                f"{place}; it accepts objects, but no presigned URL from this machine "
                f"({self.url_refusal}): its policy must permit them to tasks"
            )
        return f"{place}; it accepts objects"


async def check_destination(
    store: ObjectStore, prefix: S3Prefix, *, write: bool = True, account: str | None = None
) -> DestinationCheck:
    """Check that a folder in S3 can be written to, and return the result.

    An empty object is written in the folder, described by S3 and deleted, unless ``write`` is
    false. It is written with ``If-None-Match``, as videos are: some stores refuse that. If an
    account is given, it is also checked whether the bucket belongs to it, and whether S3 accepts a
    presigned URL.

    Raises:
        ConfigurationError: The store does not report the SHA-256 of objects.
        ResourceMissingError: The bucket does not exist.
        AccessDeniedError: The credentials do not have permission to write.
        AWSError: The store does not have conditional writes.
    """
    region = await store.bucket_region(prefix.bucket)
    if not write:
        return DestinationCheck(prefix=prefix, region=region, tried=False)
    async with _empty_object(store, prefix) as probe:
        try:
            await store.put_small(probe.location, b"", new=True)
        except AWSError as exc:  # the answer to the first request was lost: no other has this key
            if exc.code != PRECONDITION_FAILED:
                raise
        info = await store.head(probe.location)
        owned, refusal = None, ""
        if account is not None:
            owned = await _is_owned(store, probe.location, account)
            refusal = await _url_refusal(store, prefix)
    if info.sha256 != _SHA256_OF_NOTHING:
        msg = (
            f"{prefix}: the store does not report the SHA-256 of an object in its answer to HEAD, "
            "without which no video can be verified: use S3, or a store with "
            "x-amz-checksum-sha256"
        )
        raise ConfigurationError(msg)
    return DestinationCheck(
        prefix=prefix,
        region=region,
        tried=True,
        left=probe.left,
        owned=owned,
        url_refusal=refusal,
    )


async def _is_owned(store: ObjectStore, location: S3Object, account: str) -> bool:
    try:
        await store.aws.call(
            "s3",
            "head_object",
            in_region=await store.bucket_region(location.bucket),
            Bucket=location.bucket,
            Key=location.key,
            ExpectedBucketOwner=account,
        )
    except AccessDeniedError:
        return False  # also without consent to pay, which owners need not give
    return True


async def _url_refusal(store: ObjectStore, folder: S3Prefix) -> str:
    # Where only a proxy leads to S3, URLs cannot be tried, but tasks may use them.
    try:
        await check_accepted(store, folder)
    except AWSError as exc:
        cause = exc.__cause__
        if isinstance(cause, TransferError) and cause.failure.problem is TransferProblem.REFUSED:
            return cause.failure.reason
    return ""


async def check_accepted(store: ObjectStore, folder: S3Prefix) -> None:
    """Check that S3 accepts an object in a folder, written with a presigned URL as by a worker.

    Raises:
        AWSError: S3 refuses the object, or cannot be reached.
    """
    async with _empty_object(store, folder) as probe:
        signed = await store.presign_put(
            probe.location,
            sha256=_SHA256_OF_NOTHING,
            content_type="application/json",
            metadata={},
            new=True,
        )
        part = PutPart(url=SecretStr(signed.url), headers=dict(signed.headers), size=0)
        try:
            async with open_session(TRUSTED_URLS) as client:
                await put_part(part, _no_block, client=client, progress=_ignore)
        except TransferError as exc:
            raise AWSError(f"{folder}: {exc.failure.reason}") from exc


@dataclass(slots=True)
class _EmptyObject:
    location: S3Object
    left: str
    """Location of the object until it is deleted; empty afterwards."""


@asynccontextmanager
async def _empty_object(store: ObjectStore, folder: S3Prefix) -> AsyncGenerator[_EmptyObject]:
    location = folder.object(f"{METADATA_FOLDER}check-{secrets.token_hex(8)}")
    probe = _EmptyObject(location, left=str(location))

    async def delete() -> None:
        with suppress(CloudburstError):  # it would replace a cancellation
            await store.delete(location)
            probe.left = ""

    try:
        yield probe
    finally:
        with suppress(TimeoutError):
            await finish_despite_cancel(delete, seconds=DELETE_TIMEOUT)


async def _no_block(offset: int, size: int) -> bytes:
    raise AssertionError(f"an empty object has no {size} bytes at {offset}")


def _ignore(_: int) -> None:
    pass

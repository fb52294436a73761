"""Check of ``docs/check_aws.py`` of the requests to S3 on which runs with files in S3 depend."""
# ruff: noqa: INP001

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable
from contextlib import suppress

import anyio
import httpx
from aws_findings import Findings
from pydantic import SecretStr

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.s3.claim_file import METADATA_FOLDER
from cloudburst.aws.s3.deliveries import joined_etag
from cloudburst.aws.s3.destination_check import check_destination
from cloudburst.aws.s3.object_store import PRECONDITION_FAILED, ObjectStore, SignedRequest
from cloudburst.aws.s3.open_store import open_store
from cloudburst.errors import AWSError, CloudburstError
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.settings import Settings
from cloudburst.models.transfers import FetchRequest, PutPart, TransferProblem
from cloudburst.transfers.client import open_transfer_client
from cloudburst.transfers.errors import TransferError
from cloudburst.transfers.fetch import fetch
from cloudburst.transfers.put import put_part

CONTENT = b"cloudburst check " * 1000
PART_BYTES = 5 * 1024**2
"""Smallest size of a part that is not the last one ("Amazon S3 multipart upload limits", Amazon S3
User Guide, 2026-11)."""
EXPIRY_DELAY = 4.0
"""Seconds to wait for the end of a URL that is valid for one second."""
METADATA = {"cloudburst-run": "check", "cloudburst-scene": "%E5%9C%BA%201"}
CONTENT_TYPE = "video/mp4"


async def check_s3(
    aws: AWSClient, findings: Findings, prefix: S3Prefix, settings: Settings
) -> None:
    """Write, read and delete small objects under a prefix, as runs and their workers do."""
    store = open_store(aws, settings)
    checked = await check_destination(store, prefix, account=await aws.account_id())
    findings.report("the folder accepts objects", not checked.left, checked.detail)
    # In this subfolder, the policy of a run permits to delete objects.
    folder = S3Prefix(
        prefix.bucket, f"{prefix.prefix}{METADATA_FOLDER}check-{secrets.token_hex(8)}/"
    )
    async with open_transfer_client(public_only=False) as http:
        check = _S3Check(store, findings, folder, http)
        try:
            await check.presigned_put()
            await check.kind()
            await check.reads()
            await check.conditions()
            await check.expired_url()
            await check.multipart()
        finally:
            await check.remove()


class _S3Check:
    """Checks with objects in one folder, which are deleted at the end."""

    def __init__(
        self, store: ObjectStore, findings: Findings, folder: S3Prefix, http: httpx.AsyncClient
    ) -> None:
        self._store = store
        self._note = findings.note
        self._report = findings.report
        self._folder = folder
        self._http = http
        self._used: list[S3Object] = []
        self._video = self._object("video.mp4")

    def _object(self, name: str) -> S3Object:
        location = self._folder.object(name)
        self._used.append(location)
        return location

    async def presigned_put(self) -> None:
        """Write an object with a presigned URL that covers its checksum and ``If-None-Match``."""
        await self._put(await self._sign(self._video), CONTENT)
        info = await self._store.head(self._video)
        self._report("a presigned PUT writes an object", info.size == len(CONTENT))
        same = {name: info.metadata.get(name) for name in METADATA} == METADATA
        self._report("its metadata are those that were signed", same)
        self._report("S3 confirms its SHA-256", info.sha256 == _sha256(CONTENT))

        seen = await _problem(self._put(await self._sign(self._video), CONTENT))
        self._report(
            "a second PUT with If-None-Match is refused", seen == TransferProblem.EXISTS, seen
        )
        other = self._object("other.mp4")
        seen = await _problem(self._put(await self._sign(other), CONTENT[::-1]))
        missing = await self._store.find(other) is None
        self._report("content with another checksum is refused", bool(seen) and missing, seen)

    async def kind(self) -> None:
        """Print how the bucket keeps objects: encryption, versions and locks."""
        found = await self._store.aws.call(
            "s3",
            "head_object",
            in_region=await self._store.bucket_region(self._video.bucket),
            Bucket=self._video.bucket,
            Key=self._video.key,
        )
        names = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled", "VersionId")
        locks = ("ObjectLockMode", "ObjectLockRetainUntilDate", "StorageClass")
        shown = [f"{name} {found[name]}" for name in (*names, *locks) if name in found]
        self._note("objects of the bucket", ", ".join(shown) or "nothing special")

    async def reads(self) -> None:
        """Read an object with a presigned URL that covers ``If-Match``, and a range of it."""
        file = (await self._store.head(self._video)).remote_file(self._video)
        found = await self._fetch(await self._store.presign_get(file))
        self._report("a presigned GET with If-Match reads it", found == _sha256(CONTENT))
        changed = RemoteFile(location=self._video, size=file.size, etag=f'"{"0" * 32}"')
        seen = await _problem(self._fetch(await self._store.presign_get(changed)))
        self._report("an object that has changed is refused", seen == TransferProblem.CHANGED, seen)
        part = await self._store.read_range(self._video, 100, 300, etag=file.etag)
        self._report("a range of it is read", part.data == CONTENT[100:300])

    async def conditions(self) -> None:
        """Write and delete an object with conditions, as claims do."""
        claim = self._object("claim.json")
        written = await self._store.put_small(claim, b"1", new=True)
        codes = [
            await _code(self._store.put_small(claim, b"2", new=True)),
            await _code(self._store.put_small(claim, b"2", etag=f'"{"0" * 32}"')),
        ]
        kept = codes == [PRECONDITION_FAILED] * 2
        self._report("claims of other runs are not replaced", kept, ", ".join(codes))
        renewed = await self._store.put_small(claim, b"3", etag=written)
        kept = (await self._store.read(claim, max_bytes=10)).data == b"3"
        self._report("a claim is renewed by its ETag", kept)
        code = await _code(self._store.delete(claim, etag=written))
        kept = code == PRECONDITION_FAILED
        self._report("a claim that was renewed meanwhile is not deleted", kept, code)
        await self._store.delete(claim, etag=renewed)
        self._report("a claim is deleted by its ETag", await self._store.find(claim) is None)

    async def expired_url(self) -> None:
        """Use a URL after its end."""
        url = await self._store.aws.presign(
            "s3",
            "get_object",
            in_region=await self._store.bucket_region(self._video.bucket),
            max_seconds=1,
            Bucket=self._video.bucket,
            Key=self._video.key,
        )
        await anyio.sleep(EXPIRY_DELAY)
        seen = await _problem(self._fetch(SignedRequest(url=url, headers={})))
        self._report("an expired URL is recognized", seen == TransferProblem.EXPIRED, seen)

    async def multipart(self) -> None:
        """Write an object in two parts, whose MD5 S3 verifies."""
        location, sizes = self._object("parts.mp4"), (PART_BYTES, 1000)
        data = bytes(PART_BYTES) + CONTENT[:1000]
        store = self._store
        upload = await store.create_upload(location, content_type=CONTENT_TYPE, metadata=METADATA)
        try:
            etags: list[str] = []
            for number, size in enumerate(sizes, 1):
                signed = await store.presign_part(location, upload, number)
                etags.append(
                    await self._put(signed, data, offset=sum(sizes[: number - 1]), size=size)
                )
            await store.complete_upload(location, upload, etags, new=True)
        finally:
            with suppress(CloudburstError):  # the upload was completed
                await store.abort_upload(location, upload)
        info = await store.head(location)
        self._report("an object is written in parts", info.size == len(data))
        if info.plain_etags:
            same = info.etag == joined_etag(etags)
            self._report("its ETag is the hash of those of its parts", same)
        else:
            self._note("its ETag", f"{info.etag}, which is no hash, because a key of KMS is used")
        again = await store.create_upload(location, content_type=CONTENT_TYPE, metadata=METADATA)
        try:
            signed = await store.presign_part(location, again, 1)
            etag = await self._put(signed, CONTENT)
            code = await _code(store.complete_upload(location, again, [etag], new=True))
        finally:
            await store.abort_upload(location, again)
        self._report("a second one of its name is refused", code == PRECONDITION_FAILED, code)

    async def remove(self) -> None:
        """Delete all objects of the check."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(60):
            for location in self._used:
                try:
                    await self._store.delete(location)
                except CloudburstError as exc:
                    self._report(f"{location} is deleted", kept=False, seen=str(exc))

    async def _sign(self, location: S3Object) -> SignedRequest:
        return await self._store.presign_put(
            location,
            sha256=_sha256(CONTENT),
            content_type=CONTENT_TYPE,
            metadata=METADATA,
            new=True,
        )

    async def _put(
        self, signed: SignedRequest, data: bytes, *, offset: int = 0, size: int | None = None
    ) -> str:
        """Write bytes as a worker does, and return the ETag."""
        part = PutPart(
            url=SecretStr(signed.url),
            headers=dict(signed.headers),
            offset=offset,
            size=len(data) if size is None else size,
        )

        async def read_block(start: int, length: int) -> bytes:
            return data[start : start + length]

        return await put_part(part, read_block, client=self._http, progress=lambda _: None)

    async def _fetch(self, signed: SignedRequest) -> str:
        """Get an object as a worker does, and return its SHA-256."""
        request = FetchRequest(
            url=SecretStr(signed.url),
            headers=dict(signed.headers),
            max_bytes=len(CONTENT),
            public_only=False,
        )
        return (await fetch(request, _ignore, client=self._http)).sha256


async def _ignore(_: bytes) -> None:
    pass


async def _problem(transfer: Awaitable[object]) -> str:
    """Return the problem with which a transfer fails; empty if it succeeds."""
    try:
        await transfer
    except TransferError as exc:
        return exc.failure.problem
    return ""


async def _code(call: Awaitable[object]) -> str:
    """Return the code of the error of a call; ``none`` if it succeeds."""
    try:
        await call
    except AWSError as exc:
        return exc.code
    return "none"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""Parts of the live check that use storage: our image in ECR, and a folder in S3."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import httpx
from pydantic import SecretStr

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_list
from cloudburst.aws.s3.destination_check import check_destination
from cloudburst.aws.s3.object_store import PRECONDITION_FAILED, ObjectStore, PresignedRequest
from cloudburst.aws.setup.ecr import Repository, read_images
from cloudburst.aws.setup.ecr_push import push_to_ecr
from cloudburst.aws.setup.ecr_repository import LIFECYCLE_POLICY, read_image_repository
from cloudburst.aws.setup.permissions import LIVE_NAME, LIVE_OBJECTS
from cloudburst.aws.setup.resource_definitions import has_our_tags, tag_list
from cloudburst.cli.live_account import Findings, Live, NotTriedError, accepted
from cloudburst.errors import AWSError, ConfigurationError
from cloudburst.image.build import build_image
from cloudburst.image.built_image import BuiltImage
from cloudburst.image.options import ImageOptions
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.transfers import FetchRequest, PutPart, TransferProblem
from cloudburst.net.registry.images import PushProgress, PushReport
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.fetch import fetch
from cloudburst.net.transfers.put import put_part

CUT_BLOBS = 2
"""Number of blobs that have arrived when the first push is interrupted."""
PREVIEW_TIMEOUT = 60.0
"""Seconds to wait for the preview of the lifecycle policy."""
_NAME: dict[str, Any] = {"repositoryName": LIVE_NAME}


async def check_image(live: Live) -> None:
    """Build our image, push it in two parts to a new repository, and read it from ECR.

    The repository is configured as by ``init``, and deleted at the end of the whole check.
    """
    started_at = anyio.current_time()
    built = await build_image(ImageOptions.from_settings(live.settings))
    seconds = anyio.current_time() - started_at
    sizes = ", ".join(f"{one.architecture} {one.size / 1e6:.1f} MB" for one in built.platforms)
    live.findings.note("the image was built", f"in {seconds:.0f} s; {sizes}")
    policy = {**_NAME, "lifecyclePolicyText": json.dumps(LIFECYCLE_POLICY)}
    tags = tag_list(key="Key", value="Value")
    await live.aws.call("ecr", "create_repository", **_NAME, tags=tags)
    waited, refusal = await accepted(
        partial(live.aws.call, "ecr", "put_lifecycle_policy", **policy)
    )
    seen = f"after {waited:.0f} s; at first: {refusal}" if refusal else "at once"
    live.findings.report("a new repository can be configured, by its tags", True, seen)
    await _check_pushes(live, built)
    await _check_platforms(live, built)
    await _check_lifecycle(live)


async def remove_repository(aws: AWSClient) -> bool:
    """Delete the repository of a check, and return whether there was one."""
    found = await read_image_repository(aws, LIVE_NAME, to_remove=True)
    if found.exists and not has_our_tags(found.tags):
        raise ConfigurationError(f"the repository {LIVE_NAME} in ECR is not ours: delete it first")
    if found.exists:
        await accepted(partial(aws.call, "ecr", "delete_repository", **_NAME, force=True))
    return found.exists


async def _check_pushes(live: Live, built: BuiltImage) -> None:
    report, total = live.findings.report, 0

    def cut(progress: PushProgress) -> None:
        nonlocal total
        total = progress.bytes_total
        if progress.blobs_done == CUT_BLOBS:
            first.cancel()

    push = partial(push_to_ecr, live.aws, built, repository=LIVE_NAME)
    with anyio.CancelScope() as first:
        await push(on_progress=cut)
    second, third = await push(), await push()
    whole = second.bytes_sent + second.bytes_present >= total and second.bytes_present > 0
    # Otherwise the first push had nothing to send, or was too fast.
    layer = min(one.size for platform in built.platforms for one in platform.layers)
    cut_off = first.cancelled_caught and second.bytes_sent >= layer
    speed = second.bytes_sent / max(second.seconds, 0.001) / 1e6
    seen = f"{_sizes(second)}; {second.seconds:.0f} s, {speed:.1f} MB/s"
    promise = "a push that was cut is completed, without what it had sent"
    report(promise, whole if cut_off else None, seen)
    nothing = third.bytes_sent == 0 < total <= third.bytes_present
    report("a second push sends nothing", nothing, _sizes(third))


def _sizes(report: PushReport) -> str:
    return f"{report.bytes_sent / 1e6:.1f} MB sent, {report.bytes_present / 1e6:.1f} MB were there"


async def _check_platforms(live: Live, built: BuiltImage) -> None:
    account, region = await live.aws.account_id(), live.aws.region
    repository = Repository(account=account, region=region, name=LIVE_NAME)
    digests = {built.digest, *(platform.digest for platform in built.platforms)}
    found = await read_images(live.aws, repository, [{"imageDigest": one} for one in digests])
    names = {image.digest for image in found}
    promise = "ECR has the index and the image of each architecture"
    live.findings.report(promise, names == digests, f"{len(names)} of {len(digests)}")
    if names != digests:
        raise NotTriedError("the image is not complete in ECR")


async def _check_lifecycle(live: Live) -> None:
    """Report what the lifecycle policy of ``init`` would remove: nothing of one image."""
    await live.aws.call("ecr", "start_lifecycle_policy_preview", **_NAME)
    preview: dict[str, Any] = {}
    with anyio.fail_after(PREVIEW_TIMEOUT):
        while preview.get("status", "IN_PROGRESS") == "IN_PROGRESS":
            await anyio.sleep(1)
            preview = await live.aws.call("ecr", "get_lifecycle_policy_preview", **_NAME)
    removed, status = get_list(preview, "previewResults"), str(preview.get("status"))
    kept = status == "COMPLETE" and not removed
    promise = "the lifecycle policy keeps the image and its architectures"
    live.findings.report(promise, kept, f"{status}, {len(removed)} to be removed")


CONTENT = b"cloudburst check " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PART_BYTES = 5 * 1024**2
"""Smallest size of a part that is not the last one ("Amazon S3 multipart upload limits", Amazon S3
User Guide, 2026-11)."""
EXPIRY_DELAY = 4.0
"""Seconds to wait for the end of a URL that is valid for one second."""
METADATA = {"cloudburst-run": "check", "cloudburst-scene": "%E5%9C%BA%201"}
CONTENT_TYPE = "video/mp4"
EXISTS = f"{TransferProblem.EXISTS}, HTTP 412"
CHANGED = f"{TransferProblem.CHANGED}, HTTP 412"  # without it, the worker has compared ETags
OTHER_ETAG = f'"{"0" * 32}"'


async def check_s3(live: Live, prefix: S3Prefix) -> None:
    """Write, read and delete small objects under a prefix, as runs and their workers do.

    The objects are deleted at the end of the whole check.
    """
    store, findings = ObjectStore(live.aws, live.settings), live.findings
    name = f"{prefix.prefix}{LIVE_OBJECTS}{secrets.token_hex(8)}/"
    folder = S3Prefix(prefix.bucket, name)
    found = await check_destination(store, folder, account=await live.aws.account_id())
    accepted = found.tried and not found.left and not found.url_refusal
    findings.report("the folder accepts objects", accepted, found.detail)
    async with open_session(TRUSTED_URLS) as http:
        check = _S3Check(store=store, findings=findings, folder=folder, http=http)
        await check.presigned_put()
        await check.reads()
        await check.conditions()
        await check.multipart()


async def remove_objects(store: ObjectStore, folder: S3Prefix) -> int:
    """Delete the objects and uploads of checks in a folder, and return their number."""
    prefix = S3Prefix(folder.bucket, folder.prefix + LIVE_OBJECTS)
    objects = await store.list_folder(prefix, below=True)
    for location in objects:
        await store.delete(location)
    where: dict[str, Any] = {"Bucket": prefix.bucket, "Prefix": prefix.prefix}
    region = await store.bucket_region(prefix.bucket)
    found = await store.aws.call("s3", "list_multipart_uploads", in_region=region, **where)
    uploads = found.get("Uploads") or ()
    for upload in uploads:
        await store.abort_upload(S3Object(prefix.bucket, upload["Key"]), upload["UploadId"])
    return len(objects) + len(uploads)


@dataclass(frozen=True, slots=True, kw_only=True)
class _S3Check:
    """Promises about objects in one folder."""

    store: ObjectStore
    findings: Findings
    folder: S3Prefix
    http: httpx.AsyncClient

    async def presigned_put(self) -> None:
        """Write an object with a presigned URL that covers its checksum and ``If-None-Match``."""
        store, report, video = self.store, self.findings.report, self.folder.object("video.mp4")
        await self._put(await self._sign(video), CONTENT)
        info = await store.head(video)
        data = (await store.read_range(video, 0, len(CONTENT))).data
        report("a presigned PUT writes an object", data == CONTENT)
        same = METADATA.items() <= info.metadata.items()
        report("its metadata are those that were signed", same)
        report("S3 confirms its SHA-256", info.sha256 == SHA256)
        seen = await _refusal(self._put(await self._sign(video), CONTENT))
        report("a second PUT with If-None-Match is refused", seen == EXISTS, seen)
        other = self.folder.object("other.mp4")
        seen = await _refusal(self._put(await self._sign(other), CONTENT[::-1]))
        missing = await store.find(other) is None
        refused = missing and seen.startswith((TransferProblem.INVALID, TransferProblem.REFUSED))
        report("content with another checksum is refused", refused, seen)

    async def reads(self) -> None:
        """Read an object with presigned URLs: with ``If-Match``, a range, and after their end."""
        store, report, video = self.store, self.findings.report, self.folder.object("video.mp4")
        where: dict[str, Any] = {"Bucket": video.bucket, "Key": video.key}
        where["in_region"] = await store.bucket_region(video.bucket)
        file = (await store.head(video)).remote_file(video)
        found = await self._fetch(await store.presign_get(file))
        report("a presigned GET with If-Match reads it", found == SHA256)
        changed = RemoteFile(location=video, size=file.size, etag=OTHER_ETAG)
        seen = await _refusal(self._fetch(await store.presign_get(changed)))
        report("an object that has changed is refused", seen == CHANGED, seen)
        part = await store.read_range(video, 100, 300, etag=file.etag)
        report("a range of it is read", part.data == CONTENT[100:300])
        url = await store.aws.presign("s3", "get_object", max_seconds=1, **where)
        await anyio.sleep(EXPIRY_DELAY)
        seen = await _refusal(self._fetch(PresignedRequest(url=url, headers={})))
        report("an expired URL is recognized", seen.startswith(TransferProblem.EXPIRED), seen)

    async def conditions(self) -> None:
        """Replace an object that is unchanged, as resumed runs do, and delete it."""
        store, report, video = self.store, self.findings.report, self.folder.object("video.mp4")
        etag = (await store.head(video)).etag
        seen = await _refusal(self._put(await self._sign(video, etag=OTHER_ETAG), CONTENT))
        report("an object that has changed is not replaced", seen == EXISTS, seen)
        seen = await _refusal(self._put(await self._sign(video, etag=etag), CONTENT))
        report("an unchanged object is replaced", seen == "none", seen)
        await store.delete(video)
        report("an object is deleted", await store.find(video) is None)

    async def multipart(self) -> None:
        """Write an object in two parts, whose MD5 S3 verifies; no other one replaces it."""
        store, report, location = self.store, self.findings.report, self.folder.object("parts.mp4")
        parts = (bytes(PART_BYTES), CONTENT)
        upload, etags = await self._upload(location, *parts)
        await store.complete_upload(location, upload, etags, new=True)
        info = await store.head(location)
        joint = await store.read_range(location, PART_BYTES - 9, PART_BYTES + 9)
        whole = info.size == sum(map(len, parts)) and joint.data == bytes(9) + CONTENT[:9]
        report("an object is written in parts", whole)
        upload, etags = await self._upload(location, CONTENT)
        code = await _refusal(store.complete_upload(location, upload, etags, new=True))
        report("a second one of its name is refused", code == PRECONDITION_FAILED, code)

    async def _upload(self, to: S3Object, *parts: bytes) -> tuple[str, list[str]]:
        kind: dict[str, Any] = {"content_type": CONTENT_TYPE, "metadata": METADATA}
        upload = await self.store.create_upload(to, **kind)
        urls = [await self.store.presign_part(to, upload, n) for n in range(1, len(parts) + 1)]
        return upload, [await self._put(url, part) for url, part in zip(urls, parts, strict=True)]

    async def _sign(self, to: S3Object, *, etag: str | None = None) -> PresignedRequest:
        kind: dict[str, Any] = {"content_type": CONTENT_TYPE, "metadata": METADATA, "etag": etag}
        return await self.store.presign_put(to, sha256=SHA256, new=etag is None, **kind)

    async def _put(self, signed: PresignedRequest, data: bytes) -> str:
        url, headers = SecretStr(signed.url), dict(signed.headers)
        part = PutPart(url=url, headers=headers, offset=0, size=len(data))

        async def read_block(start: int, length: int) -> bytes:
            return data[start : start + length]

        return await put_part(part, read_block, client=self.http, progress=lambda _: None)

    async def _fetch(self, signed: PresignedRequest) -> str:
        url, headers, size = SecretStr(signed.url), dict(signed.headers), len(CONTENT)
        request = FetchRequest(url=url, headers=headers, max_bytes=size, public_only=False)
        return (await fetch(request, _ignore, client=self.http)).sha256


async def _ignore(_: bytes) -> None:
    pass


async def _refusal(request: Awaitable[object]) -> str:
    try:
        await request
    except TransferError as exc:
        return f"{exc.failure.problem}, HTTP {exc.failure.status}"
    except AWSError as exc:
        return exc.code
    return "none"

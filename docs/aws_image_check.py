"""Check of ``docs/check_aws.py`` that pushes our image to a repository of its own in ECR."""
# ruff: noqa: INP001

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
from aws_findings import Findings

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.setup.ecr_images import read_images
from cloudburst.aws.setup.ecr_push import push_to_ecr
from cloudburst.aws.setup.ecr_repository import LIFECYCLE_POLICY
from cloudburst.aws.setup.images import Repository
from cloudburst.aws.setup.own_image import BuildImage, image_builder
from cloudburst.aws.setup.resource_definitions import tag_list
from cloudburst.errors import CloudburstError
from cloudburst.image import BuiltImage, ImageOptions
from cloudburst.registry import PushProgress, PushReport

REPOSITORY = "cloudburst-check"
"""Repository that exists only during the check."""
CUT_BLOBS = 2
"""Number of blobs that have arrived when the first push is interrupted."""
PREVIEW_TIMEOUT = 60.0
"""Seconds to wait for the preview of the lifecycle policy."""


async def check_image(
    aws: AWSClient,
    findings: Findings,
    *,
    build: BuildImage | None = None,
    options: ImageOptions | None = None,
) -> None:
    """Build our image, push it in two parts, read it from ECR, and delete the repository."""
    started_at = anyio.current_time()
    build = build or await image_builder()
    built = await build(options or ImageOptions(), None)
    seconds = anyio.current_time() - started_at
    sizes = ", ".join(f"{one.architecture} {one.size / 1e6:.1f} MB" for one in built.platforms)
    findings.note("the image was built", f"in {seconds:.0f} s; {sizes}")
    async with _repository(aws):
        await _check_push(aws, findings, built)
        await _check_platforms(aws, findings, built)
        await _preview_lifecycle(aws, findings)


@asynccontextmanager
async def _repository(aws: AWSClient) -> AsyncGenerator[None]:
    """Create the repository, and delete it at the end."""
    tags = tag_list(key="Key", value="Value")
    await aws.call("ecr", "create_repository", repositoryName=REPOSITORY, tags=tags)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(60):
            await aws.call("ecr", "delete_repository", repositoryName=REPOSITORY, force=True)


async def _check_push(aws: AWSClient, findings: Findings, built: BuiltImage) -> None:
    with anyio.CancelScope() as first:

        def cut(progress: PushProgress) -> None:
            if progress.blobs_done == CUT_BLOBS:
                first.cancel()

        await _push(aws, built, cut)
    report = await _push(aws, built)
    speed = report.bytes_sent / max(report.seconds, 0.001) / 1e6
    findings.report(
        "blobs that an interrupted push has sent are not sent again",
        kept=report.digest == built.digest and report.bytes_present > 0,
        seen=f"{report.bytes_sent / 1e6:.1f} MB in {report.seconds:.0f} s ({speed:.1f} MB/s), "
        f"{report.bytes_present / 1e6:.1f} MB were there",
    )
    again = await _push(aws, built)
    findings.report(
        "a second push sends nothing", again.bytes_sent == 0, f"{again.bytes_sent} bytes"
    )


async def _push(
    aws: AWSClient,
    built: BuiltImage,
    on_progress: Callable[[PushProgress], None] | None = None,
) -> PushReport:
    return await push_to_ecr(aws, built, repository=REPOSITORY, on_progress=on_progress)


async def _check_platforms(aws: AWSClient, findings: Findings, built: BuiltImage) -> None:
    repository = Repository(account=await aws.account_id(), region=aws.region, name=REPOSITORY)
    digests = [built.digest, *(platform.digest for platform in built.platforms)]
    found = await read_images(aws, repository, [{"imageDigest": one} for one in digests])
    names = {image.digest for image in found}
    findings.report(
        "ECR has the index and the image of each architecture",
        kept=names == set(digests),
        seen=f"{len(names)} of {len(digests)}",
    )


async def _preview_lifecycle(aws: AWSClient, findings: Findings) -> None:
    """Report what the lifecycle policy of ``init`` would remove: nothing of one image."""
    name = {"repositoryName": REPOSITORY}
    promise = "the lifecycle policy keeps the image and its architectures"
    try:
        text = json.dumps(LIFECYCLE_POLICY)
        await aws.call("ecr", "put_lifecycle_policy", **name, lifecyclePolicyText=text)
        await aws.call("ecr", "start_lifecycle_policy_preview", **name)
        with anyio.fail_after(PREVIEW_TIMEOUT):
            while True:
                preview = await aws.call("ecr", "get_lifecycle_policy_preview", **name)
                if preview.get("status") != "IN_PROGRESS":
                    break
                await anyio.sleep(2)
    except CloudburstError as exc:
        findings.report(promise, kept=False, seen=str(exc))
        return
    removed = preview.get("previewResults") or []
    complete = preview.get("status") == "COMPLETE"
    findings.report(promise, kept=complete and not removed, seen=f"{len(removed)} removed")

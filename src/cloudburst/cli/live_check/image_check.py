"""Part that pushes our image to a repository of its own in ECR."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_list
from cloudburst.aws.setup.ecr import Repository, read_images
from cloudburst.aws.setup.ecr_push import push_to_ecr
from cloudburst.aws.setup.ecr_repository import LIFECYCLE_POLICY, read_image_repository
from cloudburst.aws.setup.permissions import LIVE_NAME
from cloudburst.aws.setup.resource_definitions import has_our_tags, tag_list
from cloudburst.cli.live_check.findings import NotTriedError
from cloudburst.cli.live_check.live import Live, accepted
from cloudburst.errors import ConfigurationError
from cloudburst.image import BuiltImage, ImageOptions, build_image
from cloudburst.net.registry.images import PushProgress, PushReport

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
    """Delete the repository of a check, and return whether there was one.

    Raises:
        ConfigurationError: There is a repository of this name that no check has created.
        CloudburstError: Any error of `AWSClient.call`.
    """
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

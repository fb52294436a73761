"""Check of the image that tasks pull: it exists and is built for the tasks' processor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import anyio
import httpx

from cloudburst.aws.fargate.task_definition import parse_task_definition
from cloudburst.aws.setup.checks import Check, CheckContext, failed, passed, warning
from cloudburst.aws.setup.images import Repository, image_id, repository_of
from cloudburst.errors import AccessDeniedError, AWSError, ConfigurationError, ResourceMissingError

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
"""Media types of an index, which names one image for each platform: OCI image specification 1.1 and
Docker registry specification."""
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""Media types of the manifest of a single image, from the same specifications."""
PLATFORMS: Mapping[str, str] = {"X86_64": "amd64", "ARM64": "arm64"}
"""Names of processor architectures in image manifests, by their names on Fargate."""
MAX_CONFIGURATION_BYTES = 1 << 20
CONFIGURATION_TIMEOUT = 10.0
"""Maximum seconds for reading the configuration of an image."""
BUILD = (
    "docker buildx build --platform linux/amd64,linux/arm64 --push -t {image} ., "
    "or use a task definition for the image's processor"
)


async def check_platforms(
    context: CheckContext, transport: httpx.AsyncBaseTransport | None = None
) -> list[Check]:
    """Check that an image in ECR exists and runs on the processor of the task definition.

    Images in other registries are not checked: each registry has its own way to sign in.

    Args:
        context: Account and settings.
        transport: HTTP transport for reading the image's configuration, in place of the network.

    Raises:
        CloudburstError: Any error of `AWSClient.call`.
    """
    try:
        definition = parse_task_definition(
            await context.task_definition(), protocol=context.settings.protocol
        )
    except (ConfigurationError, ResourceMissingError):
        return []  # reported by the check of the task definition
    repository = repository_of(definition.image)
    if repository is None:
        return []
    name, image = "platforms", definition.image
    try:
        manifest = await _manifest(context, repository, image)
    except (ResourceMissingError, AWSError) as exc:
        if not isinstance(exc, ResourceMissingError) and "NotFound" not in exc.code:
            raise
        manifest = None
    build = BUILD.format(image=image)
    if manifest is None:
        return [failed(name, f"{image} is not in ECR: tasks cannot pull it", build)]
    found = _index_platforms(manifest) or await _image_platform(
        context, repository, manifest, transport
    )
    needed = PLATFORMS.get(definition.architecture, definition.architecture)
    if not found:
        return [warning(name, f"not checked: ECR does not show the processor of {image}")]
    names = ", ".join(sorted(found))
    if needed not in found:
        text = f"the image is for {names}, the task definition for {needed}: tasks cannot start"
        return [failed(name, text, build)]
    return [passed(name, f"the image is for {names}")]


async def _manifest(
    context: CheckContext, repository: Repository, image: str
) -> dict[str, object] | None:
    """Return the manifest or index of an image; ``None`` if there is no such image."""
    response = await context.aws.call(
        "ecr",
        "batch_get_image",
        in_region=repository.region,
        registryId=repository.account,
        repositoryName=repository.name,
        imageIds=[image_id(image)],
        acceptedMediaTypes=[*INDEX_TYPES, *MANIFEST_TYPES],
    )
    images: Sequence[Mapping[str, Any]] = response.get("images") or ()
    return _parse_object(images[0].get("imageManifest", "")) if images else None


def _index_platforms(manifest: Mapping[str, Any]) -> set[str]:
    """Return the processors that an index names; empty for the manifest of a single image.

    Entries of an index with an unknown platform are left out: they are build records
    ("attestations").
    """
    found: set[str] = set()
    for entry in _as_list(manifest.get("manifests")):
        platform = _as_dict(_as_dict(entry).get("platform"))
        found.add(str(platform.get("architecture") or "unknown"))
    return found - {"unknown"}


async def _image_platform(
    context: CheckContext,
    repository: Repository,
    manifest: Mapping[str, Any],
    transport: httpx.AsyncBaseTransport | None,
) -> set[str]:
    """Return the processor in the configuration of a single image; empty if it cannot be read."""
    digest = _as_dict(manifest.get("config")).get("digest")
    if not isinstance(digest, str):
        return set()
    try:
        response = await context.aws.call(
            "ecr",
            "get_download_url_for_layer",
            in_region=repository.region,
            registryId=repository.account,
            repositoryName=repository.name,
            layerDigest=digest,
        )
        text = await _read(str(response["downloadUrl"]), transport)
    except (AccessDeniedError, AWSError, httpx.HTTPError, TimeoutError):
        return set()
    processor = _parse_object(text).get("architecture")
    return {processor} if isinstance(processor, str) else set()


async def _read(url: str, transport: httpx.AsyncBaseTransport | None) -> str:
    """Return the first `MAX_CONFIGURATION_BYTES` bytes of the document at a URL, as text."""
    data = b""
    with anyio.fail_after(CONFIGURATION_TIMEOUT):
        async with (
            httpx.AsyncClient(transport=transport, timeout=CONFIGURATION_TIMEOUT) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            response.raise_for_status()
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > MAX_CONFIGURATION_BYTES:
                    break
    return data[:MAX_CONFIGURATION_BYTES].decode(errors="replace")


def _parse_object(text: str) -> dict[str, object]:
    """Return the JSON object in a text; empty if the text is anything else."""
    try:
        return _as_dict(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _as_dict(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _as_list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []

"""Images in private ECR repositories, as ECR's API describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.setup.images import Repository
from cloudburst.errors import AWSError, CloudburstError, ResourceMissingError
from cloudburst.registry.documents import INDEX_TYPES, MANIFEST_TYPES

MAX_IMAGES_PER_CALL = 100
"""Maximum number of images in one call of BatchGetImage and BatchDeleteImage (ECR API reference,
2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrImage:
    """An image in ECR: an index of several architectures, or a single image."""

    digest: str
    """Digest of the index or manifest; empty if ECR does not return it."""
    manifest: Mapping[str, object]
    """Parsed index or manifest; empty if it is not JSON."""
    platforms: Mapping[str, str] = field(default_factory=dict[str, str])
    """Digests of the images in an index by architecture, such as ``amd64``; empty for a single
    image. Entries with an unknown architecture are left out: they are records of the build
    ("attestations")."""

    @property
    def annotations(self) -> Mapping[str, object]:
        """Annotations of the index or manifest."""
        return as_dict(self.manifest.get("annotations"))


def is_missing(error: CloudburstError) -> bool:
    """Return whether ECR does not have what a call names: a repository, a policy or an image."""
    if isinstance(error, ResourceMissingError):
        return True
    return isinstance(error, AWSError) and "NotFound" in error.code


async def read_images(
    aws: AWSClient, repository: Repository, image_ids: Sequence[Mapping[str, str]]
) -> list[EcrImage]:
    """Return those of the images that exist.

    Args:
        aws: Client; the registry may be in another region or account.
        repository: Repository of the images.
        image_ids: Entries with ``imageDigest`` or ``imageTag``.

    Raises:
        CloudburstError: Any error of `AWSClient.call`, except that the repository is missing.
    """
    found: list[EcrImage] = []
    for start in range(0, len(image_ids), MAX_IMAGES_PER_CALL):
        try:
            response = await aws.call(
                "ecr",
                "batch_get_image",
                in_region=repository.region,
                registryId=repository.account,
                repositoryName=repository.name,
                imageIds=[dict(each) for each in image_ids[start : start + MAX_IMAGES_PER_CALL]],
                acceptedMediaTypes=[*INDEX_TYPES, *MANIFEST_TYPES],
            )
        except CloudburstError as exc:
            if is_missing(exc):
                return []
            raise
        found += map(_image, response.get("images") or ())
    return found


def _image(entry: Mapping[str, Any]) -> EcrImage:
    manifest = parse_object(entry.get("imageManifest") or "")
    identity: Mapping[str, str] = entry.get("imageId") or {}
    return EcrImage(
        digest=identity.get("imageDigest") or "", manifest=manifest, platforms=_platforms(manifest)
    )


def _platforms(manifest: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in map(as_dict, as_list(manifest.get("manifests"))):
        architecture = as_dict(entry.get("platform")).get("architecture") or "unknown"
        found.setdefault(str(architecture), str(entry.get("digest") or ""))
    found.pop("unknown", None)
    return found


def parse_object(text: str) -> dict[str, object]:
    """Return the JSON object in a text; empty if the text is anything else."""
    try:
        return as_dict(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def as_dict(value: object) -> dict[str, object]:
    """Return a value if it is a JSON object, else an empty one."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Return a value if it is a JSON list, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []

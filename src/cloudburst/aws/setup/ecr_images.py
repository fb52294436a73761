"""Images in private ECR repositories, as ECR's API describes them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.setup.images import Repository
from cloudburst.errors import AWSError, ResourceMissingError
from cloudburst.net.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Index,
    Manifest,
    parse_index,
    parse_manifest,
)
from cloudburst.net.registry.errors import InvalidImageError

MAX_IMAGES_PER_CALL = 100
"""Maximum number of images in one call of BatchGetImage and BatchDeleteImage (ECR API reference,
2026-11)."""
UNKNOWN_ARCHITECTURE = "unknown"
"""Architecture of the entries of an index that are records of the build ("attestations")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrImage:
    """An image in ECR: an index of several architectures, or a single image."""

    digest: str
    """Digest of the index or manifest."""
    document: Index | Manifest | None
    """Index or manifest; ``None`` if it is not valid."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """Annotations of the index or manifest."""
        return {} if self.document is None else self.document.annotations

    @property
    def is_index(self) -> bool:
        """True for an index of several architectures."""
        return isinstance(self.document, Index)

    @property
    def parts(self) -> Sequence[str]:
        """Digests of all manifests that an index names; none for a single image."""
        found = self.document.manifests if isinstance(self.document, Index) else ()
        return [entry.digest for entry in found]

    @property
    def platforms(self) -> Mapping[str, str]:
        """Digests of the images in an index by architecture, such as ``amd64``.

        Empty for a single image. Entries with an unknown architecture are left out.
        """
        found: dict[str, str] = {}
        for entry in self.document.manifests if isinstance(self.document, Index) else ():
            if entry.platform and entry.platform.architecture != UNKNOWN_ARCHITECTURE:
                found.setdefault(entry.platform.architecture, entry.digest)
        return found


async def or_none(call: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the response to a call; ``None`` if what it names does not exist."""
    try:
        return await call
    except ResourceMissingError:
        return None
    except AWSError as exc:
        if "NotFound" in exc.code:  # of ECR
            return None
        raise


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
        call = aws.call(
            "ecr",
            "batch_get_image",
            in_region=repository.region,
            registryId=repository.account,
            repositoryName=repository.name,
            imageIds=[dict(each) for each in image_ids[start : start + MAX_IMAGES_PER_CALL]],
            acceptedMediaTypes=[*INDEX_TYPES, *MANIFEST_TYPES],
        )
        if (response := await or_none(call)) is None:
            return []
        found += [
            EcrImage(digest=one["imageId"]["imageDigest"], document=_document(one["imageManifest"]))
            for one in response["images"]
        ]
    return found


def _document(text: str) -> Index | Manifest | None:
    # An index without a media type differs from a manifest in that it has no configuration.
    data = text.encode(errors="surrogatepass")
    for parse in (parse_manifest, parse_index):
        try:
            return parse(data)
        except InvalidImageError:
            continue
    return None

"""Images of one repository, as the registry on this machine has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import httpx

from cloudburst.emulator.config import EmulatedRegistry
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.local_registry import LOCAL_TRANSFERS
from cloudburst.net.registry.client import RegistryClient, open_registry
from cloudburst.net.registry.documents import INDEX_TYPES, MANIFEST_TYPES, parse_index
from cloudburst.net.registry.errors import InvalidImageError, NotInRegistryError, RegistryError
from cloudburst.net.registry.http import Credentials
from cloudburst.net.session import WORKERS, open_session

# Maximum number of tags that are read from a repository.
MAX_TAGS = 1000
REQUEST_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """Index or manifest in the registry."""

    digest: str
    media_type: str
    data: bytes = field(repr=False)
    tags: tuple[str, ...] = ()


class RepositoryImages:
    """Images of a repository."""

    def __init__(self, name: str, client: RegistryClient, requests: httpx.AsyncClient) -> None:
        self._name = name
        self._client = client
        self._requests = requests

    async def find(self, reference: str, accepted: Sequence[str]) -> FoundImage | None:
        """Return an image by its tag or digest; ``None`` if there is none."""
        kinds = tuple(accepted) or (*INDEX_TYPES, *MANIFEST_TYPES)
        try:
            descriptor, data = await self._client.resolve(self._name, reference, kinds)
        except (NotInRegistryError, InvalidImageError):
            return None
        return FoundImage(digest=descriptor.digest, media_type=descriptor.media_type, data=data)

    async def all(self) -> dict[str, FoundImage]:
        """Return the images with a tag, and the images in their indexes, by digest.

        The registry does not list other images without a tag.
        """
        found = dict[str, FoundImage]()
        for tag in await self._tags():
            image = await self.find(tag, ())
            if image is None:
                continue
            known = found.get(image.digest, image)
            found[image.digest] = replace(image, tags=(*known.tags, tag))
            for digest in members_of(image):
                member = None if digest in found else await self.find(digest, ())
                if member:
                    found[digest] = member
        return found

    async def index_with(self, digest: str) -> str | None:
        """Return the digest of an index that names an image; ``None`` if there is none."""
        images = await self.all()
        return next((one.digest for one in images.values() if digest in members_of(one)), None)

    async def delete(self, digest: str) -> None:
        """Delete an image; ignore an image that does not exist."""
        response = await self._requests.delete(f"/v2/{self._name}/manifests/{digest}")
        if response.status_code not in {HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND}:
            raise ApiError(
                "ServerException",
                f"The registry does not delete images: status {response.status_code}; set its "
                "option storage.delete.enabled",
                status=500,
            )

    async def _tags(self) -> list[str]:
        response = await self._requests.get(f"/v2/{self._name}/tags/list", params={"n": MAX_TAGS})
        if response.status_code == HTTPStatus.NOT_FOUND:
            return []
        answer: Mapping[str, Any] = response.raise_for_status().json()
        return [str(tag) for tag in answer.get("tags") or ()][:MAX_TAGS]


@asynccontextmanager
async def open_repository_images(
    registry: EmulatedRegistry, name: str
) -> AsyncGenerator[RepositoryImages]:
    """Connect to the registry and yield the images of a repository."""
    login = Credentials(registry.username, registry.password)
    try:
        async with (
            open_registry(registry.url, login, policy=LOCAL_TRANSFERS) as client,
            open_session(
                WORKERS,
                base_url=registry.url,
                auth=(registry.username, registry.password),
                timeouts=REQUEST_TIMEOUT,
            ) as requests,
        ):
            yield RepositoryImages(name, client, requests)
    except (RegistryError, httpx.HTTPError, ValueError) as exc:
        raise ApiError("ServerException", f"The registry failed: {exc}", status=500) from exc


def members_of(image: FoundImage) -> list[str]:
    """Return the digests that an index names; none of another image."""
    if image.media_type not in INDEX_TYPES:
        return []
    try:
        return [entry.digest for entry in parse_index(image.data).manifests]
    except InvalidImageError:
        return []

"""The base image: its layers, and what the builder needs to know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from anyio import from_thread, to_thread

from cloudburst.errors import ImageError
from cloudburst.image.base_layers import BaseFiles, read_base_layers
from cloudburst.image.builder_hash import BASE_CODE
from cloudburst.image.cache import ImageCache
from cloudburst.image.debian import SystemPackage, system_packages
from cloudburst.image.options import Architecture
from cloudburst.registry import (
    Credentials,
    Descriptor,
    ImageConfig,
    ImageReference,
    Platform,
    PulledImage,
    RegistryClient,
    RegistryError,
    RegistryUnavailableError,
    TransferPolicy,
    open_registry,
    pull_image,
)

LOOKUP_POLICY = TransferPolicy(connect_timeout=2.0, attempts=3, first_delay=0.3, max_time=10.0)
"""Limits of the attempts to look up the base image: without a connection, they fail after 7 seconds
at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """What the builder needs to know of the files of a base image."""

    python: str
    """Path of the interpreter, without a slash at the beginning."""
    glibc: tuple[int, int]
    passwd: str
    group: str
    os_release: str
    folders: tuple[str, ...]
    """Folders that the layers above need not add."""
    has_tmp: bool
    packages: tuple[SystemPackage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """Base image for one architecture, whose layers are in the cache."""

    reference: ImageReference
    """Reference by which it was found, with the digest of the index or manifest."""
    digest: str
    """Digest of the manifest of this architecture."""
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    paths: tuple[Path, ...]
    facts: BaseFacts


async def find_base(reference: ImageReference, credentials: Credentials | None) -> ImageReference:
    """Return the name of the base image with the digest that the registry has for it now.

    This takes a few seconds at most, unlike the download of the layers, which is repeated for
    longer.

    Raises:
        ImageError: the registry does not answer, or has no such image.
    """
    try:
        async with open_registry(reference.url, credentials, policy=LOOKUP_POLICY) as client:
            root, _ = await client.resolve(reference.repository, reference.reference)
    except RegistryUnavailableError as exc:
        msg = (
            f"the base image {reference} cannot be reached: {exc}. Check the network and the "
            "proxy, or choose a base image in another registry with --base"
        )
        raise ImageError(msg) from exc
    except RegistryError as exc:
        raise unusable(reference, exc) from exc
    return replace(reference, digest=root.digest)


def unusable(reference: ImageReference, error: Exception) -> ImageError:
    """Return the error for a base image that the registry does not have, or that is not valid."""
    msg = f"the base image {reference} cannot be used: {error}. Choose another one with --base"
    return ImageError(msg)


async def pull_base(
    client: RegistryClient,
    reference: ImageReference,
    architecture: Architecture,
    cache: ImageCache,
) -> BaseImage:
    """Download the layers of the base image that the cache does not have, and read them.

    Raises:
        ImageError: the image cannot be downloaded, or is not one on which the service can run.
    """
    platform = Platform(architecture)
    try:
        pulled = await pull_image(
            client, reference.repository, reference.reference, platform, cache.blobs
        )
    except RegistryUnavailableError as exc:
        msg = (
            f"the base image {reference} cannot be downloaded: {exc}. Check the network and the "
            "proxy, and run the command again: complete layers are kept"
        )
        raise ImageError(msg) from exc
    except RegistryError as exc:
        raise unusable(reference, exc) from exc
    for digest in (pulled.manifest.config.digest, *(one.digest for one in pulled.manifest.layers)):
        cache.mark_used(cache.blob_path(digest))
    facts = await to_thread.run_sync(_facts, pulled, cache)
    return BaseImage(
        reference=reference,
        digest=pulled.manifest_descriptor.digest,
        config=pulled.config,
        layers=pulled.manifest.layers,
        paths=pulled.layer_paths,
        facts=facts,
    )


def _facts(pulled: PulledImage, cache: ImageCache) -> BaseFacts:
    """Return the facts of a base image, from the cache or from its layers."""
    key = f"{pulled.manifest_descriptor.digest.removeprefix('sha256:')}-{BASE_CODE[:16]}"
    if (record := _recorded(cache.read_record("bases", key))) is not None:
        return record
    facts = base_facts(read_base_layers(pulled.layer_paths, from_thread.check_cancelled))
    cache.write_record("bases", key, asdict(facts))
    return facts


def _recorded(record: Any) -> BaseFacts | None:
    try:
        packages = tuple(SystemPackage(**one) for one in record.pop("packages"))
        major, minor = record.pop("glibc")
        folders = tuple(map(str, record.pop("folders")))
        return BaseFacts(**record, glibc=(major, minor), folders=folders, packages=packages)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def base_facts(files: BaseFiles) -> BaseFacts:
    """Return what the builder needs to know of the files.

    Raises:
        ImageError: the image has no users, no glibc or no Python of our version.
    """
    passwd = files.text("etc/passwd")
    if not passwd:
        raise ImageError("the base image has no /etc/passwd, so it has no users")
    tmp = files.files.get("tmp")
    return BaseFacts(
        python=files.python(),
        glibc=files.glibc(),
        passwd=passwd,
        group=files.text("etc/group"),
        os_release=files.text("usr/lib/os-release") or files.text("etc/os-release"),
        folders=tuple(sorted(files.folders)),
        has_tmp=tmp is not None and tmp.mode == 0o1777,
        packages=system_packages(files),
    )


def read_files(base: BaseImage, check_cancelled: Callable[[], None]) -> BaseFiles:
    """Return the files of the base image; blocks for some seconds."""
    return read_base_layers(base.paths, check_cancelled)

"""The base image: its layers, and what the builder needs to know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
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
    Descriptor,
    ImageConfig,
    ImageReference,
    Platform,
    PulledImage,
    RegistryClient,
    pull_image,
)


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


async def pull_base(
    client: RegistryClient,
    reference: ImageReference,
    architecture: Architecture,
    cache: ImageCache,
) -> BaseImage:
    """Download the layers of the base image that the cache does not have, and read them.

    Raises:
        RegistryError: the image cannot be downloaded, or is not a valid image.
        ImageError: the image is not one on which the service can run.
    """
    platform = Platform(architecture)
    pulled = await pull_image(
        client, reference.repository, reference.reference, platform, cache.blobs
    )
    facts = await to_thread.run_sync(_facts, pulled, cache)
    return BaseImage(
        reference=ImageReference(
            reference.registry, reference.repository, reference.tag, pulled.root.digest
        ),
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

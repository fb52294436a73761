"""The base image: login and look-up, its layers, and what the builder needs of its files."""

from __future__ import annotations

import base64
import json
import logging
import os
import posixpath
import re
import tarfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from cloudburst.errors import ConfigurationError, ImageError
from cloudburst.image.cache import ImageCache
from cloudburst.image.entries import Entry
from cloudburst.image.options import PYTHON, Architecture
from cloudburst.image.trim import needs_bytecode
from cloudburst.net.registry.client import RegistryClient, open_registry
from cloudburst.net.registry.documents import Platform
from cloudburst.net.registry.errors import (
    InvalidImageError,
    RegistryError,
    RegistryUnavailableError,
)
from cloudburst.net.registry.http import Credentials, TransferPolicy
from cloudburst.net.registry.images import PulledImage, pull_image
from cloudburst.net.registry.names import DOCKER_HUB, ImageReference
from cloudburst.net.registry.unpack import deleted_path, image_path, open_layer

# Without an answer, the look-up of the base image fails after ten seconds.
LOOKUP_POLICY = TransferPolicy(connect_timeout=2.0, idle_timeout=4.5, attempts=2)
SETUID = 0o6000
_LIBRARY = re.compile(rf"(?:[^/]+/)*lib/python{re.escape(PYTHON)}/(.+)")


@dataclass(frozen=True, slots=True)
class BaseImage:
    """Base image for one architecture, whose layers are in the cache."""

    reference: ImageReference
    """Reference by which it was found, with the digest of the index or manifest."""
    pulled: PulledImage


async def find_base(reference: ImageReference, credentials: Credentials | None) -> ImageReference:
    """Return the name of the base image with its present digest, in a few seconds at most."""
    with _base_named(reference):
        async with open_registry(reference.url, credentials, policy=LOOKUP_POLICY) as client:
            root, _ = await client.resolve(reference.repository, reference.reference)
    return replace(reference, digest=root.digest)


async def pull_base(
    client: RegistryClient,
    reference: ImageReference,
    architecture: Architecture,
    cache: ImageCache,
) -> BaseImage:
    """Download the layers of the base image that the cache does not have."""
    with _base_named(reference):
        pulled = await pull_image(
            *(client, reference.repository, reference.reference),
            *(Platform(architecture), cache.blobs),
        )
    return BaseImage(reference, pulled)


@contextmanager
def _base_named(reference: ImageReference) -> Generator[None]:
    try:
        yield
    except RegistryError as exc:
        advice = "Choose another one with --base"
        if isinstance(exc, RegistryUnavailableError):
            advice = (
                "Check the network and the proxy, and run the command again: complete layers are "
                "kept. Or choose a base image in another registry with --base"
            )
        raise ImageError(f"the base image {reference} cannot be used: {exc}. {advice}") from exc


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """Files of a base image after all its layers, by their path."""

    entries: dict[str, Entry]
    """Only files that the builder reads have contents."""

    def lines(self, path: str) -> list[str]:
        """Return the lines of a file; none if it does not exist."""
        entry = self.entries.get(path)
        return entry.data.decode("utf-8", "replace").splitlines() if entry else []

    def python(self) -> str:
        """Return the path of the Python interpreter; raise `ImageError` if there is none."""
        order = {"usr/local/bin": 0, "usr/bin": 1}
        found = [path for path in self.entries if path.endswith(f"bin/python{PYTHON}")]
        if found:
            return min(found, key=lambda path: (order.get(posixpath.dirname(path), 2), path))
        raise ImageError(
            f"the base image has no python{PYTHON}; the packages are locked for this version. "
            f"Choose another base, for example python:{PYTHON}-slim"
        )

    def require_glibc(self) -> None:
        """Raise `ImageError` if the base has no glibc."""
        if not any(path.endswith("/libc.so.6") for path in self.entries):
            raise ImageError(
                "the base image has no glibc, for which the packages are compiled. "
                f"Choose another base, for example python:{PYTHON}-slim"
            )

    def standard_library(self) -> list[Entry]:
        """Return the modules of the standard library that have no bytecode and need it."""
        return [
            entry
            for path, entry in self.entries.items()
            if _is_library(path) and bytecode_path(path) not in self.entries
        ]

    def with_setuid(self) -> list[Entry]:
        """Return the files with a setuid or setgid bit."""
        return [
            entry
            for entry in self.entries.values()
            if entry.mode & SETUID and not (entry.link or entry.is_folder)
        ]


def bytecode_path(path: str) -> str:
    """Return the path of the bytecode of a module."""
    folder, name = posixpath.split(path)
    stem = name.removesuffix(".py")
    return f"{folder}/__pycache__/{stem}.cpython-{PYTHON.replace('.', '')}.pyc"


def read_base(base: BaseImage) -> BaseFiles:
    """Return the files of a base image; raise `ImageError` if a layer is damaged; blocks."""
    files = dict[str, Entry]()
    for path in base.pulled.layer_paths:
        try:
            files = _with_layer(files, path)
        except InvalidImageError as exc:
            raise ImageError(f"the base image cannot be used: {exc}") from exc
    return BaseFiles(files)


def _with_layer(lower: dict[str, Entry], path: Path) -> dict[str, Entry]:
    upper, deleted = dict[str, Entry](), set[str]()
    with open_layer(path) as archive:
        for header in archive:
            name, whiteout = image_path(header.name), deleted_path(header.name)
            if whiteout is not None:
                deleted.add(whiteout)
            elif header.islnk():  # the same file under another name, with its setuid bit
                target = image_path(header.linkname)
                if found := upper.get(target) or lower.get(target):
                    upper[name] = replace(found, path=name)
            elif header.isreg() or header.isdir() or header.issym():
                upper[name] = _entry(archive, header, name)
    deleted.update(name for name, entry in upper.items() if not entry.is_folder)
    kept = {name: one for name, one in lower.items() if deleted.isdisjoint(_with_folders(name))}
    return kept | upper


def _with_folders(path: str) -> Iterator[str]:
    while path:
        yield path
        path = posixpath.dirname(path)


def _entry(tar: tarfile.TarFile, header: tarfile.TarInfo, name: str) -> Entry:
    needed = name in {"etc/passwd", "etc/group"} or header.mode & SETUID or _is_library(name)
    data = cast("Any", tar.extractfile(header)).read() if header.isreg() and needed else b""
    return Entry(
        path=name,
        data=data,
        mode=header.mode & 0o7777,
        link=header.linkname if header.issym() else "",
        is_folder=header.isdir(),
        owner=header.uid,
        group=header.gid,
    )


def _is_library(path: str) -> bool:
    match = _LIBRARY.fullmatch(path)
    return match is not None and needs_bytecode(match[1])


logger = logging.getLogger(__name__)


def docker_login(registry: str) -> Credentials | None:
    """Return the login for a registry from docker's ``config.json``; ``None`` if it has none.

    Credential helpers are not called; a login that one of them has is reported in the log.
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        config: Any = json.loads(path.read_bytes())
        hosts = {_host(name): entry.get("auth") for name, entry in config.get("auths", {}).items()}
        if text := hosts.get(registry):
            user, _, password = base64.b64decode(text).decode().partition(":")
            return Credentials(user, password)
        helper = config.get("credHelpers", {}).get(registry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc
    if helper or registry in hosts:
        logger.warning(
            "%s: the login for %s is in a credential helper, which is not called", path, registry
        )
    return None


def _host(name: str) -> str:
    # Docker Hub's key is ``https://index.docker.io/v1/``.
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host == "index.docker.io" else host

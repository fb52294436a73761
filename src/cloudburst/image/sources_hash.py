"""Hash of everything in this installation that an image is built from."""

from __future__ import annotations

import hashlib

from cloudburst.errors import ImageError
from cloudburst.image.builder_hash import ALL_CODE
from cloudburst.image.locked_packages import LOCK_FILE
from cloudburst.image.own_package import needed_files
from cloudburst.renderer.kernel.targets import SOURCE
from cloudburst.version import PACKAGE_VERSION

SOURCES_ANNOTATION = "cloudburst.sources"
"""Annotation of the index of an image with the hash of its sources."""


def sources_hash() -> str:
    """Return the SHA-256 of this package, its lock file and the source of the kernel; blocks.

    Images with the same hash differ only by their base image, by compiled kernels and by bytecode,
    which depend on the machine that builds.

    Raises:
        ImageError: A file cannot be read.
    """
    found = hashlib.sha256(f"{PACKAGE_VERSION} {ALL_CODE}".encode())
    try:
        files = [*needed_files(), ("lock", LOCK_FILE), ("kernel", SOURCE)]
        for name, path in files:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{name} {content}\n".encode())
    except OSError as exc:
        raise ImageError(f"this installation is not complete: {exc}") from exc
    return found.hexdigest()

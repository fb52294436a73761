"""Reading of local files that are blobs. Every function blocks."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cloudburst.registry.documents import MAX_DOCUMENT_BYTES, Descriptor
from cloudburst.registry.errors import DigestError, InvalidImageError

READ_BYTES = 1024**2


def blob_path(folder: Path, digest: str) -> Path:
    """Return the path of a blob in a folder ``blobs`` of an OCI image layout."""
    algorithm, _, value = digest.partition(":")
    return folder / algorithm / value


def read_part(path: Path, start: int, size: int) -> bytes:
    """Return a part of a file; raise `InvalidImageError` if the file is shorter or missing."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
    except OSError as exc:
        raise InvalidImageError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    if len(data) != size:
        raise InvalidImageError(f"{path} has fewer than {start + size} bytes")
    return data


def read_document(path: Path, descriptor: Descriptor | None = None) -> bytes:
    """Return the content of a small file, checked against a descriptor if one is given."""
    size = file_size(path)
    if size > MAX_DOCUMENT_BYTES:
        raise InvalidImageError(f"{path} is larger than {MAX_DOCUMENT_BYTES // 1024**2} MiB")
    data = read_part(path, 0, size)
    if descriptor is not None and digest_of(data) != descriptor.digest:
        raise DigestError(f"{path} does not have the digest {descriptor.digest}")
    return data


def file_size(path: Path) -> int:
    """Return the size of a regular file in bytes; raise `InvalidImageError` for anything else."""
    try:
        status = path.stat()
    except OSError as exc:
        raise InvalidImageError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    if not stat.S_ISREG(status.st_mode):
        raise InvalidImageError(f"{path} is not a regular file")
    return status.st_size


def file_digest(path: Path) -> str:
    """Return the digest of a file, which is read completely."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                found.update(block)
    except OSError as exc:
        raise InvalidImageError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    return f"sha256:{found.hexdigest()}"


def digest_of(data: bytes) -> str:
    """Return the digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def has_size(path: Path, size: int) -> bool:
    """Return whether a path is a regular file of a size in bytes, and not a link."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size

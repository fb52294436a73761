"""Local files that are blobs. Every function blocks."""

from __future__ import annotations

import hashlib
from pathlib import Path


def blob_path(folder: Path, digest: str) -> Path:
    """Return the path of a blob in a folder ``blobs`` of an OCI image layout."""
    algorithm, _, value = digest.partition(":")
    return folder / algorithm / value


def read_part(path: Path, start: int, size: int) -> bytes:
    """Return a part of a file, which is shorter at its end."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def file_digest(path: Path) -> str:
    """Return the digest of a file, which is read completely."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_of(data: bytes) -> str:
    """Return the digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"

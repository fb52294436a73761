"""Unpacking of the layers of an image into a folder, without root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """Limits against layers that fill the disk."""

    max_bytes: int = 4 * 1024**3
    """Maximum number of bytes of all files of all layers."""
    max_entries: int = 300_000
    """Maximum number of entries of all layers."""


async def unpack_layers(
    paths: Sequence[Path],
    folder: Path,
    *,
    diff_ids: Sequence[str] = (),
    limits: UnpackLimits | None = None,
) -> None:
    """Unpack layers, lowest first, into a new folder; create all of it or nothing.

    Layers are tar files without compression or with gzip or zstd. Later layers replace and delete
    files of earlier ones (whiteouts). Modes and modification times are kept, setuid and setgid bits
    are removed, devices and pipes are left out, and all files belong to the current user. Absolute
    links refer to the folder as root, and no entry is written outside the folder.

    Args:
        paths: Files of the layers.
        folder: The folder to create. It must not exist, or be empty.
        diff_ids: Digests of the uncompressed layers, to check; none are checked if it is empty.
        limits: Limits of size; the default is enough for images of several GB.

    Raises:
        InvalidImageError: A layer is damaged, exceeds a limit or contains an invalid path.
        DigestError: A layer does not have its digest.
    """
    raise NotImplementedError

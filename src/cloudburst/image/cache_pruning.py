"""Limit of the size of the cache: what was not used for the longest time is removed first."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cloudburst.image.cache import PART, ImageCache
from cloudburst.image.cache_locks import removable_images

KEPT_IMAGES = 3
"""Maximum number of images that are kept, besides those that another process uses."""
MAX_CACHE_BYTES = 1_500_000_000
"""Maximum size of the cache in bytes. Everything for one image of both architectures takes 0.3 GB.
What the last build used, and images that another process uses, are kept in any case."""
_LOCK_SUFFIXES = ("lock", ".use")


@dataclass(frozen=True, slots=True)
class _CachedFile:
    path: Path
    size: int
    inode: tuple[int, int]
    used_at: int


def remove_unused(cache: ImageCache, limit: int = MAX_CACHE_BYTES) -> None:
    """Remove old images, and then files, until the cache has at most ``limit`` bytes; blocks.

    The caller has the lock of builds. A blob that also belongs to an image counts once.
    """
    kept = _remove_images(cache, limit)
    _remove_files(cache, kept, limit)


def _remove_images(cache: ImageCache, limit: int) -> dict[tuple[int, int], int]:
    """Remove old images, and return the sizes of the files of the others, by inode."""
    kept = dict[tuple[int, int], int]()
    removed = list[Path]()
    with removable_images(cache.images) as removable:
        folders = [path for path in cache.images.iterdir() if path.is_dir()]
        folders.sort(key=lambda path: (path not in cache.used, -path.stat().st_mtime_ns))
        for place, folder in enumerate(folders):
            joined = kept | {file.inode: file.size for file in _files(folder)}
            fits = place < KEPT_IMAGES and sum(joined.values()) <= limit
            if fits or folder in cache.used or folder.name not in removable:
                kept = joined
            else:
                removed.append(folder.replace(folder.with_name(f"{folder.name}{PART}")))
    for folder in removed:
        shutil.rmtree(folder, ignore_errors=True)
    return kept


def _remove_files(cache: ImageCache, images: dict[tuple[int, int], int], limit: int) -> None:
    """Remove the files that were not used for the longest time, except those of images."""
    left = limit - sum(images.values())
    found = (one for one in _files(cache.folder, skip=cache.images) if one.inode not in images)
    for file in sorted(found, key=lambda one: (one.path not in cache.used, -one.used_at)):
        left -= file.size
        if left < 0 and file.path not in cache.used:
            with suppress(OSError):
                file.path.unlink()
            with suppress(OSError):  # a folder with other files stays
                file.path.parent.rmdir()


def _files(folder: Path, skip: Path | None = None) -> Iterator[_CachedFile]:
    """Yield the files in a folder, except locks."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(parent, name) != skip]
        yield from _described(Path(parent, name) for name in names)


def _described(paths: Iterable[Path]) -> Iterator[_CachedFile]:
    for path in paths:
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and not path.name.endswith(_LOCK_SUFFIXES):
                inode = (status.st_dev, status.st_ino)
                yield _CachedFile(path, status.st_size, inode, status.st_mtime_ns)

"""Layers of an image: reading, and unpacking into a folder."""

from __future__ import annotations

import os
import posixpath
import shutil
import sys
import tarfile
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from anyio import from_thread, to_thread

from cloudburst.net.registry.errors import InvalidImageError

# Prefix of the name of an entry that deletes the file of that name in lower layers.
WHITEOUT = ".wh."
# Name of an entry that deletes its folder in lower layers. An entry of the folder follows.
OPAQUE = ".wh..wh..opq"
# Mode bits that are kept: not setuid and setgid, because files belong to the current user.
MODE_BITS = 0o1777
_ZSTD = b"\x28\xb5\x2f\xfd"


@contextmanager
def open_layer(path: Path) -> Generator[tarfile.TarFile]:
    """Open a layer: a tar file without compression or with gzip or zstd. Blocks.

    Raises:
        InvalidImageError: The layer is damaged; raised by the block that reads it, too.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_ZSTD))
            file.seek(0)
            content: Any = zstd_module().open(file) if start == _ZSTD else file
            with tarfile.open(fileobj=content) as archive:
                yield archive
    except (tarfile.TarError, EOFError, zlib.error) as exc:
        raise InvalidImageError(f"{path}: the layer is damaged: {exc}") from exc


def image_path(name: str) -> str:
    """Return the path of an entry in the image, without a slash at the beginning."""
    return posixpath.normpath(f"/{name}").lstrip("/")


def deleted_path(name: str) -> str | None:
    """Return the path that an entry deletes in lower layers; ``None`` if it is no whiteout."""
    folder, name = posixpath.split(image_path(name))
    if name == OPAQUE:
        return folder
    if name.startswith(WHITEOUT):
        return posixpath.join(folder, name.removeprefix(WHITEOUT))
    return None


async def unpack_layers(paths: Sequence[Path], folder: Path) -> None:
    """Unpack layers, lowest first, into a new folder. After an error, a part of it is there.

    Modes and modification times of files are kept, setuid and setgid bits are removed, devices and
    pipes are left out, and all files belong to the current user, who can write into each folder.
    Absolute links become relative ones, so that they stay in the folder.

    Raises:
        InvalidImageError: A layer is damaged, or has an entry behind a link that leaves the folder.
        OSError: The folder cannot be written.
    """
    await to_thread.run_sync(_unpack_layers, paths, folder)


def _unpack_layers(paths: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)  # other users run the programs
    folder = folder.resolve()
    for path in paths:
        with open_layer(path) as archive:
            for entry in archive.getmembers():
                if (deleted := deleted_path(entry.name)) is not None:
                    _remove(_inside(folder, deleted))
            archive.extractall(folder, filter=_prepared)  # noqa: S202 - the filter decides


def _prepared(entry: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Remove what an entry replaces, and return the entry as it is unpacked."""
    from_thread.check_cancelled()
    if entry.isdev() or deleted_path(entry.name) is not None:
        return None
    root = Path(folder)
    path, link, mode = _inside(root, entry.name), entry.linkname, entry.mode & MODE_BITS
    if entry.isdir():
        mode |= 0o700
    if not entry.isdir() or path.is_symlink() or not path.is_dir():
        _remove(path)
    if entry.issym() and link.startswith("/"):
        link = os.path.relpath(root / image_path(link), path.parent)
    return entry.replace(
        name=str(path.relative_to(root)),
        linkname=image_path(link) if entry.islnk() else link,
        mode=mode,
        uid=None,  # type: ignore[arg-type]  # tarfile allows it
        gid=None,  # type: ignore[arg-type]
        uname=None,  # type: ignore[arg-type]
        gname=None,  # type: ignore[arg-type]
        deep=False,
    )


def _inside(root: Path, name: str) -> Path:
    """Return the path of an entry, which must be in the root, with the links on the way to it."""
    folder, name = posixpath.split(image_path(name))
    parent = Path(os.path.realpath(root / folder))
    if not parent.is_relative_to(root):
        raise InvalidImageError(f"a layer has a link that leaves the image: {folder}")
    return parent / name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def zstd_module() -> Any:
    """Return the module of zstd: that of Python 3.14, or the same one for older versions."""
    try:
        return import_module(
            "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        )
    except ImportError as exc:
        msg = "layers are compressed with zstd: pip install 'cloudburst-sdk[image]'"
        raise InvalidImageError(msg) from exc

"""Reading of the layers of a base image: where its Python is, its users, libc and packages.

Every path is only compared, never opened. Every function blocks.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloudburst.errors import ImageError
from cloudburst.image.locked_packages import PYTHON
from cloudburst.image.trim import needs_bytecode
from cloudburst.registry import InvalidImageError
from cloudburst.registry.unpack import deleted_path, image_path, open_layer

SETUID = 0o6000
_KEPT = re.compile(
    r"etc/(?:passwd|group|os-release)|usr/lib/os-release"
    r"|var/lib/dpkg/(?:status|status\.d/[^/]+)|(?:.+/)?libc\.so\.6"
)
_LIBRARY = re.compile(rf"((?:[^/]+/)*lib/python{re.escape(PYTHON)})/(.+)")
"""Pattern of the files of the standard library."""
_PYTHON = re.compile(rf"(?:[A-Za-z0-9._+-]+/)*bin/python{re.escape(PYTHON)}")
"""Pattern of the path of an interpreter, which is written into ``pyvenv.cfg``."""
_GLIBC = re.compile(rb"GNU C Library [^\n\0]{0,200}? version (\d{1,3})\.(\d{1,3})")


@dataclass(slots=True)
class BaseFile:
    """File of a base image."""

    kind: Literal["file", "link", "folder"]
    mode: int
    owner: int
    group: int
    link: str = ""
    """Target of a symbolic link, or of a hard link to a file that does not exist."""
    content: bytes | None = field(default=None, repr=False)
    """Content of a file that the builder needs; ``None`` for the others."""


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """Files of a base image after all its layers."""

    files: dict[str, BaseFile]

    @property
    def folders(self) -> frozenset[str]:
        """Paths of the folders."""
        return frozenset(path for path, file in self.files.items() if file.kind == "folder")

    def text(self, path: str) -> str:
        """Return the text of a file, or an empty text if it does not exist."""
        file = self.files.get(path)
        return (file.content or b"").decode("utf-8", "replace") if file else ""

    def python(self) -> str:
        """Return the path of the Python interpreter; raise `ImageError` if there is none.

        If there are several, one in ``usr/local/bin`` comes first, and one in ``usr/bin`` second.
        """
        found = [
            path
            for path, file in self.files.items()
            if _PYTHON.fullmatch(path) and file.kind != "folder"
        ]
        if found:
            order = {"usr/local/bin": 0, "usr/bin": 1}
            return min(found, key=lambda path: (order.get(posixpath.dirname(path), 2), path))
        raise ImageError(
            f"the base image has no python{PYTHON}; the packages are locked for this version. "
            f"Choose another base, for example python:{PYTHON}-slim"
        )

    def standard_library(self, python: str) -> dict[str, bytes]:
        """Return the modules without bytecode of the library of an interpreter, by their path."""
        folder = f"{posixpath.dirname(posixpath.dirname(python))}/lib/python{PYTHON}/"
        return {
            path: file.content
            for path, file in sorted(self.files.items())
            if path.startswith(folder)
            and file.content is not None
            and path.endswith(".py")
            and bytecode_path(path) not in self.files
        }

    def glibc(self) -> tuple[int, int]:
        """Return the version of glibc; raise `ImageError` if the base has none."""
        for path, file in sorted(self.files.items()):
            is_libc = path.endswith("libc.so.6") and file.content is not None
            if is_libc and (match := _GLIBC.search(file.content or b"")):
                return int(match[1]), int(match[2])
        raise ImageError(
            "the base image has no glibc, for which the packages are compiled. "
            f"Choose another base, for example python:{PYTHON}-slim"
        )

    def with_setuid(self) -> dict[str, BaseFile]:
        """Return the files with a setuid or setgid bit, by their path."""
        return {
            path: file
            for path, file in sorted(self.files.items())
            if file.kind == "file" and file.mode & SETUID and file.content is not None
        }


def bytecode_path(path: str) -> str:
    """Return the path of the bytecode of a module."""
    folder, name = posixpath.split(path)
    stem = name.removesuffix(".py")
    return f"{folder}/__pycache__/{stem}.cpython-{PYTHON.replace('.', '')}.pyc"


def read_base_layers(
    layers: Sequence[Path], check_cancelled: Callable[[], None] = lambda: None
) -> BaseFiles:
    """Return the files of a base image; raise `ImageError` if a layer is damaged.

    Args:
        layers: Files of the layers, lowest first.
        check_cancelled: Function that is called often, and raises an exception to stop.
    """
    files = dict[str, BaseFile]()
    for path in layers:
        try:
            files = _with_layer(files, path, check_cancelled)
        except InvalidImageError as exc:
            raise ImageError(f"the base image cannot be used: {exc}") from exc
    return BaseFiles(files)


def _with_layer(
    lower: dict[str, BaseFile], path: Path, check_cancelled: Callable[[], None]
) -> dict[str, BaseFile]:
    """Return files after a layer has replaced and deleted some of them."""
    upper, deleted = dict[str, BaseFile](), set[str]()
    with open_layer(path) as archive:
        for entry in archive:
            check_cancelled()
            name, whiteout = image_path(entry.name), deleted_path(entry.name)
            if whiteout is not None:
                deleted.add(whiteout)
            elif name and (file := _file(archive, entry, ChainMap(upper, lower))):
                if file.kind != "folder":
                    deleted.add(name)
                upper[name] = file
    kept = {name: file for name, file in lower.items() if deleted.isdisjoint(_with_folders(name))}
    return kept | upper


def _file(
    archive: tarfile.TarFile, entry: tarfile.TarInfo, known: Mapping[str, BaseFile]
) -> BaseFile | None:
    mode, owner, group = entry.mode & 0o7777, entry.uid, entry.gid
    if entry.isdir():
        return BaseFile("folder", mode, owner, group)
    if entry.islnk():  # the same file under another name, with its setuid bit
        found = known.get(image_path(entry.linkname))
        return found or BaseFile("link", mode, owner, group, link=entry.linkname)
    if entry.issym():
        return BaseFile("link", mode, owner, group, link=entry.linkname)
    if not entry.isreg():
        return None
    kept = archive.extractfile(entry) if _is_kept(image_path(entry.name), mode) else None
    return BaseFile("file", mode, owner, group, content=kept.read() if kept else None)


def _with_folders(path: str) -> Iterator[str]:
    """Yield a path and the folders that it is in; the last one is the root, an empty path."""
    yield path
    while path:
        path = posixpath.dirname(path)
        yield path


def _is_kept(path: str, mode: int) -> bool:
    if mode & SETUID or _KEPT.fullmatch(path):
        return True
    match = _LIBRARY.fullmatch(path)
    return match is not None and needs_bytecode(match[2])

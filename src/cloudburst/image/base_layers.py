"""Reading of the layers of a base image: where its Python is, its users, libc and packages.

The layers come from a registry, so sizes and numbers are limited, and every path is only compared,
never opened. Every function blocks.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloudburst.errors import ImageError
from cloudburst.image.locked_packages import PYTHON
from cloudburst.image.trim import needs_bytecode
from cloudburst.registry import InvalidImageError
from cloudburst.registry.layer_entries import OPAQUE, WHITEOUT, damage_reported, layer_entries
from cloudburst.registry.layer_reader import READ_BYTES, LayerReader
from cloudburst.text import printable_line

MAX_ENTRIES = 200_000
"""Maximum number of files in the layers. ``python:3.13`` with all compilers has 30,000."""
MAX_UNPACKED_BYTES = 8 * 1024**3
"""Maximum size of all layers after decompression, in bytes."""
MAX_KEPT_FILE_BYTES = 16 * 1024**2
"""Maximum size of a file that is read. libc has 2 MB, and ``/var/lib/dpkg/status`` 1 MB."""
MAX_KEPT_BYTES = 128 * 1024**2
"""Maximum size of all files that are read. The modules of Python and libc have 20 MB."""
MAX_NAMES_LENGTH = 64 * 1024**2
"""Maximum number of characters of all paths and targets of links, each with all its folders. A
Debian with Python has 3 million."""
MAX_ID = 2**32 - 2
"""Largest number of a user or group that Linux allows."""
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
    """Return the files of a base image; raise `ImageError` if a layer is damaged or too large.

    Args:
        layers: Files of the layers, lowest first.
        check_cancelled: Function that is called often, and raises an exception to stop.
    """
    reader = _Reader(check_cancelled)
    for path in layers:
        try:
            reader.read(path)
        except InvalidImageError as exc:
            raise ImageError(f"the base image cannot be used: {exc}") from exc
    return BaseFiles(reader.files)


class _Reader:
    """Reader of layers, of which later ones replace and delete files of earlier ones."""

    def __init__(self, check_cancelled: Callable[[], None]) -> None:
        self.files: dict[str, BaseFile] = {}
        self._names: dict[str, set[str]] = {}
        """Names in each folder, also of folders without an entry of their own."""
        self._check_cancelled = check_cancelled
        self._entries = 0
        self._names_left = MAX_NAMES_LENGTH
        self._left = MAX_UNPACKED_BYTES
        self._kept = 0

    def read(self, path: Path) -> None:
        layer = dict[str, BaseFile]()
        with damage_reported(path.name), path.open("rb") as file:
            reader = LayerReader(file, self._left, self._check_cancelled)
            for entry in layer_entries(reader):
                self._check_cancelled()
                self._entries += 1
                if self._entries > MAX_ENTRIES:
                    raise ImageError(f"the base image has more than {MAX_ENTRIES:,} files")
                self._add(reader, entry, layer)
            self._left -= reader.tell()
        for name, found in layer.items():
            self.files[name] = found
            self._record(name)

    def _add(self, reader: LayerReader, entry: tarfile.TarInfo, layer: dict[str, BaseFile]) -> None:
        path = _normal(entry.name)
        self._count(path, entry.linkname)
        folder, name = posixpath.split(path)
        if name == OPAQUE:
            self._remove_below(folder)
        elif name.startswith(WHITEOUT):
            self._remove(posixpath.join(folder, name.removeprefix(WHITEOUT)))
        elif path and (file := self._file(reader, entry, path, layer)):
            previous = self.files.get(path)
            if previous and previous.kind == "folder" and file.kind != "folder":
                self._remove_below(path)
            layer[path] = file

    def _record(self, path: str) -> None:
        """Record the names of a path in its folders."""
        while path:
            folder, _, name = path.rpartition("/")
            names = self._names.setdefault(folder, set[str]())
            if name in names:
                return
            self._count(path)
            names.add(name)
            path = folder

    def _count(self, *names: str) -> None:
        """Count names, which stay in memory."""
        self._names_left -= sum(map(len, names))
        if self._names_left < 0:
            raise ImageError("the paths of the files in the base image are too long")

    def _remove(self, path: str) -> None:
        folder, name = posixpath.split(path)
        self._names.get(folder, set[str]()).discard(name)
        self.files.pop(path, None)
        self._remove_below(path)

    def _remove_below(self, folder: str) -> None:
        folders = [folder]
        while folders:
            folder = folders.pop()
            for name in self._names.pop(folder, set[str]()):
                path = posixpath.join(folder, name)
                self.files.pop(path, None)
                folders.append(path)

    def _file(
        self, reader: LayerReader, entry: tarfile.TarInfo, path: str, layer: dict[str, BaseFile]
    ) -> BaseFile | None:
        mode, owner, group = entry.mode & 0o7777, entry.uid, entry.gid
        if not (0 <= owner <= MAX_ID and 0 <= group <= MAX_ID):
            raise ImageError(f"{printable_line(path)} in the base image has no valid owner")
        if entry.isdir():
            return BaseFile("folder", mode, owner, group)
        if entry.islnk():  # the same file under another name, with its setuid bit
            target = _normal(entry.linkname)
            found = layer.get(target) or self.files.get(target)
            return found or BaseFile("link", mode, owner, group, link=entry.linkname)
        if entry.issym():
            return BaseFile("link", mode, owner, group, link=entry.linkname)
        if entry.sparse is not None or not entry.isreg():
            return None
        content = self._content(reader, entry) if _is_kept(path, mode) else None
        return BaseFile("file", mode, owner, group, content=content)

    def _content(self, reader: LayerReader, entry: tarfile.TarInfo) -> bytes:
        self._kept += entry.size
        if entry.size > MAX_KEPT_FILE_BYTES or self._kept > MAX_KEPT_BYTES:
            raise ImageError(f"{printable_line(entry.name)} in the base image is too large")
        content, left = bytearray(), entry.size
        while left > 0 and (block := reader.read_some(min(left, READ_BYTES))):
            content += block
            left -= len(block)
        if left:
            raise InvalidImageError("a layer ends in the middle of a file")
        return bytes(content)


def _normal(name: str) -> str:
    """Return the path of an entry in the image, without a slash at the beginning."""
    return posixpath.normpath("/" + name).lstrip("/")


def _is_kept(path: str, mode: int) -> bool:
    if mode & SETUID or _KEPT.fullmatch(path):
        return True
    match = _LIBRARY.fullmatch(path)
    return match is not None and needs_bytecode(match[2])

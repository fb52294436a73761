"""Reading of the layers of a base image: where its Python is, its users, libc and packages.

The layers come from a registry, so sizes and numbers are limited, and every path is only compared,
never opened. Every function blocks.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, cast

from cloudburst.errors import ImageError
from cloudburst.image.compression import zstd
from cloudburst.image.lock import PYTHON
from cloudburst.image.trim import needs_bytecode

MAX_ENTRIES = 200_000
"""Maximum number of files in the layers. ``python:3.13`` with all compilers has 30,000."""
MAX_UNPACKED_BYTES = 8 * 1024**3
"""Maximum size of all layers after decompression, in bytes."""
MAX_KEPT_FILE_BYTES = 16 * 1024**2
"""Maximum size of a file that is read. libc has 2 MB, and ``/var/lib/dpkg/status`` 1 MB."""
MAX_KEPT_BYTES = 256 * 1024**2
"""Maximum size of all files that are read."""
SETUID = 0o6000
_WHITEOUT = ".wh."
_KEPT = re.compile(
    r"etc/(?:passwd|group|os-release)|usr/lib/os-release"
    r"|var/lib/dpkg/(?:status|status\.d/[^/]+)|(?:.+/)?libc\.so\.6"
)
_LIBRARY = re.compile(rf"((?:[^/]+/)*lib/python{re.escape(PYTHON)})/(.+)")
"""Pattern of the files of the standard library."""
_PYTHON = re.compile(rf"(?:[^/]+/)*bin/python{re.escape(PYTHON)}")
_GLIBC = re.compile(rb"GNU C Library [^\n\0]{0,200}? version (\d{1,3})\.(\d{1,3})")
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError, ValueError)


@dataclass(slots=True)
class BaseFile:
    """File of a base image."""

    kind: Literal["file", "link", "folder"]
    mode: int
    owner: int
    group: int
    link: str = ""
    """Target of a symbolic link; of a hard link, the other path as in the layer."""
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
            with _decompressed(path) as stream:
                reader.read(stream)
        except _DAMAGED as exc:
            raise ImageError(f"the layer {path.name} of the base image is damaged: {exc}") from exc
    return BaseFiles(reader.files)


class _Reader:
    """Reader of layers, of which later ones replace and delete files of earlier ones."""

    def __init__(self, check_cancelled: Callable[[], None]) -> None:
        self.files: dict[str, BaseFile] = {}
        self._check_cancelled = check_cancelled
        self._entries = 0
        self._unpacked = 0
        self._kept = 0

    def read(self, stream: IO[bytes]) -> None:
        layer = dict[str, BaseFile]()
        with tarfile.open(fileobj=_Limited(stream, self._count), mode="r|") as tar:
            for member in tar:
                self._check_cancelled()
                self._entries += 1
                if self._entries > MAX_ENTRIES:
                    raise ImageError(f"the base image has more than {MAX_ENTRIES:,} files")
                self._add(tar, member, layer)
        self.files.update(layer)

    def _add(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, layer: dict[str, BaseFile]
    ) -> None:
        path = posixpath.normpath("/" + member.name).lstrip("/")
        folder, name = posixpath.split(path)
        if name.startswith(_WHITEOUT):
            self._delete(folder, name)
        elif path and (file := self._file(tar, member, path)):
            previous = self.files.get(path)
            if previous and previous.kind == "folder" and file.kind != "folder":
                self._remove_below(path)
            layer[path] = file

    def _delete(self, folder: str, name: str) -> None:
        if name == ".wh..wh..opq":
            self._remove_below(folder)
            return
        path = posixpath.join(folder, name.removeprefix(_WHITEOUT))
        self.files.pop(path, None)
        self._remove_below(path)

    def _remove_below(self, folder: str) -> None:
        for path in [path for path in self.files if path.startswith(f"{folder}/")]:
            del self.files[path]

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> BaseFile | None:
        mode, owner, group = member.mode & 0o7777, member.uid, member.gid
        if member.isdir():
            return BaseFile("folder", mode, owner, group)
        if member.issym() or member.islnk():
            return BaseFile("link", mode, owner, group, link=member.linkname)
        if not member.isfile():
            return None
        content = self._content(tar, member) if _is_kept(path, mode) else None
        return BaseFile("file", mode, owner, group, content=content)

    def _content(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        self._kept += member.size
        if member.size > MAX_KEPT_FILE_BYTES or self._kept > MAX_KEPT_BYTES:
            raise ImageError(f"{member.name} in the base image is too large")
        file = tar.extractfile(member)
        return file.read() if file else b""

    def _count(self, number: int) -> None:
        self._check_cancelled()
        self._unpacked += number
        if self._unpacked > MAX_UNPACKED_BYTES:
            raise ImageError(f"the base image has more than {MAX_UNPACKED_BYTES // 1024**3} GiB")


def _is_kept(path: str, mode: int) -> bool:
    if mode & SETUID or _KEPT.fullmatch(path):
        return True
    match = _LIBRARY.fullmatch(path)
    return match is not None and needs_bytecode(match[2])


class _Limited(io.RawIOBase):
    """File that reports the number of bytes of each read."""

    def __init__(self, stream: IO[bytes], count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count_bytes = count

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._count_bytes(len(data))
        return data


@contextmanager
def _decompressed(path: Path) -> Generator[IO[bytes]]:
    """Open a layer, which is a tar file without compression, or with gzip or zstd."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=file) as stream:
                yield cast("IO[bytes]", stream)
        elif start == b"\x28\xb5\x2f\xfd":
            with zstd.ZstdFile(file) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield file

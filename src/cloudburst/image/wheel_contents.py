"""Files of a wheel as entries of a layer. Every function blocks."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from cloudburst.errors import ImageError
from cloudburst.image.entries import Entry
from cloudburst.image.trim import is_unused
from cloudburst.image.wheel_download import wheel_name

MAX_FILES = 20_000
MAX_FILE_BYTES = 300 * 1024**2
MAX_UNPACKED_BYTES = 2 * 1024**3
_INSTALLED = ("purelib", "platlib")
"""Folders in ``NAME.data`` whose contents belong into ``site-packages``. The others have programs
and headers, which the service does not use."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
"""Exceptions of `zipfile` for files that it cannot read. Two are of wide classes: ``RuntimeError``
for encrypted files, and ``NotImplementedError`` for methods of compression that it lacks."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """Contents of a wheel."""

    name: str
    version: str
    licence: str
    """SPDX expression or other description of the licence; may be empty."""
    entries: tuple[Entry, ...]
    packed_size: int
    """Size of its entries in the wheel, in bytes."""


def read_wheel(path: Path, site_packages: str) -> Wheel:
    """Return the contents of a wheel without what the image leaves out.

    Raises:
        ImageError: the file is damaged, too large, or has a path outside the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_size(path, members)
            metadata = _metadata(path, archive)
    except _DAMAGED as exc:
        raise ImageError(f"{path.name} is damaged: {exc}") from exc
    entries = [
        Entry(
            path=f"{site_packages}/{target}",
            read=_reader(path, member.filename),
            mode=0o755 if (member.external_attr >> 16) & stat.S_IXUSR else 0o644,
            packed_size=member.compress_size,
        )
        for member in members
        if (target := _target(path, member.filename)) and not is_unused(target)
    ]
    return Wheel(
        name=wheel_name(path),
        version=metadata["Version"],
        licence=_licence(metadata),
        entries=tuple(entries),
        packed_size=sum(entry.packed_size for entry in entries),
    )


def _check_size(path: Path, members: list[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)
    largest = max((member.file_size for member in members), default=0)
    if len(members) > MAX_FILES or total > MAX_UNPACKED_BYTES or largest > MAX_FILE_BYTES:
        raise ImageError(f"{path.name} is too large: {len(members)} files, {total:,} bytes")


def _target(wheel: Path, name: str) -> str | None:
    """Return the path of a file below ``site-packages``, or ``None`` if it is not installed."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise ImageError(f"{wheel.name} has a file outside its folder: {name!r:.100}")
    if pure.parts and pure.parts[0].endswith(".data"):
        if len(pure.parts) < 3 or pure.parts[1] not in _INSTALLED:
            return None
        return str(PurePosixPath(*pure.parts[2:]))
    return str(pure)


def _reader(path: Path, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(name) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except _DAMAGED as exc:
            raise ImageError(f"{path.name} is damaged: {name}: {exc}") from exc
        if len(data) > MAX_FILE_BYTES:
            raise ImageError(f"{path.name} is too large: {name}")
        return data

    return read


def _metadata(path: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    names = [
        name
        for name in archive.namelist()
        if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
    ]
    if len(names) != 1:
        raise ImageError(f"{path.name} has {len(names)} files METADATA, not one")
    parsed = HeaderParser().parsestr(archive.read(names[0]).decode("utf-8", "replace"))
    fields = ("Version", "License-Expression", "License")
    return {field: str(parsed.get(field, "")) for field in fields}


def _licence(metadata: dict[str, str]) -> str:
    old = metadata["License"]
    return metadata["License-Expression"] or (old if len(old) < 60 and "\n" not in old else "")

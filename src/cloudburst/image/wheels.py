"""Contents of wheels, and how they are distributed to layers. Every function blocks."""

from __future__ import annotations

import math
import re
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from cloudburst.errors import ImageError
from cloudburst.image.entries import PREFIX, Entry
from cloudburst.image.options import PYTHON
from cloudburst.image.trim import is_unused

SITE_PACKAGES = f"{PREFIX}/lib/python{PYTHON}/site-packages"
# Compressed size up to which a wheel is one layer. Layers are downloaded at the same time, so they
# should be of similar size: PyAV is divided into two, and the font, of 13 MB, is another one.
LAYER_BYTES = 18_000_000
# Compressed size up to which a wheel shares a layer with others.
SMALL_WHEEL_BYTES = 8_000_000
# Folders in ``NAME.data`` whose contents belong into ``site-packages``. The others have programs
# and headers, which the service does not use.
_INSTALLED = ("purelib", "platlib")


@dataclass(frozen=True, slots=True)
class WheelFile:
    """File of a wheel that is installed in the image."""

    wheel: Path
    name: str
    """Path in the wheel."""
    path: str
    """Path in ``site-packages``."""
    mode: int
    size: int
    """Compressed size in bytes."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """Wheel without what the image leaves out."""

    name: str
    """Name of the package in lower case with hyphens."""
    files: tuple[WheelFile, ...]

    @property
    def size(self) -> int:
        """Compressed size of its files in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class LayerPart:
    """Contents of a layer that consists of wheels or of a part of one."""

    name: str
    files: tuple[WheelFile, ...]


def read_wheel(path: Path) -> Wheel:
    """Return the files of a wheel, with the modes of pip: 755 for programs and 644 for others."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile as exc:
        raise ImageError(f"{path} is damaged: delete the folder {path.parent}: {exc}") from exc
    files = list[WheelFile]()
    for info in infos:
        target = "" if info.is_dir() else _target(PurePosixPath(info.filename))
        if target and not is_unused(target):
            mode = 0o755 if (info.external_attr >> 16) & stat.S_IXUSR else 0o644
            files.append(WheelFile(path, info.filename, target, mode, info.compress_size))
    name = re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower()
    return Wheel(name, tuple(files))


def _target(name: PurePosixPath) -> str:
    """Return the path of a file in ``site-packages``; empty if it is not installed."""
    if not name.parts[0].endswith(".data"):
        return str(name)
    return str(PurePosixPath(*name.parts[2:])) if name.parts[1] in _INSTALLED else ""


def read_entries(files: Sequence[WheelFile]) -> Iterator[Entry]:
    """Yield files of wheels with their contents."""
    for path, group in groupby(files, key=lambda file: file.wheel):
        with zipfile.ZipFile(path) as archive:
            for file in group:
                data = archive.read(file.name)
                yield Entry(path=f"{SITE_PACKAGES}/{file.path}", data=data, mode=file.mode)


def distribute(wheels: Sequence[Wheel]) -> tuple[LayerPart, ...]:
    """Return the contents of layers of similar size; a new wheel changes only its own layers."""
    parts = list[LayerPart]()
    for wheel in sorted(wheels, key=lambda wheel: (-wheel.size, wheel.name)):
        if wheel.size > SMALL_WHEEL_BYTES:
            number = math.ceil(wheel.size / LAYER_BYTES)
            for place, files in enumerate(_split(wheel.files, number), 1):
                name = wheel.name if number == 1 else f"{wheel.name} {place}/{number}"
                parts.append(LayerPart(name, files))
    small = [file for one in wheels if one.size <= SMALL_WHEEL_BYTES for file in one.files]
    return (*parts, LayerPart("packages", tuple(small))) if small else tuple(parts)


def _split(files: Sequence[WheelFile], number: int) -> Iterator[tuple[WheelFile, ...]]:
    """Yield the files in groups of similar size, in the same way for each call."""
    groups: list[list[WheelFile]] = [[] for _ in range(number)]
    for file in sorted(files, key=lambda file: (-file.size, file.path)):
        min(groups, key=lambda group: sum(one.size for one in group)).append(file)
    return map(tuple, groups)

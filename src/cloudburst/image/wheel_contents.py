"""Files of a wheel as entries of a layer. Every function blocks."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from cloudburst.errors import ImageError
from cloudburst.image.entries import Entry
from cloudburst.image.trim import is_unused
from cloudburst.image.wheel_archive import WheelMember, only_member, wheel_members
from cloudburst.image.wheel_download import wheel_name

_INSTALLED = ("purelib", "platlib")
"""Folders in ``NAME.data`` whose contents belong into ``site-packages``. The others have programs
and headers, which the service does not use."""


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

    Modes are those of pip: 755 for programs and 644 for other files, so setuid bits do not count.

    Raises:
        ImageError: the wheel cannot be used; see `wheel_members`.
    """
    members = wheel_members(path)
    metadata = _metadata(only_member(path, members, "METADATA"))
    entries = dict[str, Entry]()
    for member in members:
        target = _target(member.name)
        if target is None or is_unused(target):
            continue
        if target in entries:
            raise ImageError(f"{path.name} has two files for {target}")
        entries[target] = Entry(
            path=f"{site_packages}/{target}",
            read=member.read,
            mode=0o755 if (member.info.external_attr >> 16) & stat.S_IXUSR else 0o644,
            packed_size=member.info.compress_size,
        )
    return Wheel(
        name=wheel_name(path),
        version=metadata["Version"],
        licence=_licence(metadata),
        entries=tuple(entries.values()),
        packed_size=sum(entry.packed_size for entry in entries.values()),
    )


def read_wheels(paths: Sequence[Path], site_packages: str) -> tuple[Wheel, ...]:
    """Return the contents of wheels; raise `ImageError` if two of them have the same file."""
    wheels = tuple(read_wheel(path, site_packages) for path in paths)
    owners = dict[str, str]()
    for wheel in wheels:
        for entry in wheel.entries:
            other = owners.setdefault(entry.path, wheel.name)
            if other != wheel.name:
                raise ImageError(f"the packages {other} and {wheel.name} both have {entry.path}")
    return wheels


def _target(name: str) -> str | None:
    """Return the path of a file below ``site-packages``, or ``None`` if it is not installed."""
    pure = PurePosixPath(name)
    if pure.parts[0].endswith(".data"):
        if len(pure.parts) < 3 or pure.parts[1] not in _INSTALLED:
            return None
        return str(PurePosixPath(*pure.parts[2:]))
    return str(pure)


def _metadata(member: WheelMember) -> dict[str, str]:
    parsed = HeaderParser().parsestr(member.read().decode("utf-8", "replace"))
    fields = ("Version", "License-Expression", "License")
    return {field: str(parsed.get(field, "")) for field in fields}


def _licence(metadata: dict[str, str]) -> str:
    old = metadata["License"]
    return metadata["License-Expression"] or (old if len(old) < 60 and "\n" not in old else "")

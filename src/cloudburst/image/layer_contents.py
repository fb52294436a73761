"""Contents of the layers above the base image, and how wheels are distributed to layers."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cloudburst.image.base_image import BaseFacts, BaseImage
from cloudburst.image.base_layers import SETUID, BaseFiles
from cloudburst.image.entries import Entry, bytes_entry, split_evenly, text_entry
from cloudburst.image.locked_packages import PYTHON
from cloudburst.image.manifests import PREFIX, USER_ID, USER_NAME
from cloudburst.image.wheel_contents import Wheel

SITE_PACKAGES = f"{PREFIX}/lib/python{PYTHON}/site-packages"
LAYER_BYTES = 18_000_000
"""Compressed size up to which a wheel is one layer. Layers are downloaded at the same time, so they
should be of similar size: PyAV is divided into two, and the font, of 13 MB, is another one."""
SMALL_WHEEL_BYTES = 8_000_000
"""Compressed size up to which a wheel shares a layer with others."""


@dataclass(frozen=True, slots=True)
class Part:
    """Contents of a layer that consists of wheels or of a part of one."""

    name: str
    wheels: tuple[str, ...]
    """Names of the packages."""
    number: int
    """Number of this part of the wheel, from 0 on."""
    parts: int
    """Number of parts into which the wheel is divided."""
    entries: tuple[Entry, ...]


def distribute(wheels: Sequence[Wheel]) -> tuple[Part, ...]:
    """Return the contents of the layers of wheels, so that layers have similar sizes.

    A new version of one wheel changes only the layers that contain it.
    """
    parts = list[Part]()
    large = [wheel for wheel in wheels if wheel.packed_size > SMALL_WHEEL_BYTES]
    small = [wheel for wheel in wheels if wheel.packed_size <= SMALL_WHEEL_BYTES]
    for wheel in sorted(large, key=lambda wheel: (-wheel.packed_size, wheel.name)):
        number = math.ceil(wheel.packed_size / LAYER_BYTES)
        for place, entries in enumerate(split_evenly(wheel.entries, number)):
            name = wheel.name if number == 1 else f"{wheel.name} {place + 1}/{number}"
            parts.append(Part(name, (wheel.name,), place, number, entries))
    names = tuple(wheel.name for wheel in small)
    entries = tuple(entry for wheel in small for entry in wheel.entries)
    return (*parts, Part("packages", names, 0, 1, entries)) if entries else tuple(parts)


def runtime_entries(base: BaseImage, files: BaseFiles) -> tuple[Entry, ...]:
    """Return the environment and the user of the service, and the base's setuid files without it.

    The service starts no program that changes its user, so none may be able to.
    """
    facts = base.facts
    folder = f"/{posixpath.dirname(facts.python)}"
    settings = f"home = {folder}\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    links = {"python": f"/{facts.python}", "python3": "python", f"python{PYTHON}": "python"}
    tmp = () if facts.has_tmp else (Entry(path="tmp", mode=0o1777, is_folder=True),)
    ours = (
        text_entry(f"{PREFIX}/pyvenv.cfg", settings),
        *(Entry(path=f"{PREFIX}/bin/{name}", link=target) for name, target in links.items()),
        *_users(facts),
        *tmp,
    )
    replaced = {entry.path for entry in ours}
    without = [
        Entry(
            path=path,
            read=partial(bytes, file.content or b""),
            mode=file.mode & ~SETUID,
            owner=file.owner,
            group=file.group,
        )
        for path, file in files.with_setuid().items()
        if path not in replaced
    ]
    return (*ours, *without)


def _users(facts: BaseFacts) -> tuple[Entry, Entry]:
    """Return the base's files of users and groups with the user of the service."""
    user = f"{USER_NAME}:x:{USER_ID}:{USER_ID}::/tmp:/usr/sbin/nologin"
    group = f"{USER_NAME}:x:{USER_ID}:"
    return (
        text_entry("etc/passwd", _with_line(facts.passwd, user)),
        text_entry("etc/group", _with_line(facts.group, group)),
    )


def _with_line(text: str, line: str) -> str:
    """Return the text of a file of users with a line in place of one for the same name."""
    name = line.partition(":")[0]
    kept = [one for one in text.splitlines() if one.partition(":")[0] != name]
    return "\n".join([*kept, line, ""])


def standard_library(base: BaseImage, files: BaseFiles) -> list[Entry]:
    """Return the modules of the base's standard library that have no bytecode."""
    modules = files.standard_library(base.facts.python)
    return [bytes_entry(path, data) for path, data in modules.items()]

"""Contents of the layers above the base image."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from cloudburst.image.base_image import SETUID, BaseFiles, BaseImage, read_base
from cloudburst.image.entries import PREFIX, Entry, text_entry
from cloudburst.image.manifests import USER_ID, USER_NAME
from cloudburst.image.options import PYTHON
from cloudburst.image.own_package import own_entries
from cloudburst.image.wheels import SITE_PACKAGES, Part, read_entries

OWN_LAYER, RUNTIME_LAYER = "our package", "python and user"
Contents: TypeAlias = tuple[Sequence[Entry], Sequence[Entry]]
"""Entries of a layer, and modules whose bytecode is added to them."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Inputs of a layer, by which the cache finds it, and a function that returns its contents."""

    name: str
    inputs: tuple[object, ...]
    contents: Callable[[], Contents]
    """Blocking function."""


def runtime_layer(base: BaseImage) -> Recipe:
    """Return the layer of the environment and the user of the service, on a base image."""

    def contents() -> Contents:
        files = read_base(base)
        files.require_glibc()
        return runtime_entries(files), files.standard_library()

    return Recipe(RUNTIME_LAYER, (base.pulled.manifest_descriptor.digest,), contents)


def part_layer(part: Part) -> Recipe:
    """Return the layer of wheels or of a part of one."""

    def contents() -> Contents:
        entries = tuple(read_entries(part.files))
        return entries, _modules(entries)

    folder = part.files[0].wheel.parent  # its name is the hash of the lock file
    return Recipe(part.name, (folder.name,), contents)


def own_layer(kernels: Sequence[Path]) -> Recipe:
    """Return the layer of this package; blocks."""
    entries = own_entries(SITE_PACKAGES, kernels)
    found = [(one.path, one.mode, hashlib.sha256(one.data).hexdigest()) for one in entries]
    return Recipe(OWN_LAYER, (found,), lambda: (entries, _modules(entries)))


def _modules(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.path.endswith(".py")]


def runtime_entries(files: BaseFiles) -> tuple[Entry, ...]:
    """Return the environment and the user of the service, and the base's setuid files without it.

    The service starts no program that changes its user, so none may be able to.
    """
    python = files.python()
    folder = f"/{posixpath.dirname(python)}"
    settings = f"home = {folder}\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    links = {"python": f"/{python}", "python3": "python", f"python{PYTHON}": "python"}
    user = f"{USER_NAME}:x:{USER_ID}:{USER_ID}::/tmp:/usr/sbin/nologin"
    group = f"{USER_NAME}:x:{USER_ID}:"
    return (
        text_entry(f"{PREFIX}/pyvenv.cfg", settings),
        *(Entry(path=f"{PREFIX}/bin/{name}", link=target) for name, target in links.items()),
        text_entry("etc/passwd", "\n".join([*files.lines("etc/passwd"), user, ""])),
        text_entry("etc/group", "\n".join([*files.lines("etc/group"), group, ""])),
        Entry(path="tmp", mode=0o1777, is_folder=True),
        *(replace(one, mode=one.mode & ~SETUID) for one in files.with_setuid()),
    )

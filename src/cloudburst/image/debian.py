"""Packages of Debian in a base image, for the bill of materials."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudburst.image.base_layers import BaseFiles

MAX_PACKAGES = 10_000
"""Maximum number of packages that are listed. A desktop has 3,000."""
_FIELD = re.compile(r"^(Package|Status|Architecture|Version): (.{1,300})$", re.MULTILINE)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]{1,200}")


@dataclass(frozen=True, slots=True)
class SystemPackage:
    """Package of the distribution in the base image."""

    name: str
    version: str
    architecture: str


def system_packages(files: BaseFiles) -> tuple[SystemPackage, ...]:
    """Return the installed packages by their name; none for other distributions than Debian's.

    ``status.d`` has a file for each package in images without the program ``dpkg``.
    """
    paths = sorted(path for path in files.files if path.startswith("var/lib/dpkg/status"))
    stanzas = [stanza for path in paths for stanza in files.text(path).split("\n\n")]
    found = filter(None, map(_package, stanzas))
    return tuple(sorted(set(found), key=lambda one: (one.name, one.architecture))[:MAX_PACKAGES])


def _package(stanza: str) -> SystemPackage | None:
    fields = dict(_FIELD.findall(stanza))
    name, version = fields.get("Package", ""), fields.get("Version", "")
    installed = fields.get("Status", "install ok installed").endswith(" installed")
    if not (installed and _NAME.fullmatch(name) and _VERSION.fullmatch(version)):
        return None
    architecture = fields.get("Architecture", "")
    return SystemPackage(name, version, architecture if _NAME.fullmatch(architecture) else "all")


def distribution(os_release: str) -> str:
    """Return name and version of the distribution, such as ``debian-13``, or an empty text."""
    found = dict(re.findall(r'^(ID|VERSION_ID)="?([a-z0-9._-]{1,40})"?$', os_release, re.MULTILINE))
    return "-".join(found[key] for key in ("ID", "VERSION_ID") if key in found)

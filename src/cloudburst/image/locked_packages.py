"""The lock file of the image: names, versions and hashes of its packages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cloudburst.errors import ConfigurationError
from cloudburst.safe_files import read_regular_file

LOCK_FILE = Path(__file__).with_name("requirements.lock")
"""Lock file that ``nox -s lock`` writes. It is a requirements file of pip."""
MAX_LOCK_BYTES = 4 * 1024**2
PYTHON = "3.13"
"""Python version for which the packages are locked. The base image must have it."""
_LINE = re.compile(r"([A-Za-z0-9._-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """Package of the lock file."""

    name: str
    """Normalized name, in lower case with hyphens."""
    version: str
    hashes: frozenset[str]
    """SHA-256 hashes of its files for all platforms, in hex digits."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Lock file and its packages."""

    path: Path
    packages: tuple[LockedPackage, ...]


def read_lock(path: Path = LOCK_FILE) -> Lock:
    """Return a lock file; raise `ConfigurationError` if it cannot be read; blocks."""
    try:
        text = read_regular_file(path, limit=MAX_LOCK_BYTES).decode()
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"the lock file of the image: {path}: {exc}") from exc
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    packages = [_package(path, line) for line in lines if line and not line.startswith("#")]
    return Lock(path, tuple(packages))


def _package(path: Path, line: str) -> LockedPackage:
    match = _LINE.fullmatch(line)
    if match is None:
        msg = f"{path}: {line[:100]!r} is not a name, a version and SHA-256 hashes"
        raise ConfigurationError(msg)
    hashes = frozenset(re.findall(r"sha256:([0-9a-f]{64})", match[3]))
    return LockedPackage(normalized(match[1]), match[2], hashes)


def normalized(name: str) -> str:
    """Return the name of a package in lower case with hyphens (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

"""Download of the wheels in the lock file, with pip, so that the user's package index counts.

pip is run as a module of the current Python, or by uv where the environment has no pip.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from anyio import to_thread

from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache
from cloudburst.image.locked_packages import PYTHON, Lock, LockedPackage, normalized
from cloudburst.image.options import Architecture
from cloudburst.image.pip_errors import explain_failure
from cloudburst.image.programs import run_program

MACHINES: dict[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64"}
"""Processors as wheels and Linux name them."""
OLDEST_GLIBC = 17
"""Minor version of glibc of the oldest wheels that are accepted: manylinux2014."""
MAX_WHEEL_BYTES = 500 * 1024**2
DOWNLOAD_TIMEOUT = 1800.0
"""Maximum time of a download in seconds: 60 MB take 8 minutes at 1 Mbit/s."""
_UV_TO_PIP = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "SSL_CERT_FILE": "PIP_CERT",
}
"""Environment variables of uv that name an index or certificates, and those of pip."""
_BLOCK = 1024**2
MAX_LOGGED = 10_000
"""Maximum number of characters of pip's output that are logged: the last ones."""
logger = logging.getLogger(__name__)


def pip_command(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command that starts pip; raise `ImageError` if there is neither pip nor uv."""
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    beside = str(Path(sys.executable).parent)  # the package uv installs its program there
    if uv := shutil.which("uv", path=os.pathsep.join([environ.get("PATH", ""), beside])):
        return (uv, "tool", "run", "--quiet", "pip")
    raise ImageError(
        "the packages of the image are downloaded with pip, but this environment has neither pip "
        "nor uv: run python -m ensurepip, or install uv"
    )


def platforms(architecture: Architecture, glibc: tuple[int, int]) -> list[str]:
    """Return the platform tags of wheels that run with a version of glibc, the newest first."""
    _, minor = glibc
    machine = MACHINES[architecture]
    tags = [f"manylinux_2_{number}_{machine}" for number in range(minor, OLDEST_GLIBC - 1, -1)]
    return [*tags, f"manylinux2014_{machine}"]


def download_arguments(
    lock: Path, architecture: Architecture, glibc: tuple[int, int], to: Path
) -> list[str]:
    """Return the arguments with which pip downloads the locked wheels and nothing else."""
    return [
        *("download", "--progress-bar", "off", "--no-input", "--no-deps", "--require-hashes"),
        *("--disable-pip-version-check", "--only-binary", ":all:"),
        *("--python-version", PYTHON, "--implementation", "cp"),
        *(f"--platform={platform}" for platform in platforms(architecture, glibc)),
        *("--dest", str(to), "--requirement", str(lock)),
    ]


async def fetch_wheels(
    lock: Lock,
    architecture: Architecture,
    glibc: tuple[int, int],
    cache: ImageCache,
) -> tuple[Path, ...]:
    """Return the wheels of the packages, in their order; download those that are missing.

    The files are named ``HASH/NAME.whl``, and their hashes are checked against the lock file.

    Raises:
        ImageError: a wheel cannot be downloaded, or has another hash.
    """
    packages = lock.packages
    key = _key(packages, architecture, glibc)
    known = await to_thread.run_sync(_known_wheels, cache, key, packages)
    if known is not None:
        return known
    with tempfile.TemporaryDirectory(dir=cache.folder, prefix="download-") as folder:
        arguments = download_arguments(lock.path, architecture, glibc, Path(folder))
        await _run_pip(arguments, architecture, cache.folder)
        found = await to_thread.run_sync(_checked, Path(folder), packages, architecture)
        return await to_thread.run_sync(_keep, cache, key, found)


def _key(
    packages: Sequence[LockedPackage], architecture: Architecture, glibc: tuple[int, int]
) -> str:
    parts = [architecture, str(glibc), *(f"{one.name}=={one.version}" for one in packages)]
    parts += [hash_ for one in packages for hash_ in sorted(one.hashes)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _known_wheels(
    cache: ImageCache, key: str, packages: Sequence[LockedPackage]
) -> tuple[Path, ...] | None:
    """Return the wheels that were downloaded before, or ``None`` if one is missing or damaged."""
    record = cache.read_record("wheel-lists", key)
    names = list(map(str, cast("list[object]", record))) if isinstance(record, list) else []
    if len(names) != len(packages):
        return None
    paths = tuple(cache.wheels / name for name in names)
    for path, package in zip(paths, packages, strict=True):
        digest = path.parent.name
        if digest not in package.hashes or not path.is_file() or file_hash(path) != digest:
            return None
        cache.mark_used(path)
    return paths


async def _run_pip(arguments: Sequence[str], architecture: Architecture, folder: Path) -> None:
    environ = dict(os.environ)
    command = pip_command(environ)
    if command[0] != sys.executable:
        for ours, theirs in _UV_TO_PIP.items():
            if ours in environ:
                environ.setdefault(theirs, environ[ours])
    done = await run_program([*command, *arguments], seconds=DOWNLOAD_TIMEOUT, environ=environ)
    if done.code:
        logger.debug("pip ended with exit code %d:\n%s", done.code, done.output[-MAX_LOGGED:])
        raise ImageError(
            f"the packages of the image for {architecture} cannot be downloaded: "
            f"{explain_failure(done.output, folder)}"
        )


def _checked(
    folder: Path, packages: Sequence[LockedPackage], architecture: Architecture
) -> list[tuple[str, Path]]:
    """Return hash and path of the wheel of each package."""
    wheels = {wheel_name(path): path for path in folder.glob("*.whl")}
    found = list[tuple[str, Path]]()
    for package in packages:
        path = wheels.get(package.name)
        if path is None:
            msg = f"{package.name} {package.version} has no wheel for {MACHINES[architecture]}"
            raise ImageError(msg)
        digest = file_hash(path)
        if digest not in package.hashes:
            msg = f"{path.name} does not have one of the hashes in the lock file: {digest}"
            raise ImageError(msg)
        found.append((digest, path))
    return found


def _keep(cache: ImageCache, key: str, found: Sequence[tuple[str, Path]]) -> tuple[Path, ...]:
    names = list[str]()
    for digest, path in found:
        target = cache.wheels / digest / path.name
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
        cache.mark_used(target)
        names.append(f"{digest}/{path.name}")
    cache.write_record("wheel-lists", key, names)
    return tuple(cache.wheels / name for name in names)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits; raise `ImageError` if it is too large."""
    found = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            size += len(block)
            if size > MAX_WHEEL_BYTES:
                raise ImageError(f"{path.name} is larger than {MAX_WHEEL_BYTES // 1024**2} MiB")
    return found.hexdigest()


def wheel_name(path: Path) -> str:
    """Return the normalized name of the package of a wheel."""
    return normalized(path.name.partition("-")[0])

"""Download of the wheels in the lock file, with pip, so that the user's package index counts.

pip is run as a module of the current Python, or by uv where the environment has no pip.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread

from cloudburst.concurrency import START_TIMEOUT
from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache, move
from cloudburst.image.options import MACHINES, PYTHON, Architecture
from cloudburst.text import printable_line

# Environment variables of uv that name an index or certificates, and those of pip.
_UV_TO_PIP = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "SSL_CERT_FILE": "PIP_CERT",
}
# Minor versions of glibc for which wheels are accepted, the newest first: from that for which the
# packages are locked, down to that of manylinux2014. Every base with our Python has a newer one.
GLIBC_MINORS = range(28, 16, -1)
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


def download_arguments(lock: Path, architecture: Architecture, to: Path) -> list[str]:
    """Return the arguments with which pip downloads the locked wheels and nothing else."""
    machine = MACHINES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS]
    return [
        *("download", "--progress-bar", "off", "--no-input", "--no-deps", "--require-hashes"),
        *("--disable-pip-version-check", "--only-binary", ":all:"),
        *("--python-version", PYTHON, "--implementation", "cp"),
        *(f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}")),
        *("--dest", str(to), "--requirement", str(lock)),
    ]


async def fetch_wheels(
    lock: Path, architecture: Architecture, cache: ImageCache
) -> tuple[Path, ...]:
    """Return the wheels of the packages, sorted by name; download them unless they are there.

    pip checks their hashes against the lock file.
    """
    locked = await anyio.Path(lock).read_bytes()
    key = hashlib.sha256(f"{architecture}\n".encode() + locked).hexdigest()
    folder = cache.folder / "wheels" / key
    if not folder.is_dir():
        with cache.temporary_folder() as temporary:
            target = temporary / key
            await _run_pip(download_arguments(lock, architecture, target), architecture)
            await to_thread.run_sync(move, target, folder)
    return tuple(sorted(folder.glob("*.whl")))


async def _run_pip(arguments: Sequence[str], architecture: Architecture) -> None:
    environ = dict(os.environ)
    command = pip_command(environ)
    if command[0] != sys.executable:
        for ours, theirs in _UV_TO_PIP.items():
            if ours in environ:
                environ.setdefault(theirs, environ[ours])
    code, output = await run_program([*command, *arguments], environ)
    if code:
        logger.debug("pip ended with exit code %d:\n%s", code, output)
        raise ImageError(
            f"the packages of the image for {architecture} cannot be downloaded: "
            f"{last_errors(output)} Check the network and the package index, which PIP_INDEX_URL "
            "names (the log at level DEBUG has more)"
        )


async def run_program(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a program, and return its exit code and everything it has printed.

    A cancellation ends the program together with the processes that it has started.
    """
    try:
        # If the start were cancelled, processes that the program starts would be unknown.
        with anyio.fail_after(START_TIMEOUT, shield=True):
            process = await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )
    except OSError as exc:
        raise ImageError(f"{command[0]} cannot be started: {exc.strerror or exc}") from exc
    output = b""
    async with process:
        try:
            assert process.stdout is not None
            async for piece in process.stdout:
                output += piece
            code = await process.wait()
        finally:
            if hasattr(os, "killpg"):
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
    return code, output.decode(errors="replace")


def last_errors(output: str) -> str:
    """Return the last errors or lines in the output of pip as one sentence."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines or ["pip printed nothing"]
    return printable_line(" ".join(errors[-3:])).rstrip(".") + "."

"""The public image's own program, from PyPI, as a process on loopback.

It wants older Python packages than ours, so it gets an environment of its own, made once and kept
in the user's cache. It starts ``ffmpeg`` by name, which is the one that this environment contains,
and ``ffprobe``, which it asks only for the size of a picture: a script answers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

PACKAGE = "video-generation-api==1.0.1"
NEEDS = ("setuptools<81", PACKAGE)
"""Moviepy 2.0's ffmpeg wheel asks for pkg_resources, which later ones lack."""
PYTHONS = ("python3.12", "python3.11")
"""Numpy 1.26 and Pillow 10.1, which it pins, have wheels up to 3.12."""

FFPROBE = """#!{python}
import sys
from PIL import Image

print("{{}}x{{}}".format(*Image.open(sys.argv[-1]).size))
"""

VERSION = "'%d.%d' % sys.version_info[:2]"
INSTALL = 100.0
"""Seconds; it takes ten."""

SERVE = """
import sys
from werkzeug.serving import make_server
from video_generation_api.app import app

server = make_server(sys.argv[1], int(sys.argv[2]), app, threaded=True)  # as its own app.run does
print(server.port, flush=True)
server.serve_forever()
"""


class Image:
    """It runs."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    @property
    def made(self) -> list[Path]:
        """Videos that lie there."""
        return list((self.folder / "outputs").glob("*.mp4"))

    @property
    def at_work(self) -> bool:
        """It has files of a scene that it makes a video of."""
        return any((self.folder / "temp").iterdir())


@dataclass(frozen=True, kw_only=True)
class Program:
    """What starts it, and where it is."""

    python: str
    package: Path
    environment: dict[str, str]

    def command(self, host: str, port: str) -> tuple[str, ...]:
        """It looks for its videos in the current folder."""
        there = f'cd "{self.package}" && exec "$0" "$@"'
        return ("sh", "-c", there, self.python, "-c", SERVE, host, port)


def program_in(folder: Path) -> Program:
    """A copy of the package in a folder; a skip where it cannot be had."""
    python, copy = _environment(), folder / "video_generation_api"
    command = [python, "-c", "import video_generation_api as p; print(p.__path__[0])"]
    found = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True)
    shutil.copytree(found.stdout.strip(), copy)
    environment = {
        "PATH": _tools(folder, python),
        "PYTHONPATH": str(folder),
        "TMPDIR": str(folder),
        "HOME": str(folder),
    }
    return Program(python=python, package=copy, environment=environment)


@contextmanager
def running(folder: Path, key: str) -> Generator[Image]:
    """The image in a copy of its package: it writes beside its code, as in its container."""
    program = program_in(folder)
    environment = {**program.environment, "AUTHENTICATION_KEY": key}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            program.command("127.0.0.1", "0"),
            env=environment,
            stdin=subprocess.DEVNULL,  # its ffmpeg would read from ours
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port, (folder / "log").read_text()
            yield Image(f"http://127.0.0.1:{port}", program.package)
        finally:
            process.kill()


def _tools(folder: Path, python: str) -> str:
    command = [python, "-c", "import imageio_ffmpeg as f; print(f.get_ffmpeg_exe())"]
    found = subprocess.run(command, capture_output=True, check=True, text=True)
    tools = folder / "bin"
    tools.mkdir()
    (tools / "ffmpeg").symlink_to(found.stdout.strip())
    (tools / "ffprobe").write_text(FFPROBE.format(python=python))
    (tools / "ffprobe").chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"


def _environment() -> str:
    """Its Python; a skip where it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloudburst-tests"
    python = _suitable_python()
    if python is None:
        pytest.skip(f"{PACKAGE} has no wheels for this Python, and there is no older one")
    place = cache / f"{PACKAGE}-{_told(python, VERSION)}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f"{place.name}.lock"), timeout=INSTALL):
        if not (place / "ready").exists():
            _install(python, place)
    return str(place / "bin" / "python")


def _install(python: str, place: Path) -> None:
    pip = (place / "bin" / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:")
    for command in ((python, "-m", "venv", "--clear", place), (*pip, *NEEDS)):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL)
        if done.returncode:
            pytest.skip(f"{PACKAGE} cannot be installed: {done.stderr[-500:]}")
    (place / "ready").touch()


def _suitable_python() -> str | None:
    for name in (sys.executable, *PYTHONS):
        found = shutil.which(name)
        if found and _told(found, "(3, 11) <= sys.version_info[:2] <= (3, 12)") == "True":
            return found
    return None


def _told(python: str, expression: str) -> str:
    """What a Python says; nothing when it does not even start."""
    command = [python, "-c", f"import sys, ensurepip; print({expression})"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip()

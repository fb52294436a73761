"""Containers that run in their image, by the program ``bwrap`` of bubblewrap."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "bwrap"
START = (
    *(PROGRAM, "--unshare-user", "--unshare-pid", "--die-with-parent"),
    *("--info-fd", "3"),  # programs.runtime reads the process id of the first process from it
)
SYSTEM = ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm")  # noqa: S108 - of the container
# Files for the resolution of names. Those of this machine replace those of the image.
HOST_FILES = ("/etc/hosts", "/etc/resolv.conf")
TEST_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class User:
    """User as which the program of a container runs."""

    uid: int
    gid: int
    home: str = "/"


def reason_not_run(folder: Path) -> str:
    """Return the reason why images cannot run on this machine; empty if they can."""
    if shutil.which(PROGRAM) is None:
        return f"the program {PROGRAM} is missing; install bubblewrap"
    test = ("--ro-bind", "/", "/", *_overlay(folder, str(folder)), *SYSTEM, "true")
    try:
        subprocess.run(
            [*START[:-2], *test], check=True, capture_output=True, text=True, timeout=TEST_TIMEOUT
        )
    except subprocess.CalledProcessError as exc:
        return str(exc.stderr).strip()
    except (OSError, subprocess.TimeoutExpired) as exc:
        return str(exc)
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Image and options with which ``bwrap`` runs the programs of a container."""

    root: Path
    """Folder with the unpacked image. Changes to it are kept in memory for each program."""
    user: User
    folder: str
    """Working folder."""
    read_only: bool
    volumes: Sequence[tuple[Path, str, bool]]
    """Folder, path in the container, and true for a read-only volume."""
    has_init: bool

    def running(self, command: Sequence[str]) -> list[str]:
        """Return the command of this machine that runs a command in the image."""
        user = ("--uid", str(self.user.uid), "--gid", str(self.user.gid))
        words = [*START, *user, "--chdir", self.folder, *_overlay(self.root, "/"), *SYSTEM]
        for name in HOST_FILES:
            if (self.root / name[1:]).is_file():
                words += ["--ro-bind", name, name]
        for source, path, fixed in self.volumes:
            words += ["--ro-bind" if fixed else "--bind", str(source), path]
        words += ["--remount-ro", "/"] * self.read_only + ["--as-pid-1"] * (not self.has_init)
        return [*words, "--", *command]


def _overlay(folder: Path, place: str) -> tuple[str, ...]:
    return ("--overlay-src", str(folder), "--tmp-overlay", place)


def find_problem(root: Path, command: Sequence[str], path: str, folder: str) -> str | None:
    """Return the reason why a command cannot be started in an image, as Docker says it."""
    if not command:
        return "no command specified"
    if not _exists(root, folder):
        return f"chdir to {folder}: no such file or directory"
    name = command[0]
    if "/" not in name:
        found = any(_exists(root, f"{place}/{name}") for place in path.split(":"))
        return None if found else f'exec: "{name}": executable file not found in $PATH'
    if not _exists(root, name if name.startswith("/") else f"{folder}/{name}"):
        return f'exec: "{name}": stat {name}: no such file or directory'
    return None


def _exists(root: Path, path: str) -> bool:
    """Return whether an image has a file. The target of a link is not looked for."""
    place = root / path.lstrip("/")
    return place.is_symlink() or place.exists()


def find_user(root: Path, text: str) -> User:
    """Return the user ``USER`` or ``USER:GROUP`` of an image; ``ValueError`` if it has none."""
    name, _, group = (text or "0").partition(":")
    found = next((row for row in _rows(root, "passwd", 7) if name in {row[0], row[2]}), None)
    if found is None and not name.isdecimal():
        raise ValueError(f"unable to find user {name}: no matching entries in passwd file")
    user = User(int(found[2]), int(found[3]), found[5] or "/") if found else User(int(name), 0)
    if not group:
        return user
    row = next((row for row in _rows(root, "group", 4) if group in {row[0], row[2]}), None)
    if row is None and not group.isdecimal():
        raise ValueError(f"unable to find group {group}: no matching entries in group file")
    return User(user.uid, int(row[2] if row else group), user.home)


def _rows(root: Path, name: str, columns: int) -> list[list[str]]:
    path = root / "etc" / name
    if not path.is_file():
        return []
    rows = [line.split(":") for line in path.read_text(errors="replace").splitlines()]
    return [row for row in rows if len(row) >= columns]

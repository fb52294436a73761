"""Folders and users of an unpacked image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class UnknownUserError(Exception):
    """User or group that the image does not have."""


@dataclass(frozen=True, slots=True)
class User:
    """User as which the program of a container runs."""

    uid: int
    gid: int
    home: str = "/"


def make_folder(root: Path, path: str) -> int:
    """Create a folder in an image, unless it exists, and return its mode.

    Raises:
        OSError: a part of the path is a link, which could lead out of the image, or a file.
    """
    folder = root
    for part in PurePosixPath("/", path).parts[1:]:
        folder /= part
        if part == ".." or folder.is_symlink():
            raise OSError(f"{path} leads through a link or out of the image")
        folder.mkdir(0o755, exist_ok=True)
    return folder.stat().st_mode & 0o7777


def find_user(root: Path, text: str) -> User:
    """Return the user in an image with a name or number; ``USER:GROUP`` sets the group, too.

    A number that ``/etc/passwd`` does not list has the group 0, as in Docker.

    Raises:
        UnknownUserError: the image has no user or group with this name.
        ValueError: a number is not one.
    """
    name, _, group = (text or "0").partition(":")
    found = next((row for row in _rows(root, "passwd", 7) if name in {row[0], row[2]}), None)
    if found:
        user = User(int(found[2]), int(found[3]), found[5] or "/")
    elif name.isdecimal():
        user = User(int(name), 0)
    else:
        raise UnknownUserError(f"unable to find user {name}: no matching entries in passwd file")
    if not group:
        return user
    row = next((row for row in _rows(root, "group", 4) if group in {row[0], row[2]}), None)
    if row is None and not group.isdecimal():
        raise UnknownUserError(f"unable to find group {group}: no matching entries in group file")
    return User(user.uid, int(row[2] if row else group), user.home)


def _rows(root: Path, name: str, columns: int) -> list[list[str]]:
    folder, path = root / "etc", root / "etc" / name
    if folder.is_symlink() or path.is_symlink() or not path.is_file():
        return []
    rows = [line.split(":") for line in path.read_text(errors="replace").splitlines()]
    return [row for row in rows if len(row) >= columns]

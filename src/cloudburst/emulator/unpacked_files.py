"""Files of an unpacked image: links in the image never lead to files of this machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MAX_ACCOUNTS_BYTES = 1 << 20
"""Maximum size of ``/etc/passwd`` and ``/etc/group``, in bytes."""
MAX_DIGITS = 10
"""Maximum number of digits of a user or group: `int` rejects thousands of them."""
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
        OSError: a part of the path is a link or a file, or the path leaves the image.
    """
    with _opened(root, PurePosixPath("/", path).parts[1:], create=True) as folder:
        return os.fstat(folder).st_mode & 0o7777


def find_user(root: Path, text: str) -> User:
    """Return the user in an image with a name or number; ``USER:GROUP`` sets the group, too.

    A number that ``/etc/passwd`` does not list has the group 0, as in Docker.

    Raises:
        UnknownUserError: the image has no user or group with this name.
    """
    name, _, group = (text or "0").partition(":")
    found = next((row for row in _rows(root, "passwd", 7) if name in {row[0], row[2]}), None)
    if found:
        user = User(_number(found[2]), _number(found[3]), found[5] or "/")
    elif name.isdecimal():
        user = User(_number(name), 0)
    else:
        raise UnknownUserError(f"unable to find user {name}: no matching entries in passwd file")
    if not group:
        return user
    row = next((row for row in _rows(root, "group", 4) if group in {row[0], row[2]}), None)
    if row is None and not group.isdecimal():
        raise UnknownUserError(f"unable to find group {group}: no matching entries in group file")
    return User(user.uid, _number(row[2] if row else group), user.home)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) >= 2**31:
        raise UnknownUserError(f"{text!r:.50} is not the number of a user or group")
    return int(text)


def _rows(root: Path, name: str, columns: int) -> list[list[str]]:
    try:
        with _opened(root, ("etc",), create=False) as folder:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return []
    with open(descriptor, "rb") as file:  # noqa: PTH123 - opened relative to a folder
        text = file.read(MAX_ACCOUNTS_BYTES).decode(errors="replace")
    rows = [line.split(":") for line in text.splitlines()]
    return [row for row in rows if len(row) >= columns]


@contextmanager
def _opened(root: Path, parts: tuple[str, ...], *, create: bool) -> Generator[int]:
    folder = os.open(root, FOLDER_FLAGS)
    try:
        for part in parts:
            if part == "..":
                raise OSError(errno.EINVAL, "the path leaves the image")
            try:
                inner = os.open(part, FOLDER_FLAGS, dir_fd=folder)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(part, 0o755, dir_fd=folder)
                inner = os.open(part, FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)

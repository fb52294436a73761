"""Reading of files that other people gave, replacement of own ones, and our folders. All block.

A path may lead to a pipe without a writer, an endless device, or a file of any size. The content
may be nested to any depth or contain numbers of any length. In each of these cases the readers
raise an error with the reason, after a bounded time and in bounded memory.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from cloudburst.errors import ConfigurationError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Pattern of the start of a URL. It requires one slash only, because `pathlib` merges two, and at
least two letters, because one letter is a Windows drive."""
_OPEN = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)  # Windows
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe returns at once
    | getattr(os, "O_NOCTTY", 0)
)


def read_regular_file(path: Path, *, limit: int) -> bytes:
    """Return the contents of a regular file of at most ``limit`` bytes.

    Raises ``OSError`` for a larger file, and for a pipe, a device, a socket or a folder, none of
    which is opened.
    """
    with open_regular_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        reason = f"larger than {limit // 1024**2} MB" if limit >= 1024**2 else f"over {limit} bytes"
        raise OSError(errno.EFBIG, reason, str(path))
    return data


def open_regular_file(path: Path, *, follow_links: bool = True) -> BufferedReader:
    """Open a regular file for reading and return it.

    Raises ``OSError`` for a pipe, a device, a socket or a folder, none of which is opened, and for
    a symbolic link unless ``follow_links`` is set.
    """
    require_regular_file(path.stat(follow_symlinks=follow_links), path)
    descriptor = os.open(path, _OPEN if follow_links else _OPEN | getattr(os, "O_NOFOLLOW", 0))
    try:
        # The path may have been replaced since its status was read.
        require_regular_file(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular_file(status: os.stat_result, path: Path) -> None:
    """Raise ``OSError`` if ``status`` is not that of a regular file; the error names ``path``."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


@contextmanager
def replaced_file(path: Path) -> Generator[BinaryIO]:
    """Yield a new file, which replaces the one at ``path`` at the end of the block.

    Other processes see the old file or the whole new one, also after a power failure. After an
    error, the old file stays. The folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new file names in a folder survive a power failure, if the system supports it."""
    with suppress(OSError):  # Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def parse_json(path: Path | str, text: str) -> object:
    """Return the value of the JSON text in a file, whose path or URL the errors name.

    Raises `ConfigurationError` with the path, the position in the file if it is known, and the
    reason.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        msg = f"{path}, line {exc.lineno}, column {exc.colno}: invalid JSON: {exc.msg}"
        raise ConfigurationError(msg) from exc
    except RecursionError as exc:
        raise ConfigurationError(f"{path}: invalid JSON: nested too deeply") from exc
    except ValueError as exc:  # a number of more digits than Python converts
        raise ConfigurationError(f"{path}: invalid JSON: {exc!s:.100}") from exc


def state_folder() -> Path:
    """Return the path of this package's state folder, which need not exist.

    It is ``cloudburst`` in ``XDG_STATE_HOME``, or in ``~/.local/state`` if that variable is not
    set.
    """
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "cloudburst"


def cache_folder() -> Path:
    """Return the path of this package's cache folder, which need not exist.

    It is ``cloudburst`` in ``XDG_CACHE_HOME``, or in ``~/.cache`` if that variable is not set.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "cloudburst"


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the number of a file; ``None`` if there is no such file. Blocks."""
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None

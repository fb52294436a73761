"""Media files that are open for a check, and the errors of opening and reading them."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cloudburst.files import open_regular_file
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """Media file that is open for a check."""

    file: BinaryIO
    size: int | None
    """Size in bytes, if it is known."""
    is_whole: bool = True
    """False if only a part of the file may be read. Reading more raises `PartNotReadError`."""


class PartNotReadError(Exception):
    """Error for the part of a file that may not be read for a check."""


@contextmanager
def open_media_file(path: Path, expected: str, limits: Limits) -> Generator[MediaFile]:
    """Open a regular file on this machine; reject one that is unreadable, empty or too large.

    Errors while the block reads the file are raised as `InvalidInputError`, too.
    """
    with _translated_os_errors(expected):
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InvalidInputError("a folder", expected, "wrong_type")
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError("not a regular file", expected, "wrong_type")
        with open_regular_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            check_size(size, expected, limits)
            yield MediaFile(file=file, size=size)


def check_size(size: int, expected: str, limits: Limits) -> None:
    """Reject a file that is empty or too large."""
    if not size:
        raise InvalidInputError("an empty file", expected)
    if size > limits.file_bytes:
        expected = f"at most {_megabytes(limits.file_bytes)}"
        raise InvalidInputError(_megabytes(size), expected, "too_large")


@contextmanager
def _translated_os_errors(expected: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise InvalidInputError("no such file", expected, "no_file") from exc
    except PermissionError as exc:
        raise InvalidInputError("a file without read permission", expected) from exc
    except NotADirectoryError as exc:
        found = "a path through something that is not a folder"
        raise InvalidInputError(found, expected, "no_file") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL within the path
        raise InvalidInputError(f"unreadable: {error_line(exc)}", expected) from exc


def error_line(exc: BaseException) -> str:
    """Return the first line of the message of an error."""
    text = str(exc).strip() or type(exc).__name__
    return text.splitlines()[0][:120]


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:,.1f} MB"

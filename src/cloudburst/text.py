"""Short, printable texts for messages and logs."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

MAX_LINE_LENGTH = 500
"""Maximum number of characters of another program's text in one of our messages."""
MAX_PATH_LENGTH = 4096
"""Maximum number of characters of a path in a message: the longest path on Linux, so that paths are
not cut."""
TASK_ID_LENGTH = 12
"""Number of characters that are shown of a task's id."""


def describe_error(error: BaseException) -> str:
    """Return an error as one printable line.

    For an ``OSError`` about a file: the file and its problem. For any other error: its message, or
    the name of its class if it has no message.
    """
    if isinstance(error, OSError) and error.filename:
        return f"{printable_line(str(error.filename), MAX_PATH_LENGTH)}: {error.strerror}"
    return printable_line(str(error)) or type(error).__name__


def printable_line(text: str, length: int = MAX_LINE_LENGTH) -> str:
    """Return the text, cut after ``length`` characters, with unprintable characters replaced."""
    return printable(text if len(text) <= length else f"{text[:length]}…")


def printable(text: str, *, keep: str = "") -> str:
    """Return the text with ``�`` for each unprintable character that is not among those to keep.

    Control characters could move the cursor of a terminal.
    """
    return "".join(c if c.isprintable() or c in keep else "�" for c in text)


def short_task(task: str) -> str:
    """Return the short name of a task: its address, or 12 characters of its id.

    ``cloudburst logs`` finds a task of Fargate by it.
    """
    name = task.rpartition("/")[2]
    address, is_address, _ = name.partition("#")
    return address if is_address else name[:TASK_ID_LENGTH]


def short_repr(value: object, length: int = 60) -> str:
    """Return the value as Python writes it, cut to ``length`` characters.

    Unlike ``repr``, it reads only the part of the value that it shows, so a huge value takes no
    longer.
    """
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxdict = 2, 4, 4
    short.maxstring = short.maxlong = short.maxother = length
    try:
        return shorten(short.repr(value), length)
    except ValueError:  # Python converts no number of more than 4,300 digits to text
        return f"a value of type {type(value).__name__} that is too long to show"


def shorten(text: str, length: int) -> str:
    """Return the text, cut to ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def list_some(items: Sequence[object], limit: int = 5) -> str:
    """Return the first items as a list in one line, and the number of the others."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more

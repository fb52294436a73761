"""Language of what people read in a terminal: English, or Chinese in a Chinese locale."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files

# Largest number of messages within each other that are translated. A name of a file, or a worker's
# text, may look like thousands of them.
_MAX_LEVELS = 12


def say(text: str, *values: object) -> str:
    """Return an English text with its values in place of ``{}``, in the language of the user.

    A text without a translation stays English. Without values, braces are ordinary characters.
    """
    text = _chinese().get(text, text) if is_chinese() else text
    return text.format(*values) if values else text


def translate(message: str) -> str:
    """Return a message of an error, a failure or a check in the language of the user.

    The message itself stays English for programs and logs. Parts without a translation do, too.
    """
    return "\n".join(map(_translation, message.split("\n"))) if is_chinese() else message


@lru_cache(1000)
def _translation(text: str, levels: int = _MAX_LEVELS) -> str:
    for parts, chinese in _messages() if levels else ():
        if (values := _values(text, parts)) is not None:
            return chinese.format(*(_translation(value, levels - 1) for value in values))
    return text


def _values(text: str, parts: Sequence[str]) -> list[str] | None:
    """Return what is between the parts of a template, in linear time; ``None`` for another text."""
    first, *inner, last = parts if len(parts) > 1 else (*parts, "")
    if not (text.startswith(first) and text.endswith(last)):
        return None
    values, at, end = list[str](), len(first), len(text) - len(last)
    for part in inner:
        if (place := text.find(part, at + 1, end)) < 0:
            return None
        values.append(text[at:place])
        at = place + len(part)
    if len(parts) == 1:
        return [] if at == end else None
    return [*values, text[at:end]] if at < end else None


def is_chinese() -> bool:
    """Return whether the locale of messages is Chinese: the first variable that is set counts.

    It is not if the standard output cannot have Chinese characters.
    """
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next(filter(None, map(os.environ.get, names)), "")
    return locale.startswith("zh") and "中".encode(output_encoding(), "replace") != b"?"


def output_encoding() -> str:
    """Return the name of the encoding of the standard output."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


@cache
def _chinese(name: str = "chinese.json") -> dict[str, str]:
    text = files("cloudburst.display").joinpath(name).read_text("utf-8")
    return dict[str, str](json.loads(text))


@cache
def _messages() -> Sequence[tuple[Sequence[str], str]]:
    """Return the parts of templates of messages, and translations; specific ones come first."""
    table = [
        (template.split("{}"), chinese)
        for template, chinese in _chinese("chinese_messages.json").items()
    ]
    table.sort(key=lambda row: len("".join(row[0])), reverse=True)
    return table

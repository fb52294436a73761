"""Language of what people read in a terminal: English, or Chinese in a Chinese locale."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files


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
def _translation(text: str) -> str:
    for pattern, chinese in _messages():
        if found := pattern.fullmatch(text):
            return chinese.format(*map(_translation, found.groups()))
    return text


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
def _messages() -> Sequence[tuple[re.Pattern[str], str]]:
    """Return the patterns of messages with their translations; specific ones come first."""
    table = [
        (template.split("{}"), chinese)
        for template, chinese in _chinese("chinese_messages.json").items()
    ]
    table.sort(key=lambda row: len("".join(row[0])), reverse=True)
    return [(re.compile("(.+?)".join(map(re.escape, parts)), re.DOTALL), to) for parts, to in table]

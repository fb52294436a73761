"""Language of what people read in a terminal: English, or Chinese in a Chinese locale."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from importlib.resources import files


def say(text: str, *values: object) -> str:
    """Return an English text with its values in place of ``{}``, in the language of the user.

    A text without a translation stays English. Without values, braces are ordinary characters.
    """
    text = _chinese().get(text, text) if is_chinese() else text
    return text.format(*values) if values else text


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
def _chinese() -> dict[str, str]:
    text = files("cloudburst.display").joinpath("chinese.json").read_text("utf-8")
    return dict[str, str](json.loads(text))

"""Texts of the page of ``cloudburst serve``, as its script has them."""

from __future__ import annotations

import json
import re

from cloudburst.serve.app import PAGE

LANGUAGES = ("en", "zh")
_LINE = re.compile(r'^  "([^"]+)": (\[".*"\]),$', re.MULTILINE)
SCRIPT = (PAGE / "strings.js").read_text("utf-8")


def lines_of_texts():
    """Return each key with its texts, in the order of the languages."""
    return [(key, json.loads(texts)) for key, texts in _LINE.findall(SCRIPT)]


TEXTS = dict(lines_of_texts())


def page_text(key, language, **values):
    """Return a text with its placeholders filled; ``n`` chooses the form of an English text."""
    forms = TEXTS[key][LANGUAGES.index(language)].split("|")
    return forms[0 if values.get("n") == 1 else -1].format(**values)

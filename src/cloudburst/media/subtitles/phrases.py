"""Words and phrases of scripts without spaces, found by budoux, which the base install lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import Any

_THAI = re.compile("[\u0e01-\u0e5b]+")


def thai_words(text: str) -> Iterator[int]:
    """Yield the indices after the Thai words of a text."""
    for found in _THAI.finditer(text):
        for end in phrase_ends(found[0], "thai"):
            yield found.start() + end


def phrase_ends(text: str, language: str) -> Iterator[int]:
    """Yield the indices after the phrases of a text, in Thai its words."""
    return accumulate(map(len, _divider(language).parse(text)))


@cache
def _divider(language: str) -> Any:
    import budoux  # noqa: PLC0415 - 10 ms, and few texts need it

    return getattr(budoux, f"load_default_{language}_parser")()

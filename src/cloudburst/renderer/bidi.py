"""Order of the letters of a line in which text runs from right to left, such as Arabic or Hebrew.

The rules are those of Unicode Standard Annex 9. Characters that embed or isolate a part of a text
have no effect within a line: subtitles have them, if at all, around a whole line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from unicodedata import bidirectional

# Characters for which a line needs the rules: the blocks of scripts from right to left, and the
# invisible characters that begin such a text.
_FROM_RIGHT = re.compile(
    "[\u0590-\u08ff\u200f\u202b\u202e\u2067\ufb1d-\ufdff\ufe70-\ufeff"
    "\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_BEGIN_RIGHT = frozenset(("R", "AL", "RLE", "RLO", "RLI"))
_BEGIN_LEFT = frozenset(("L", "LRE", "LRO", "LRI"))
# A letter for each class of characters; those of other classes are neutral.
_CLASSES = {
    **dict(zip(("L", "R", "AL", "EN", "AN", "ES", "ET", "CS"), "LRAENstc", strict=True)),
    **dict.fromkeys(("NSM", "BN"), "m"),
    **dict.fromkeys(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"), "m"),
}
_PAIRS = "()[]{}（）［］｛｝「」『』【】〈〉《》〔〕〖〗⟨⟩"
_BRACKETS = dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True))


def begins_right(text: str) -> bool:
    """Return whether a paragraph runs from right to left, by its first letter."""
    if not _FROM_RIGHT.search(text):
        return False
    kinds = map(bidirectional, text)
    return next((kind for kind in kinds if kind in _BEGIN_RIGHT | _BEGIN_LEFT), "") in _BEGIN_RIGHT


def directions(text: str, *, rtl: bool) -> list[tuple[int, int, bool]]:
    """Return the parts of a line as they stand from left to right.

    They are the first character, the end, and whether the part runs from right to left; ``rtl`` is
    true if the paragraph does.
    """
    if not (rtl or _FROM_RIGHT.search(text)):
        return [(0, len(text), False)]
    levels = _levels(text, "R" if rtl else "L")
    parts = [
        (level, [*places]) for level, places in groupby(range(len(text)), key=levels.__getitem__)
    ]
    for level in range(max(levels, default=0), 0, -1):
        order: list[tuple[int, list[int]]] = []
        for inside, group in groupby(parts, key=lambda part: part[0] >= level):
            run = [*group]
            order += run[::-1] if inside else run
        parts = order
    return [(places[0], places[-1] + 1, level % 2 == 1) for level, places in parts]


def _levels(text: str, base: str) -> list[int]:
    """Return a number for each character: odd ones run from right to left, within smaller ones."""
    # The names are those of the rules. A letter of the base stands before and after the text.
    kinds = "".join(_CLASSES.get(bidirectional(each), "o") for each in text)
    kinds = base + kinds + base
    kinds = re.sub("([^m])m+", lambda found: found[1] * len(found[0]), kinds)  # W1
    kinds = re.sub("A[^LRA]*", lambda found: found[0].replace("E", "N"), kinds)  # W2
    kinds = kinds.replace("A", "R")  # W3
    kinds = re.sub("(?<=E)[sc](?=E)", "E", kinds)  # W4
    kinds = re.sub("(?<=N)c(?=N)", "N", kinds)
    kinds = re.sub("t+(?=E)|(?<=E)t+", lambda found: "E" * len(found[0]), kinds)  # W5
    kinds = re.sub("[stc]", "o", kinds)  # W6
    kinds = re.sub("L[^LR]*", lambda found: found[0].replace("E", "L"), kinds)  # W7
    kinds = _with_brackets(text, kinds, base)  # N0
    kinds = re.sub("(?<=L)o+(?=L)", lambda found: "L" * len(found[0]), kinds)  # N1
    kinds = re.sub("(?<=[REN])o+(?=[REN])", lambda found: "R" * len(found[0]), kinds)
    kinds = kinds.replace("o", base)[1:-1]  # N2
    spaces = len(text) - len(text.rstrip())
    kinds = kinds[: len(text) - spaces] + base * spaces  # L1
    numbers = {"L": 0, "R": 1, "E": 2, "N": 2} if base == "L" else {"L": 2, "R": 1, "E": 2, "N": 2}
    return [numbers[kind] for kind in kinds]  # I1, I2


def _with_brackets(text: str, kinds: str, base: str) -> str:
    """Return the classes in which both brackets of a pair have one direction."""
    found = list(kinds)  # the class of a character is at its place plus one
    for opening, closing in sorted(_pairs(text)):
        before, inside = (
            ["L" if kind == "L" else "R" for kind in part if kind != "o"]
            for part in (found[: opening + 1], found[opening + 2 : closing + 1])
        )
        if inside:
            found[opening + 1] = found[closing + 1] = base if base in inside else before[-1]
    return "".join(found)


def _pairs(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the brackets that belong together."""
    closings: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        if character in _BRACKETS:
            closings.append(_BRACKETS[character])
            places.append(place)
        elif character in closings:
            at = len(closings) - 1 - closings[::-1].index(character)
            yield places[at], place
            del closings[at:], places[at:]

"""Places at which a line of text may be broken, for Chinese, Japanese and Latin text.

The rules are a subset of Unicode Standard Annex 14 and of the Chinese and Japanese rules for marks:
a closing mark does not start a line and an opening mark does not end one. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from unicodedata import category

ZERO_WIDTH_SPACE = "\u200b"
"""Invisible character at which a line may be broken."""
WORD_JOINER = "\u2060"
"""Invisible character at which a line may not be broken."""

_FIRST_WIDE = 0x2E80
"""First character of the blocks of Chinese, Japanese and Korean, between which lines may be broken.
Emoji are above it, too."""
_ARABIC_FORMS = range(0xFB00, 0xFE00)
"""Ligatures of Latin, Hebrew and Arabic above `_FIRST_WIDE`; they are parts of words."""
_HALF_WIDTH_LATIN = range(0xFE70, 0xFF00)

_NOT_FIRST = frozenset(
    ",.!?:;%°℃℉‰′″·…‥—～〜、。，．！？：；％・･｡､ー々〻ゝゞヽヾ゛゜"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ"
)
"""Characters that do not start a line, besides closing brackets and closing quotation marks."""
_CLOSING = frozenset(("Pe", "Pf"))
_OPENING = frozenset(("Ps", "Pi", "Sc"))
"""Categories of brackets and quotation marks; a currency sign (Sc) stays with its amount."""
_MARKS = frozenset(("Mn", "Mc", "Me"))
_NOT_BROKEN = frozenset("\xa0\u202f\u2007" + WORD_JOINER)
_STRAIGHT_QUOTES = frozenset("\"'")
_HYPHENS = frozenset("-\u2010\u2013")


def is_space(character: str) -> bool:
    """Return whether a character is a space at which a line may be broken, of any width."""
    return (character.isspace() and character not in _NOT_BROKEN) or character == ZERO_WIDTH_SPACE


def is_combining(character: str) -> bool:
    """Return whether a character is drawn over the character before it."""
    return category(character) in _MARKS


def line_breaks(text: str) -> Iterator[int]:
    """Yield the indices of the characters before which the text may be broken, in order."""
    for index in range(1, len(text)):
        earlier = text[index - 2] if index > 1 else ""
        if _may_break(earlier, text[index - 1], text[index]):
            yield index


def _may_break(earlier: str, before: str, after: str) -> bool:
    if is_space(after):
        return False
    if is_space(before):
        return True
    if _holds_next(before) or _holds_previous(after):
        return False
    if before in _HYPHENS:
        return earlier.isalpha() and after.isalpha()
    return before == "—" or _is_wide(before) or _is_wide(after)


def _holds_next(character: str) -> bool:
    held = character in _NOT_BROKEN or character in _STRAIGHT_QUOTES
    return held or category(character) in _OPENING


def _holds_previous(character: str) -> bool:
    held = character in _NOT_BROKEN or character in _STRAIGHT_QUOTES or character in _NOT_FIRST
    return held or category(character) in _CLOSING | _MARKS


def _is_wide(character: str) -> bool:
    code = ord(character)
    return code >= _FIRST_WIDE and code not in _ARABIC_FORMS and code not in _HALF_WIDTH_LATIN

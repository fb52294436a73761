"""Characters that the font of the subtitles cannot draw.

Letters and digits without a glyph are drawn as the font's box, because a missing one would change
the text. Other characters without a glyph, such as emoji, are left out. Both are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import TypeAlias
from unicodedata import category, name

from cloudburst.renderer.text_layout import plain_text

HasGlyph: TypeAlias = Callable[[str], bool]
"""Function that returns whether the font has a glyph for a character."""

MAX_REPORTED_CHARACTERS = 20
"""Number of missing characters that are reported for a video: enough to recognise the script."""

_INVISIBLE = frozenset(
    chr(code)
    for block in (
        range(0x034F, 0x0350),  # combining grapheme joiner
        range(0x115F, 0x1161),  # Hangul fillers
        range(0x17B4, 0x17B6),
        range(0x180B, 0x1810),
        range(0x3164, 0x3165),
        range(0xFE00, 0xFE10),  # variation selectors
        range(0xFFA0, 0xFFA1),
    )
    for code in block
)
"""Characters with the property Default_Ignorable_Code_Point (Unicode 16), besides category Cf and
the tags and variation selectors of `_SPECIAL_PLANE`."""
_SPECIAL_PLANE = range(0xE0000, 0xE1000)
_IDEOGRAPHIC_PLANES = range(0x20000, 0x40000)
"""Planes of Chinese characters, of which Python may not know the newest."""
_MARKS_AND_SPACES = frozenset(("Mn", "Mc", "Me", "Zs", "Zl", "Zp", "Cc"))


def is_invisible(character: str) -> bool:
    """Return whether a character has no shape of its own in any font, such as a joiner."""
    return (
        category(character) == "Cf" or character in _INVISIBLE or ord(character) in _SPECIAL_PLANE
    )


def is_shown(character: str, has_glyph: HasGlyph) -> bool:
    """Return whether a character takes part in the layout of a text.

    A letter or digit without a glyph does: the box of the font is drawn for it.
    """
    if is_invisible(character):
        return False
    return has_glyph(character) or character.isspace() or _needs_box(character)


def _needs_box(character: str) -> bool:
    return category(character)[0] in "LN" or ord(character) in _IDEOGRAPHIC_PLANES


def missing_characters(texts: Iterable[str], has_glyph: HasGlyph) -> tuple[str, ...]:
    """Return descriptions of the characters of cues that have no glyph, in order of appearance.

    An example is ``U+1F600 😀 GRINNING FACE``. Each character is described once, and at most
    `MAX_REPORTED_CHARACTERS` are. Characters that show nothing or are part of another one
    (joiners, variation selectors, combining marks, spaces) are not reported.
    """
    characters = dict.fromkeys(chain.from_iterable(map(plain_text, texts)))
    missing = (
        character
        for character in characters
        if not has_glyph(character)
        and not is_invisible(character)
        and category(character) not in _MARKS_AND_SPACES
    )
    return tuple(map(_description, islice(missing, MAX_REPORTED_CHARACTERS)))


def _description(character: str) -> str:
    return f"U+{ord(character):04X} {character} {name(character, 'UNNAMED')}"

"""Characters that cannot be drawn, because of the font or because of their script.

Subtitles without a letter, a digit or an accent are refused. Other characters without a glyph, such
as emoji, are left out and reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias
from unicodedata import bidirectional, category, name

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue
from cloudburst.renderer.text_layout import plain_text

# Function that returns whether the font has a glyph for a character.
HasGlyph: TypeAlias = Callable[[str], bool]

# Number of missing characters that are named for a video: enough to recognise the script.
MAX_REPORTED_CHARACTERS = 5

# Characters with the property Default_Ignorable_Code_Point (Unicode 16), besides category Cf:
# fillers, variation selectors and tags.
_INVISIBLE = re.compile(
    "[\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u3164\\ufe00-\\ufe0f\\uffa0\\U000e0000-\\U000e0fff]"
)
# Planes of Chinese characters, of which Python may not know the newest.
_IDEOGRAPHIC_PLANES = range(0x20000, 0x40000)
# Scripts that are written from left to right, with letters or marks whose shape, place or order
# depends on others: the names of their characters begin with these words.
_SHAPED_SCRIPTS = re.compile(
    "(?:BALINESE|BATAK|BENGALI|BRAHMI|BUGINESE|CHAKMA|CHAM|DEVANAGARI|GRANTHA|GUJARATI|GURMUKHI"
    "|HANUNOO|JAVANESE|KANNADA|KHMER|LAO|LEPCHA|LIMBU|MALAYALAM|MEETEI|MONGOLIAN|MYANMAR|NEWA"
    "|ORIYA|PHAGS-PA|REJANG|SAURASHTRA|SHARADA|SINHALA|SUNDANESE|SYLOTI|TAGALOG|TAGBANWA|TAI"
    "|TAMIL|TELUGU|THAI|TIBETAN|TIRHUTA) "
)
_OTHER_SCRIPTS = (
    "text in a script of separate letters from left to right, such as Latin, Greek, Cyrillic, "
    "Chinese, Japanese or Korean"
)
_OTHER_FONT = "characters that the font has; the option font takes a file of another font"


def is_invisible(character: str) -> bool:
    """Return whether a character has no shape in any font, such as a joiner."""
    return category(character) == "Cf" or _INVISIBLE.match(character) is not None


def is_shown(character: str, has_glyph: HasGlyph) -> bool:
    """Return whether a character takes part in the layout of a text."""
    return not is_invisible(character) and (has_glyph(character) or character.isspace())


def characters_of(cues: Iterable[Cue]) -> str:
    """Return each visible character of cues once, in order of appearance."""
    texts = "".join(plain_text(cue.text) for cue in cues)
    return "".join(each for each in dict.fromkeys(texts) if not is_invisible(each))


def check_characters(characters: Iterable[str], has_glyph: HasGlyph | None) -> None:
    """Check that the text of these characters can be read.

    ``has_glyph`` is ``None`` if the font is not known.

    Raises:
        InvalidInputError: A script needs more than letters in a row, or a letter has no glyph.
    """
    letters = [each for each in characters if _is_needed(each)]
    for each in letters:
        full_name = name(each, "Unnamed")
        if bidirectional(each) in {"R", "AL"} or _SHAPED_SCRIPTS.match(full_name):
            script = full_name.partition(" ")[0].capitalize()
            found = f"{script} letters, such as {_description(each)}"
            raise InvalidInputError(found, _OTHER_SCRIPTS)
    if has_glyph is not None and (missing := [each for each in letters if not has_glyph(each)]):
        found = f"characters without a glyph in the font: {describe(missing)}"
        raise InvalidInputError(found, _OTHER_FONT)


def _is_needed(character: str) -> bool:
    # Letters, digits and accents are needed; symbols, emoji and punctuation are not.
    kind = category(character)
    return kind[0] in "LN" or kind in {"Mn", "Mc"} or ord(character) in _IDEOGRAPHIC_PLANES


def left_out(characters: Iterable[str], has_glyph: HasGlyph) -> list[str]:
    """Return the symbols of a text for which the font has no glyph."""
    return [
        each
        for each in characters
        if not has_glyph(each) and not each.isspace() and category(each) != "Me"  # of keycaps
    ]


def describe(characters: Sequence[str]) -> str:
    """Return the names of the first characters, such as ``U+1F600 😀 GRINNING FACE and 3 more``."""
    more = len(characters) - MAX_REPORTED_CHARACTERS
    names = ", ".join(map(_description, characters[:MAX_REPORTED_CHARACTERS]))
    return f"{names} and {more} more" if more > 0 else names


def _description(character: str) -> str:
    return f"U+{ord(character):04X} {character} {name(character, 'UNNAMED')}"

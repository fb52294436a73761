"""Characters that cannot be drawn, because no font has them.

Subtitles without a letter, a digit or an accent are refused. Other characters without a glyph, such
as emoji, are left out and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias
from unicodedata import category, name

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue
from cloudburst.renderer.text_layout import is_invisible, plain_text

# Function that returns whether the font has a glyph for a character.
HasGlyph: TypeAlias = Callable[[str], bool]

# Number of missing characters that are named for a video: enough to recognise the script.
MAX_REPORTED_CHARACTERS = 5

# Number of missing letters of known scripts that have their names in an error, and that are shown
# in it if there are more.
_MAX_NAMED_LETTERS = 2
_MAX_LETTERS = 20

# Planes of Chinese characters, of which Python may not know the newest.
_IDEOGRAPHIC_PLANES = range(0x20000, 0x40000)
_SCRIPTS = (
    "ADLAM ARABIC ARMENIAN BALINESE BENGALI CHEROKEE COPTIC DEVANAGARI ETHIOPIC GEORGIAN GUJARATI "
    "GURMUKHI HEBREW JAVANESE KANNADA KHMER LAO MALAYALAM MONGOLIAN MYANMAR ORIYA SINHALA "
    "SUNDANESE SYRIAC TAMIL TELUGU THAANA THAI TIFINAGH VAI YI"
)
# Families of Noto by the first word of the names of a script's characters.
_FAMILIES = {
    **{word: f"Noto Sans {word.capitalize()}" for word in _SCRIPTS.split()},
    **dict.fromkeys(("COMBINING", "CYRILLIC", "GREEK", "LATIN", "MODIFIER"), "Noto Sans"),
    "NKO": "Noto Sans NKo",
    "TIBETAN": "Noto Serif Tibetan",
}
_OTHER_FONT = "a font file with them: the option font (--font)"
# Plane with emoji and similar symbols.
_EMOJI = range(0x1F000, 0x20000)


def characters_of(cues: Iterable[Cue]) -> str:
    """Return each visible character of cues once, in order of appearance."""
    texts = "".join(plain_text(cue.text) for cue in cues)
    return "".join(each for each in dict.fromkeys(texts) if not is_invisible(each))


def check_characters(characters: Iterable[str], has_glyph: HasGlyph) -> None:
    """Raise `InvalidInputError` if a letter of a text has no glyph."""
    if missing := [each for each in characters if _is_needed(each) and not has_glyph(each)]:
        words = dict.fromkeys(name(each, "").partition(" ")[0] for each in missing)
        known = [word for word in words if word in _FAMILIES][:MAX_REPORTED_CHARACTERS]
        scripts = ", ".join(word.capitalize() for word in known)
        many = known and len(missing) > _MAX_NAMED_LETTERS
        named = "".join(missing[:_MAX_LETTERS]) if many else describe(missing)
        found = f"{scripts} characters that no font has: {named}".lstrip()
        families = ", ".join(dict.fromkeys(_FAMILIES[word] for word in known))
        expected = _installed(families, "fonts-noto-core") if families else _OTHER_FONT
        raise InvalidInputError(found, expected, "no_font")


def _installed(families: str, package: str) -> str:
    place = "where the run is started, or in the folder CLOUDBURST_FONTS"
    return f"{families} (Debian package {package}) {place}, or {_OTHER_FONT}"


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


def left_out_warnings(field: str, characters: Sequence[str]) -> list[str]:
    """Return the warning that these symbols of an input are left out, if there are any."""
    if not characters:
        return []
    emoji = any(map(may_be_emoji, characters))
    expected = _installed("Noto Color Emoji", "fonts-noto-color-emoji") if emoji else _OTHER_FONT
    found = f"left out, because no font has a glyph: {describe(characters)}"
    return [f"{field}: {found}; expected {expected}"]


def may_be_emoji(character: str) -> bool:
    """Return whether a font of emoji is the first one in which a character is looked for."""
    return ord(character) in _EMOJI or category(character) == "So"


def describe(characters: Sequence[str]) -> str:
    """Return the names of the first characters, such as ``U+1F600 😀 GRINNING FACE and 3 more``."""
    more = len(characters) - MAX_REPORTED_CHARACTERS
    names = ", ".join(map(_description, characters[:MAX_REPORTED_CHARACTERS]))
    return f"{names} and {more} more" if more > 0 else names


def _description(character: str) -> str:
    return f"U+{ord(character):04X} {character} {name(character, 'UNNAMED')}"

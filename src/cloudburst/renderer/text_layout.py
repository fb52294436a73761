"""Layout of the text of a cue: its tags become styles, and its lines are broken to fit a width.

Lines are as few as possible and then of similar width, as libass breaks them with ``WrapStyle: 0``.
Breaks in Chinese, Japanese and Latin text follow a subset of Unicode Standard Annex 14 and the
Chinese and Japanese rules for marks.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple, TypeAlias
from unicodedata import category, east_asian_width, is_normalized, normalize

from PIL import ImageColor

from cloudburst.media.subtitles import Word

# Invisible character at which a line may be broken.
ZERO_WIDTH_SPACE = "\u200b"
# Invisible character at which a line may not be broken.
WORD_JOINER = "\u2060"

# First character of the blocks of Chinese, Japanese and Korean, between which lines may be broken.
# Emoji are above it, too.
_FIRST_WIDE = 0x2E80
# Ligatures of Latin, Hebrew and Arabic above `_FIRST_WIDE`; they are parts of words.
_ARABIC_FORMS = range(0xFB00, 0xFE00)
_HALF_WIDTH_LATIN = range(0xFE70, 0xFF00)

# Characters that do not start a line, besides closing brackets and closing quotation marks.
_NOT_FIRST = frozenset(
    ",.!?:;%°℃℉‰′″·…‥—～〜、。，．！？：；％・･｡､ー々〻ゝゞヽヾ゛゜"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ"
)
_CLOSING = frozenset(("Pe", "Pf"))
# Categories of brackets and quotation marks; a currency sign (Sc) stays with its amount.
_OPENING = frozenset(("Ps", "Pi", "Sc"))
_MARKS = frozenset(("Mn", "Mc", "Me"))
_NOT_BROKEN = frozenset("\xa0\u202f\u2007" + WORD_JOINER)
_STRAIGHT_QUOTES = frozenset("\"'")
_HYPHENS = frozenset("-\u2010\u2013")

_TAG = re.compile(r"(</?[a-z][^<>]*>)", re.IGNORECASE)
_FONT_COLOUR = re.compile(r"""<font\s(?:[^<>]*\s)?color\s*=\s*["']?([#\w]+)""", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# An apostrophe between letters that are as narrow as Latin ones.
_APOSTROPHE = re.compile(r"(?<=[^\W\u1100-\U0010ffff])[‘’](?=[^\W\u1100-\U0010ffff])")
_BREAK_CONTROLS = frozenset((ZERO_WIDTH_SPACE, WORD_JOINER))
# Red, green and blue, from 0 to 255.
Rgb: TypeAlias = tuple[int, int, int]
# Function that returns the width of a character; the unit is free.
Advance: TypeAlias = Callable[[str], float]
# Function that returns whether a character is shown; others are removed.
Shown: TypeAlias = Callable[[str], bool]


def is_space(character: str) -> bool:
    """Return whether a character is a space at which a line may be broken."""
    return (character.isspace() and character not in _NOT_BROKEN) or character == ZERO_WIDTH_SPACE


def is_combining(character: str) -> bool:
    """Return whether a character is drawn over the one before it."""
    return category(character) in _MARKS


def line_breaks(text: str) -> Iterator[int]:
    """Yield the indices of the characters before which the text may be broken."""
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


# Quotation marks that are as narrow as Latin letters, by characters for private use that stand for
# them in lines. In Chinese fonts, the marks themselves are as wide as Chinese characters.
NARROW_QUOTES = {chr(0xF0000 + ord(quote)): quote for quote in "“”‘’"}
_NARROW = {ord(quote): narrow for narrow, quote in NARROW_QUOTES.items()}


class TextStyle(NamedTuple):
    """Style of a part of a text."""

    bold: bool = False
    italic: bool = False
    underlined: bool = False
    struck: bool = False
    colour: Rgb | None = None
    """Colour of the letters; ``None`` for that of text without tags."""
    word: int = -1
    """Index of the timed word of the text; -1 for none."""


class TextRun(NamedTuple):
    """Text of one style within a line."""

    text: str
    style: TextStyle
    width: float


Line: TypeAlias = tuple[TextRun, ...]


def line_width(line: Line) -> float:
    """Return the width of a line."""
    return sum(run.width for run in line)


def layout(
    text: str,
    *,
    bold: bool,
    room: float,
    advance: Advance,
    shown: Shown,
    words: Sequence[Word] = (),
) -> list[Line]:
    """Return the lines of a cue, each at most ``room`` wide unless one character is wider.

    The tags ``<i> <b> <u> <s>`` and ``<font color="…">`` set styles, and a closing tag returns to
    the style of text without tags. A colour is ``#rrggbb`` or a name of HTML. Other tags and
    control characters are removed. A word that is wider than a line is broken anywhere. Timed
    ``words`` do not change the places of letters.
    """
    return [
        line
        for source in _styled_lines(text, TextStyle(bold=bold), words)
        for line in _Paragraph(source, advance, shown).lines(room)
    ]


def plain_text(text: str) -> str:
    """Return the text of a cue without tags and control characters, in the normal form NFC."""
    return "\n".join(
        "".join(piece for piece, _ in line) for line in _styled_lines(text, TextStyle())
    )


def _styled_lines(
    text: str, base: TextStyle, words: Sequence[Word] = ()
) -> Iterator[list[tuple[str, TextStyle]]]:
    style = base
    pieces: list[tuple[str, TextStyle]] = []
    for section, word in _sections(text, words):
        style = style._replace(word=word)
        for row, line in enumerate(_CONTROL.sub("", section.replace("\t", " ")).split("\n")):
            if row:
                yield pieces
                pieces = []
            for place, part in enumerate(_TAG.split(line)):
                if place % 2:
                    style = _style_after(part.lower(), style, base)
                elif part:
                    pieces.append(
                        (part if is_normalized("NFC", part) else normalize("NFC", part), style)
                    )
    yield pieces


def _sections(text: str, words: Sequence[Word]) -> Iterator[tuple[str, int]]:
    """Yield the parts of a text that are timed words, with their index, and the parts between."""
    end = 0
    for index, word in enumerate(words):
        yield text[end : word.first], -1
        yield text[word.first : word.last], index
        end = word.last
    yield text[end:], -1


def _style_after(tag: str, style: TextStyle, base: TextStyle) -> TextStyle:
    if tag.startswith("</font"):
        return style._replace(colour=base.colour)
    if colour := _FONT_COLOUR.match(tag):
        return style._replace(colour=_rgb(colour[1]) or style.colour)
    name = {"b": "bold", "i": "italic", "u": "underlined", "s": "struck"}.get(tag.strip("</>"))
    if name is None:
        return style
    value: Any = getattr(base, name) if tag.startswith("</") else True
    return style._replace(**{name: value})


def _rgb(name: str) -> Rgb | None:
    try:
        red, green, blue, *_ = ImageColor.getrgb(name)
    except ValueError:  # not a colour
        return None
    return red, green, blue


def _shown_characters(
    pieces: Sequence[tuple[str, TextStyle]], shown: Shown
) -> Iterator[tuple[str, TextStyle]]:
    # Of two spaces around a character that is not shown, the second one is left out.
    before, left_out = " ", False
    for piece, style in pieces:
        for character in piece:
            if character not in _BREAK_CONTROLS and not shown(character):
                left_out = True
            elif not (left_out and is_space(before) and is_space(character)):
                yield character, style
                before, left_out = character, False


def _with_narrow_quotes(text: str) -> str:
    # Narrow are those in a line without Chinese characters, and an apostrophe in a word of any
    # line.
    if not any(east_asian_width(character) in "WF" for character in text):
        return text.translate(_NARROW)
    return _APOSTROPHE.sub(lambda found: found[0].translate(_NARROW), text)


class _Paragraph:
    def __init__(
        self, pieces: Sequence[tuple[str, TextStyle]], advance: Advance, shown: Shown
    ) -> None:
        characters = list(_shown_characters(pieces, shown))
        text = "".join(character for character, _ in characters)
        self._text = _with_narrow_quotes(text)
        self._styles = [style for _, style in characters]
        self._widths = [
            0.0 if character in _BREAK_CONTROLS else advance(character) for character in self._text
        ]
        self._ends = [0.0, *accumulate(self._widths)]  # distance to the start of each character
        self._breaks = list(line_breaks(text))
        # For each index, the index after the last character before it that is not a space.
        self._solid_ends = [0]
        for index, character in enumerate(self._text, 1):
            self._solid_ends.append(self._solid_ends[-1] if is_space(character) else index)

    def lines(self, room: float) -> list[Line]:
        starts = self._filled(room)
        self._balance(starts, room)
        return [self._line(start, end) for start, end in pairwise([*starts, len(self._text)])]

    def _width(self, start: int, end: int) -> float:
        return max(0.0, self._ends[self._solid_ends[end]] - self._ends[start])

    def _filled(self, room: float) -> list[int]:
        starts, start, fits = [0], 0, 0
        for end in (*self._breaks, len(self._text)):
            if self._width(start, end) > room and fits > start:
                starts.append(start := fits)
            while self._width(start, end) > room and (cut := self._cut(start, room)) < end:
                starts.append(start := cut)
            fits = end
        return starts

    def _cut(self, start: int, room: float) -> int:
        end = max(start + 1, bisect_right(self._ends, self._ends[start] + room) - 1)
        while end > start + 1 and end < len(self._text) and is_combining(self._text[end]):
            end -= 1
        while end < len(self._text) and is_combining(self._text[end]):
            end += 1  # nothing but marks since the start of the line: they stay together
        return end

    def _balance(self, starts: list[int], room: float) -> None:
        """Move words to the next line as long as the widths of two lines become more similar."""
        changed = True
        while changed:
            changed = False
            for row in range(1, len(starts)):
                end = starts[row + 1] if row + 1 < len(starts) else len(self._text)
                while (start := self._break_before(starts[row])) > starts[row - 1]:
                    upper, lower = self._width(starts[row - 1], start), self._width(start, end)
                    difference = abs(
                        self._width(starts[row - 1], starts[row]) - self._width(starts[row], end)
                    )
                    if lower > room or abs(upper - lower) >= difference:
                        break
                    starts[row] = start
                    changed = True

    def _break_before(self, index: int) -> int:
        at = bisect_left(self._breaks, index) - 1
        return self._breaks[at] if at >= 0 else 0

    def _line(self, start: int, end: int) -> Line:
        end = max(start, self._solid_ends[end])
        runs: list[TextRun] = []
        for style, group in groupby(range(start, end), key=self._styles.__getitem__):
            places = list(group)
            first, last = places[0], places[-1] + 1
            text = self._text[first:last].replace(ZERO_WIDTH_SPACE, "").replace(WORD_JOINER, "")
            runs.append(TextRun(text, style, self._ends[last] - self._ends[first]))
        return tuple(runs)

"""Layout of the text of a cue: its tags become styles, and its lines are broken to fit a width.

Lines are as few as possible and then of similar width, with breaks after punctuation and between
words where that makes little difference. Breaks in Chinese, Japanese and Latin text follow a subset
of Unicode Standard Annex 14 and the Chinese and Japanese rules for marks. Thai is broken between
words, and Khmer, Lao and Burmese where the text has a space or U+200B.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple, Protocol, TypeAlias
from unicodedata import category, east_asian_width, is_normalized, normalize

from PIL import ImageColor

from cloudburst.media.subtitles import Word
from cloudburst.media.subtitles.cues import CLAUSE_ENDS, SENTENCE_ENDS
from cloudburst.media.subtitles.phrases import phrase_ends, thai_words
from cloudburst.renderer.bidi import begins_right

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
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Chinese or Japanese characters, which all have the same distance.
_EVENLY_SPACED = re.compile(f"{_CHINESE.pattern}|[\u3041-\u30ff]")
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")
_KANA = re.compile("[\u3041-\u30ff]")
# Chinese numerals and demonstratives, which are not torn from the word after them, and particles,
# which are not torn from the word before them.
_HOLD_NEXT = frozenset("一二两兩三四五六七八九十几幾每第这這那")
_HELD = frozenset("的了着著们們吗嗎呢吧")
# Characters with the property Default_Ignorable_Code_Point (Unicode 16), besides category Cf:
# fillers, variation selectors and tags.
_INVISIBLE = re.compile(
    "[\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u3164\\ufe00-\\ufe0f\\uffa0\\U000e0000-\\U000e0fff]"
)
# What a break costs in a line, as a share of the square of its width: between words, and within a
# word or a phrase. Breaks after punctuation cost nothing. A share of 0.04 is what a line costs
# whose width differs by 25 % from the one beside it.
_BREAK_COST = 0.04
_INNER_BREAK_COST = 0.16

# Space between Chinese or Japanese characters beside a word that grows, as a share of the space
# between words.
_EVEN_SPACE = 0.5

TAG = re.compile(r"(</?[a-z][^<>]*>)", re.IGNORECASE)
_FONT_COLOUR = re.compile(r"""<font\s(?:[^<>]*\s)?color\s*=\s*["']?([#\w]+)""", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# An apostrophe between letters that are as narrow as Latin ones.
_APOSTROPHE = re.compile(r"(?<=[^\W\u1100-\U0010ffff])[‘’](?=[^\W\u1100-\U0010ffff])")
# An ellipsis beside such a letter. In Chinese fonts, its dots are at half the height.
_NARROW_ELLIPSIS = re.compile(
    r"(?<=[^\W\u1100-\U0010ffff])…(?!…)|(?<!…)…(?=[^\W\u1100-\U0010ffff])"
)
# Red, green and blue, from 0 to 255.
Rgb: TypeAlias = tuple[int, int, int]


def is_space(character: str) -> bool:
    """Return whether a character is a space at which a line may be broken."""
    return (character.isspace() and character not in _NOT_BROKEN) or character == ZERO_WIDTH_SPACE


@cache
def is_combining(character: str) -> bool:
    """Return whether a character is drawn over the one before it."""
    return category(character) in _MARKS


@cache
def is_invisible(character: str) -> bool:
    """Return whether a character has no shape in any font, such as a joiner."""
    return category(character) == "Cf" or _INVISIBLE.match(character) is not None


def is_unspaced(character: str) -> bool:
    """Return whether a character is Thai, Lao, Burmese or Khmer: words have no spaces."""
    return _UNSPACED.match(character) is not None


def _is_torn(before: str, after: str) -> bool:
    return after in _HELD or (before in _HOLD_NEXT and after not in _HOLD_NEXT)


def text_face(text: str) -> str:
    """Return the field of `Font` for a text with kana or with hangul; empty for another one."""
    if _KANA.findall(text) not in ([], ["の"]):  # Chinese texts have it in place of 的
        return "japanese_face"
    return "korean_face" if _HANGUL.search(text) else ""


def main_face(texts: Iterable[str]) -> str:
    """Return the field of `Font` for most of the Chinese, Japanese and Korean texts."""
    found = Counter(text_face(text) for text in texts if any(map(_is_wide, text)))
    return max(found, key=found.__getitem__, default="") or "face"


def line_breaks(text: str) -> Iterator[int]:
    """Yield the indices of the characters before which the text may be broken."""
    words = {*thai_words(text)}
    for index in range(1, len(text)):
        earlier = text[index - 2] if index > 1 else ""
        ends_word = index in words and not (is_space(text[index]) or _holds_previous(text[index]))
        if ends_word or _may_break(earlier, text[index - 1], text[index]):
            yield index


def find_phrases(text: str) -> set[int]:
    """Return where the phrases of a Chinese or Japanese text end; others have none."""
    chinese = "".join(_CHINESE.findall(text))
    if _KANA.search(text):
        return {*phrase_ends(text, "japanese")}
    if not chinese:
        return set()
    language = "simplified_chinese"
    try:
        chinese.encode("gb2312")  # has the simplified characters
    except UnicodeEncodeError:
        language = "traditional_chinese"
    ends = {*phrase_ends(text, language)}
    return {at for at in ends if not _is_torn(text[at - 1], text[at : at + 1])}


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


class Glyph(NamedTuple):
    """Shape of a font that stands for one or more characters."""

    place: int
    """Index of the first of these characters in the text."""
    face: int
    """Number of the face in the chain of fonts."""
    number: int
    """Number of the glyph in the face."""
    character: str
    """Character that has this glyph where it stands alone, or an empty text."""
    advance: float
    """Distance to the next glyph, to the right."""
    across: float
    """Distance by which the shape is moved to the right."""
    up: float
    """Distance by which the shape is moved up."""


class Shaper(Protocol):
    """Fonts that shape text; the unit of widths is free."""

    def has_glyph(self, character: str) -> bool:
        """Return whether a character can be drawn; others are left out."""
        ...

    def shape(self, text: str, *, rtl: bool = False, face: str = "") -> list[Glyph]:
        """Return the glyphs of a line from left to right; ``rtl``: its text begins on the right."""
        ...


class TextRun(NamedTuple):
    """Glyphs of one style that stand side by side in a line."""

    glyphs: Sequence[Glyph]
    style: TextStyle
    width: float


Line: TypeAlias = tuple[TextRun, ...]


def line_width(line: Line) -> float:
    """Return the width of a line."""
    return sum(run.width for run in line)


def growth_room(lines: Iterable[Line]) -> float:
    """Return the share of the space between words into which a word in these lines may grow."""
    glyphs = (glyph for line in lines for run in line for glyph in run.glyphs)
    return _EVEN_SPACE if any(_EVENLY_SPACED.match(glyph.character) for glyph in glyphs) else 1.0


def layout(
    text: str,
    *,
    bold: bool,
    room: float,
    letters: Shaper,
    words: Sequence[Word] = (),
    word_spacing: float = 0.0,
) -> list[Line]:
    """Return the lines of a cue, each at most ``room`` wide unless one character is wider.

    The tags ``<i> <b> <u> <s>`` and ``<font color="…">`` set styles, and a closing tag returns to
    the style of text without tags. A colour is ``#rrggbb`` or a name of HTML. Other tags and
    control characters are removed. A word that is wider than a line is broken anywhere.
    ``word_spacing`` is added to spaces, and between timed ``words`` where the script has none; half
    of it between all Chinese and Japanese characters.
    """
    return [
        line
        for source in _styled_lines(text, TextStyle(bold=bold), words)
        for line in _Paragraph(source, letters, word_spacing).lines(room)
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
            for place, part in enumerate(TAG.split(line)):
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
    pieces: Sequence[tuple[str, TextStyle]], letters: Shaper
) -> Iterator[tuple[str, TextStyle]]:
    # Of two spaces around a character that is not shown, the second one is left out.
    before, left_out = " ", False
    for piece, style in pieces:
        for character in piece:
            if is_invisible(character):
                yield character, style
            elif not (character.isspace() or letters.has_glyph(character)):
                left_out = True
            elif not (left_out and is_space(before) and is_space(character)):
                yield character, style
                before, left_out = character, False


def _with_full_stops(
    characters: Sequence[tuple[str, TextStyle]],
) -> Iterator[tuple[str, TextStyle]]:
    text = "".join(character for character, _ in characters)
    found = re.finditer("…" if _is_narrow(text) else _NARROW_ELLIPSIS, text)
    places = {ellipsis.start() for ellipsis in found}
    for place, (character, style) in enumerate(characters):
        for shown in "..." if place in places else character:
            yield shown, style


def _is_narrow(text: str) -> bool:
    return not any(east_asian_width(character) in "WF" for character in text)


def _with_narrow_quotes(text: str) -> str:
    # Narrow are those in a line without Chinese characters, and an apostrophe in a word of any
    # line.
    if _is_narrow(text):
        return text.translate(_NARROW)
    return _APOSTROPHE.sub(lambda found: found[0].translate(_NARROW), text)


class _Paragraph:
    def __init__(
        self, pieces: Sequence[tuple[str, TextStyle]], letters: Shaper, word_spacing: float
    ) -> None:
        characters = list(_with_full_stops([*_shown_characters(pieces, letters)]))
        self._plain = "".join(character for character, _ in characters)
        self._text = _with_narrow_quotes(self._plain)
        self._styles = [style for _, style in characters]
        self._letters = letters
        self._word_spacing = word_spacing
        self._rtl = begins_right(self._plain)
        self._face = text_face(self._plain)
        self._glyphs = self._shaped(0, len(self._text))
        widths = [0.0] * len(self._text)
        for glyph in self._glyphs:
            widths[glyph.place] += glyph.advance
        self._ends = [0.0, *accumulate(widths)]  # distance to the start of each character
        # For each index, the index after the last character before it that is not a space.
        self._solid_ends = [0]
        for index, character in enumerate(self._text, 1):
            self._solid_ends.append(self._solid_ends[-1] if is_space(character) else index)

    def lines(self, room: float) -> list[Line]:
        end = len(self._text)
        starts = [0, end] if self._width(0, end) <= room else self._best_starts(room)
        return [self._line(start, end) for start, end in pairwise(starts)]

    def _shaped(self, start: int, end: int) -> list[Glyph]:
        glyphs = self._letters.shape(self._text[start:end], rtl=self._rtl, face=self._face)
        if self._word_spacing:
            places = [start + glyph.place for glyph in glyphs]
            for number, (place, following) in enumerate(pairwise((*places, start))):
                if share := self._space_after(place, following):
                    wider = glyphs[number].advance + share * self._word_spacing
                    glyphs[number] = glyphs[number]._replace(advance=wider)
        return glyphs

    def _space_after(self, place: int, following: int) -> float:
        """Return the share of the space between words that is added after the glyph at a place."""
        edge = self._plain[place] + self._plain[following]
        if edge[0].isspace() or edge[0] == ZERO_WIDTH_SPACE:
            return 1.0
        if not edge.isalnum():
            return 0.0
        if all(map(_EVENLY_SPACED.match, edge)):  # a space between two words only would be seen
            return _EVEN_SPACE
        is_end = self._styles[place].word != self._styles[following].word
        return float(is_end and any(_is_wide(each) or is_unspaced(each) for each in edge))

    def _width(self, start: int, end: int) -> float:
        return max(0.0, self._ends[self._solid_ends[end]] - self._ends[start])

    def _best_starts(self, room: float) -> list[int]:
        """Return the starts of the lines that cost least, and the end of the text."""
        clusters = sorted({glyph.place for glyph in self._glyphs})
        breaks = set(line_breaks(self._plain)).intersection(clusters)
        places = [0, *sorted(breaks), len(self._text)]
        for start, end in pairwise(tuple(places)):
            if self._width(start, end) > room:  # a word that must be broken somewhere
                places += [place for place in clusters if start < place < end]
        places.sort()
        phrases, total = find_phrases(self._plain), self._ends[-1]
        square = (total / math.ceil(total / room)) ** 2
        # For each place: number of lines before it, their cost, and the start of the last one.
        best, first = [(0, 0.0, 0)], 0
        for at, end in enumerate(places[1:], 1):
            while first < at - 1 and self._width(places[first], end) > room:
                first += 1
            extra = square * self._break_cost(end, breaks, phrases)
            found: list[tuple[int, float, int]] = []
            for start in range(first, at):
                lines, cost, _ = best[start]
                if lines > best[first][0]:
                    break
                # Of lines that cost the same, the upper ones are the wider ones.
                cost += self._width(places[start], end) ** 2 + extra
                found.append((lines + 1, round(cost, 3), -start))
            best.append(min(found))
        starts = [len(places) - 1]
        while starts[-1]:
            starts.append(-best[starts[-1]][2])
        return [places[start] for start in reversed(starts)]

    def _break_cost(self, place: int, breaks: set[int], phrases: set[int]) -> float:
        text, end = self._plain, self._solid_ends[place]
        is_inner = end == place and place not in phrases and _is_wide(text[place - 1])
        while end and _holds_previous(text[end - 1]) and text[end - 1] not in _NOT_FIRST:
            end -= 1  # a closing quotation mark
        if end and text[end - 1] in SENTENCE_ENDS + CLAUSE_ENDS:
            return 0.0
        return _INNER_BREAK_COST if is_inner or place not in breaks else _BREAK_COST

    def _line(self, start: int, end: int) -> Line:
        end = max(start, self._solid_ends[end])
        glyphs = self._glyphs
        if (start, end) != (0, len(self._text)):
            glyphs = self._shaped(start, end)
        runs: list[TextRun] = []
        for style, group in groupby(glyphs, key=lambda glyph: self._styles[start + glyph.place]):
            run = [*group]
            runs.append(TextRun(run, style, sum(glyph.advance for glyph in run)))
        return tuple(runs)

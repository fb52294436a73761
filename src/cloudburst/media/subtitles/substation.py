"""Reader of subtitle files in SubStation form (.ass, .ssa).

Text, times, alignment, styles, primary colours and the syllables of karaoke are read. What else is
ignored is named in the result, except comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cloudburst.media.subtitles.cue_text import CueText, escape
from cloudburst.media.subtitles.cues import (
    MAX_CHARACTERS,
    Cue,
    Subtitles,
    Word,
    check_number,
    collect,
    milliseconds,
)
from cloudburst.media.subtitles.overrides import Ignored, ignored_name, split_overrides

# Maximum number of styles in a file; a large file has dozens.
MAX_STYLES = 5_000

# Fields of a style, by the section, unless the section has a line ``Format:``.
_STYLE_FORMATS = {
    "[v4 styles]": (
        "name,fontname,fontsize,primarycolour,secondarycolour,tertiarycolour,backcolour,bold,"
        "italic,borderstyle,outline,shadow,alignment,marginl,marginr,marginv,alphalevel,encoding"
    ),
    "[v4+ styles]": (
        "name,fontname,fontsize,primarycolour,secondarycolour,outlinecolour,backcolour,bold,"
        "italic,underline,strikeout,scalex,scaley,spacing,angle,borderstyle,outline,shadow,"
        "alignment,marginl,marginr,marginv,encoding"
    ),
}
_EVENT_FORMAT = "layer,start,end,style,name,marginl,marginr,marginv,effect,text"
# Maximum number of fields in a line ``Format:``; there are 23.
_MAX_FIELDS = 100

_LINE = re.compile(r"\S[^\n]*")
_TIME = re.compile(r"\s*(-?)(\d{1,4}):(\d{1,2}):(\d{1,2})(?:[.:,](\d{1,3})\d*)?\s*")
_WHOLE_NUMBER = re.compile(r"\s*(-?\d{1,10})\s*")
_COLOUR = re.compile(r"\s*(?:&H([0-9a-f]{1,16})&?|(-?\d{1,10}))\s*", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_OVERRIDE = re.compile(
    r"(?P<switch>[ibus])\s*(?P<value>-?\d{0,4})"
    r"|1?c\s*&?H?(?P<colour>[0-9A-Fa-f]{0,16})&?"
    r"|an\s*(?P<keypad>[1-9])"
    r"|a\s*(?P<legacy>\d{1,2})"
    r"|p\s*(?P<drawing>\d{1,9})"
    r"|r(?P<style>.*)"
    r"|(?:k[fo]?|K)\s*(?P<syllable>\d{1,9})(?:\.\d*)?"
)
# Positions of a keypad, by the numbers that SubStation used first.
_LEGACY_POSITIONS = {1: 1, 2: 2, 3: 3, 5: 7, 6: 8, 7: 9, 9: 4, 10: 5, 11: 6}
# Alignment of a style for which text has the position that the render options set: nearly all
# files have it.
_USUAL_POSITION = 2
# Lowest weight of letters that are drawn as bold ones: that of a semi-bold font.
_MIN_BOLD = 600
_WHITE = "FFFFFF"

# Features of styles without effect on the video: name, fields, values that change nothing.
_IGNORED_STYLE_FIELDS = (
    ("font", ("fontname", "fontsize"), ()),
    ("outline", ("outlinecolour", "backcolour", "outline", "shadow", "borderstyle"), ()),
    ("scale", ("scalex", "scaley"), ("", "100")),
    ("spacing", ("spacing",), ("", "0")),
    ("angle", ("angle",), ("", "0")),
)


class _Look(NamedTuple):
    bold: bool = False
    italic: bool = False
    underlined: bool = False
    struck: bool = False
    colour: str = ""
    """Red, green and blue in hexadecimal; empty for the colour of text without tags."""

    def tags_after(self, other: _Look) -> str:
        """Return the tags that change another look to this one."""
        tags = [
            f"<{name}>" if self[place] else f"</{name}>"
            for place, name in enumerate("bius")
            if self[place] != other[place]
        ]
        if self.colour != other.colour:
            tags.append(f"<font color=#{self.colour}>" if self.colour else "</font>")
        return "".join(tags)


class _Style(NamedTuple):
    look: _Look = _Look()
    position: int | None = None
    ignored: tuple[str, ...] = ()
    """Names of its features that have no effect on the video."""


class _Dialogue(NamedTuple):
    """Line of dialogue before its override tags are read."""

    start: int
    end: int
    style: _Style
    text: str


def parse(text: str) -> Subtitles:
    """Return the content of a file in SubStation form."""
    reader = _Reader()
    cues = collect(reader.cues(text))
    return Subtitles(cues, tuple(reader.ignored))


class _Reader:
    def __init__(self) -> None:
        self.ignored: Ignored = {}
        self._styles: dict[str, _Style] = {}
        self._section = ""
        self._format: list[str] = []
        self._break = " "
        r"""Text for ``\n``: a space, or a newline if the file wraps no lines."""
        self._seen: dict[tuple[int, int], set[tuple[str, int | None]]] = {}

    def cues(self, text: str) -> Iterator[Cue]:
        """Yield the cues of the file."""
        for match in _LINE.finditer(text):
            line = match[0]
            if line.startswith("[") and "]" in line:
                self._begin_section(line)
                continue
            kind, _, value = line.partition(":")
            kind = kind.strip().lower()
            if self._section == "[script info]":
                if kind == "wrapstyle" and value.strip() == "2":
                    self._break = "\n"
            elif kind == "format" and self._format:
                self._format = _split(value, _MAX_FIELDS)
            elif kind == "style" and self._section in _STYLE_FORMATS:
                self._add_style(value)
            elif kind == "dialogue" and self._section == "[events]":
                yield from self._dialogue(value)

    def _begin_section(self, line: str) -> None:
        name = self._section = line[: line.index("]") + 1].lower()
        known = _EVENT_FORMAT if name == "[events]" else _STYLE_FORMATS.get(name, "")
        self._format = known.split(",") if known else []
        if name == "[fonts]":
            self.ignored["embedded fonts"] = None

    def _add_style(self, value: str) -> None:
        fields = dict(zip(self._format, value.split(",", _MAX_FIELDS), strict=False))
        name = fields.get("name", "").strip().lstrip("*")
        legacy = self._section == "[v4 styles]"
        self._styles[name] = _style_of(fields, legacy=legacy)
        check_number(len(self._styles), MAX_STYLES, "styles")

    def _style(self, name: str) -> _Style:
        name = name.strip().lstrip("*")
        return self._styles.get(name) or self._styles.get("Default") or _Style()

    def _dialogue(self, value: str) -> Iterator[Cue]:
        values = value.split(",", len(self._format) - 1)
        if len(values) < len(self._format):
            return
        fields = dict(zip(self._format, values, strict=False))
        start, end = (_milliseconds(fields.get(name, "")) for name in ("start", "end"))
        if start is None or end is None or start >= end:
            return
        line = _Dialogue(start, end, self._style(fields.get("style", "")), fields.get("text", ""))
        cue = _cue(line, self._styles, self._break, self.ignored)
        if cue.text and not self._is_repeated(cue):
            self.ignored |= dict.fromkeys(line.style.ignored)
            self._add_ignored_fields(fields)
            yield cue

    def _is_repeated(self, cue: Cue) -> bool:
        """Return whether the same text was there with the same times: layers of one picture."""
        known = self._seen.setdefault((cue.start, cue.end), set())
        text = _TAG.sub("", cue.text), cue.position
        if text in known:
            return True
        known.add(text)
        return False

    def _add_ignored_fields(self, fields: Mapping[str, str]) -> None:
        if any(_number(fields.get(f"margin{side}", "")) for side in "lrv"):
            self.ignored["margins of lines"] = None
        effect = fields.get("effect", "").strip().lower()
        for name in ("Banner", "Scroll"):
            if effect.startswith(name.lower()):
                self.ignored[f"effect {name}"] = None


def _cue(line: _Dialogue, styles: Mapping[str, _Style], soft_break: str, ignored: Ignored) -> Cue:
    converter = _Converter(line, styles, soft_break, ignored)
    text, words = converter.convert()
    if len(text) > MAX_CHARACTERS:  # mostly tags, as in a line with a colour for each letter
        plain = _Converter(line, styles, soft_break, ignored)
        text, words = plain.convert(tagged=False)
        if len(text) <= MAX_CHARACTERS:
            ignored["styles of lines with very many of them"] = None
    return Cue(line.start, line.end, text, converter.position or line.style.position, words)


class _Converter:
    def __init__(
        self, line: _Dialogue, styles: Mapping[str, _Style], soft_break: str, ignored: Ignored
    ) -> None:
        self.position = 0
        """Position that the line itself asks for; 0 for that of its style."""
        self._line = line
        self._styles = styles
        self._soft_break = soft_break
        self._ignored = ignored
        self._timed = CueText(line.start, line.end)
        self._look = line.style.look
        self._drawing = False
        self._sung = line.start
        """Time at which the next syllable begins, in milliseconds."""
        self._has_syllables = False

    def convert(self, *, tagged: bool = True) -> tuple[str, tuple[Word, ...]]:
        """Return the text, with or without tags, and the syllables."""
        raw, at, shown = self._line.text, 0, _Look()
        while at < len(raw):
            brace = raw.find("{", at)
            close = raw.find("}", brace) if brace >= 0 else -1
            piece = raw[at:brace] if close >= 0 else raw[at:]
            if piece and not self._drawing:
                if tagged and piece.strip():
                    self._timed.add_tag(self._look.tags_after(shown))
                    shown = self._look
                self._timed.add_text(self._visible(piece))
            if close < 0:  # a brace that is never closed is shown
                break
            for tag in split_overrides(raw[brace + 1 : close]):
                self._apply(tag)
            at = close + 1
        if self._has_syllables:
            self._timed.mark(self._sung)
        return self._timed.finish()

    def _visible(self, piece: str) -> str:
        first, *others = piece.replace("\\n", self._soft_break).split("\\N")
        if others:
            *middle, last = others
            lines = (first.rstrip(), *(line.strip() for line in middle), last.lstrip())
            first = "\n".join(lines)
        return escape(first.replace("\\h", "\u00a0"))

    def _apply(self, tag: str) -> None:
        match = _OVERRIDE.fullmatch(tag)
        if match is None:
            if name := ignored_name(tag):
                self._ignored[name] = None
            return
        style = self._line.style
        if (switch := match["switch"]) is not None:
            self._switch("bius".index(switch), match["value"])
        elif (digits := match["colour"]) is not None:
            colour = _rgb(int(digits, 16)) if digits else style.look.colour
            self._look = self._look._replace(colour=colour)
        elif (name := match["style"]) is not None:
            self._look = self._styles.get(name.strip(), style).look
        elif (duration := match["syllable"]) is not None:
            self._timed.mark(self._sung)
            self._sung += int(duration) * 10
            self._has_syllables = True
        elif (scale := match["drawing"]) is not None:
            self._drawing = int(scale) > 0
            if self._drawing:
                self._ignored["drawings"] = None
        else:
            legacy = _LEGACY_POSITIONS.get(int(match["legacy"] or 0), 0)
            self.position = self.position or int(match["keypad"] or legacy)

    def _switch(self, place: int, value: str) -> None:
        number = _number(value)
        bold = place == 0
        on = abs(number) == 1 or number >= _MIN_BOLD if bold else number != 0
        if value in {"", "-"}:
            on = bool(self._line.style.look[place])
        look = list(self._look)
        look[place] = on
        self._look = _Look._make(look)


def _split(value: str, count: int) -> list[str]:
    return [name.strip().lower() for name in value.split(",", count)[:count]]


def _style_of(fields: Mapping[str, str], *, legacy: bool) -> _Style:
    colour = _COLOUR.fullmatch(fields.get("primarycolour", ""))
    rgb = _WHITE
    if colour is not None:
        rgb = _rgb(int(colour[1], 16) if colour[1] else int(colour[2]))
    flags = ("bold", "italic", "underline", "strikeout")
    # White is what players show by default: the text then has the colour of the options.
    colours = ("" if rgb == _WHITE else rgb,)
    look = _Look._make((*(_number(fields.get(name, "")) != 0 for name in flags), *colours))
    number = _number(fields.get("alignment", ""))
    position = _LEGACY_POSITIONS.get(number, 0) if legacy else number
    ignored = tuple(
        f"style {name}"
        for name, columns, neutral in _IGNORED_STYLE_FIELDS
        if any(column in fields and fields[column].strip() not in neutral for column in columns)
    )
    return _Style(
        look, position if 1 <= position <= 9 and position != _USUAL_POSITION else None, ignored
    )


def _number(text: str) -> int:
    match = _WHOLE_NUMBER.fullmatch(text)
    return int(match[1]) if match else 0


def _rgb(value: int) -> str:
    """Return red, green and blue in hexadecimal; ``value`` has blue in its higher bits."""
    return f"{value & 255:02X}{value >> 8 & 255:02X}{value >> 16 & 255:02X}"


def _milliseconds(text: str) -> int | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    minus, *parts = match.groups()
    return 0 if minus else milliseconds(parts)

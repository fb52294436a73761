"""Render options for subtitles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_validator,
)

from cloudburst.models.locations import HttpsUrl, Location, S3Object, parse_location
from cloudburst.models.options.values import (
    COLOUR,
    POSITIONS,
    AssColour,
    Colour,
    Position,
    split_list,
)
from cloudburst.text import short_repr

Language: TypeAlias = Literal["chinese", "english"]
HighlightMode: TypeAlias = Literal["none", "color", "box", "grow"]
Animation: TypeAlias = Literal["none", "pop"]
CaptionName: TypeAlias = Literal["classic", "karaoke", "pop"]

_CLASSIC = {
    "background_box": True,
    "bold": None,
    "outline_width": 0.0,
    "box_radius": 0.25,
    "shadow_blur": 0.0,
    "shadow_color": "#00000080",
    "words_at_once": 0,
    "highlight": "none",
    "animation": "none",
}
_KARAOKE = _CLASSIC | {
    "background_box": False,
    "bold": True,
    "outline_width": 0.03,
    "shadow_blur": 0.15,
    "shadow_color": "#000000c0",
    "highlight": "box",
}
_POP = _KARAOKE | {
    "outline_width": 0.09,
    "words_at_once": 3,
    "highlight": "grow",
    "animation": "pop",
}
# Options that each name of ``caption`` stands for: always the same ones, so that the caption of a
# scene replaces all that the one of the run has set.
CAPTIONS: Mapping[CaptionName, Mapping[str, Any]] = {
    "classic": _CLASSIC,
    "karaoke": _KARAOKE,
    "pop": _POP,
}

_F = TypeVar("_F")

# Families of the font of the package: shapes of characters for simplified Chinese, for
# traditional Chinese in Taiwan and in Hong Kong, for Japanese and for Korean.
FontFamily: TypeAlias = Literal[
    "Noto Sans CJK SC",
    "Noto Sans CJK TC",
    "Noto Sans CJK HK",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
]
# Family that follows the fonts of the option ``font`` if no family is among them.
DEFAULT_FAMILY: FontFamily = "Noto Sans CJK SC"
# Largest number of fonts that the option ``font`` names.
MAX_FONTS = 4
_FONTS = (
    f"{', '.join(get_args(FontFamily))}, or the path or URL of a .ttf, .otf or .ttc file; or up to "
    f"{MAX_FONTS} of these; installed fonts are found by themselves"
)
_FONT_SUFFIXES = frozenset((".ttf", ".otf", ".ttc"))


def is_font_path(text: str) -> bool:
    """Return whether a value of the option ``font`` is the path or URL of a file, not a family."""
    return "/" in text or "\\" in text or PurePath(text).suffix.lower() in _FONT_SUFFIXES


def split_fonts(value: Any) -> list[Any]:
    """Return the fonts in a value of the option ``font``, whose text separates them by commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(cast("Iterable[Any]", value)) if isinstance(value, list | tuple) else [value]


def font_roles(fonts: Iterable[_F]) -> dict[str, _F]:
    """Return fonts by their roles: ``font``, ``font-2``, ``font-3``..."""
    return {f"font-{place}" if place > 1 else "font": at for place, at in enumerate(fonts, 1)}


def _parse_fonts(value: Any) -> Any:
    fonts = tuple(map(_parse_font, split_fonts(value)))
    if len(fonts) > MAX_FONTS:
        msg = f"{len(fonts)} fonts; expected at most {MAX_FONTS}"
        raise ValueError(msg)
    return fonts[0] if len(fonts) == 1 else fonts or None


def _fonts_in_json(fonts: Any, serialize: SerializerFunctionWrapHandler) -> Any:
    # A text would be read as several fonts if the location of the only one has a comma.
    text = serialize(fonts)
    return [text] if isinstance(text, str) and "," in text else text


def _parse_font(value: Any) -> Any:
    if isinstance(value, str) and is_font_path(value):
        return parse_location(value)
    if value in (None, *get_args(FontFamily)) or isinstance(value, PurePath | S3Object | HttpsUrl):
        return value
    msg = f"{short_repr(value)}; expected {_FONTS}"
    raise ValueError(msg)


# Distance as a share of the width or height of the video.
Margin: TypeAlias = Annotated[float, Field(ge=0, le=0.4)]
# Distance as a share of the height of a line.
Padding: TypeAlias = Annotated[float, Field(ge=0, le=2)]


class SubtitleOptions(BaseModel):
    """Look of the subtitles."""

    caption: CaptionName | None = Field(default=None, description="classic, karaoke or pop")
    """Named look: ``classic`` is a sentence in a rounded box, ``karaoke`` a sentence whose spoken
    word has a box, and ``pop`` a few large words at a time, of which the spoken one is larger. It
    stands for the options of `CAPTIONS`, each of which can be given beside it and then has the
    given value. ``None``: the options alone decide."""
    language: Language = Field(default="chinese", description="chinese or english")
    """Subtitle style: ``chinese`` is bold, ``english`` is not, unless `bold` is given. Both styles
    can show Chinese characters and Latin letters."""
    bold: bool | None = Field(default=None, description="true or false")
    """True for bold letters. ``None``: as `language` says."""
    uppercase: bool = Field(default=False, description="true or false")
    """True for capital letters, also in title cards."""
    background_box: bool = Field(default=True, description="true or false")
    """True for a box behind the subtitles, false for an outline around the letters."""
    background_opacity: float = Field(
        default=0.2, ge=0, le=1, description="a number from 0 (black) to 1 (no box)"
    )
    """*Transparency* of the box, despite the name, which is that of the public image: 0 is solid
    black; 1 is no box but an outline around the letters."""
    font: Annotated[
        tuple[FontFamily | Location, ...] | FontFamily | Location | None,
        BeforeValidator(_parse_fonts),
        # Not a serializer of the field: its value would no longer count as the default.
        WrapSerializer(_fonts_in_json, when_used="json"),
    ] = Field(default=None, description=_FONTS)
    """Font of the subtitles: Noto Sans CJK SC, TC, HK, JP or KR (`FontFamily`), or the location of
    a TrueType or OpenType file of up to 32 MB; or up to four of these, in a text separated by
    commas. Each character is drawn with
    the first font that has it, and the first one decides the height of the lines. Then follow Noto
    Sans CJK SC, if no family is given, and fonts of this machine for characters that all of these
    lack. Of a collection, the first font is used; of a variable font, its default. A text is a
    location if it has a slash, or the suffix ``.ttf``, ``.otf`` or ``.ttc``. ``None``: Noto Sans
    CJK SC, whose Japanese and Korean texts have the shapes of JP and KR."""
    font_size: int | None = Field(
        default=None, ge=8, le=200, description="a whole number from 8 to 200"
    )
    """Height of a subtitle line, from 8 to 200; by default 20 in landscape, 84 in portrait and
    square, or 36 and 132 with `words_at_once`. The unit is that of the public image: 1/288 of the
    height of a landscape video (20 is 75 of 1080 pixels), and 1/1080 of the width of a portrait or
    square video."""
    text_color: Colour = Field(default="#ffffff", description=COLOUR)
    """Colour of the letters. The tag ``<font color>`` replaces the colour, not the opacity."""
    outline_color: AssColour = Field(
        default="&H00000000",
        description="a colour such as #000000, or &HAABBGGRR such as &H00000000",
    )
    """Colour of the outline around letters: ``#rrggbb``, ``#rrggbbaa``, or in the notation of ASS,
    ``&HAABBGGRR`` (alpha 00 is opaque), which is the value of the option."""
    outline_width: float | None = Field(
        default=None, ge=0, le=0.2, description="a number from 0 to 0.2"
    )
    """Width of the outline around letters, as a share of the height of a line, from 0 to 0.2; with
    a box, the outline is drawn on it. ``None``: 0.06 without a box, no outline with a box."""
    shadow: float = Field(default=0.0, ge=0, le=0.2, description="a number from 0 to 0.2")
    """Distance to the right and down of the shadow of the letters and their outline, as a share of
    the height of a line, from 0 to 0.2; 0 for no shadow."""
    shadow_blur: float = Field(default=0.0, ge=0, le=0.5, description="a number from 0 to 0.5")
    """Width of the soft edge of the shadow, as a share of the height of a line, from 0 to 0.5. A
    shadow without distance is then a glow around the letters."""
    shadow_color: Colour = Field(default="#00000080", description=COLOUR)
    """Colour of the shadow, by default half transparent black."""
    box_color: Colour = Field(default="#000000", description=COLOUR)
    """Colour of the box behind the subtitles. With eight digits, the last two are the opacity of
    the box, and `background_opacity` has no effect."""
    box_padding: Annotated[tuple[Padding, Padding], BeforeValidator(split_list)] = Field(
        default=(0.32, 0.1), description="two numbers from 0 to 2, across and down"
    )
    """Distance from the text to the edges of its box, across and down, as shares of the height of a
    line, from 0 to 2."""
    box_radius: float = Field(default=0.0, ge=0, le=1, description="a number from 0 to 1")
    """Radius of the corners of boxes, also of that of the spoken word, as a share of the height of
    a line, from 0 to 1. A box is at most rounded to half circles."""
    subtitle_position: Position = Field(default="bottom", description=f"one of {POSITIONS}")
    """Place of cues that have no position of their own."""
    subtitle_margin: Annotated[tuple[Margin, Margin], BeforeValidator(split_list)] | None = Field(
        default=None, description="two numbers from 0 to 0.4, across and down"
    )
    """Distance from the text to the edges of the picture: left and right as a share of the video's
    width, then top and bottom as a share of its height, from 0 to 0.4. ``None``: 0.08 and 0.09 in
    landscape, 0.08 and up to 0.18 in portrait; with `words_at_once`, up to 0.12 and 0.25 there."""
    subtitle_width: float | None = Field(
        default=None, ge=0.2, le=1, description="a number from 0.2 to 1"
    )
    """Maximum width of the text, as a share of the video's width, from 0.2 to 1; longer lines are
    broken. ``None``: the width between the margins."""
    subtitle_lines: int = Field(default=2, ge=0, le=10, description="a whole number from 0 to 10")
    """Number of lines of the parts into which a long text is divided, which are shown one after the
    other, from 1 to 10; 0: no text is divided. A text that takes one line more is not divided if
    there is room. The parts end at the ends of sentences, at commas, or between words, at the times
    of the words if they are known and in proportion to the letters otherwise."""
    words_at_once: int = Field(default=0, ge=0, le=10, description="a whole number from 0 to 10")
    """Number of words that are shown at a time, from 1 to 10, of which two Chinese or Japanese
    characters count as one; 0: whole sentences. A part ends early at punctuation, and if it would
    take more than `subtitle_lines`."""
    animation: Animation = Field(default="none", description="none or pop")
    """``pop``: each text grows into its place in the first eighth of a second."""
    highlight: HighlightMode = Field(default="none", description="none, color, box or grow")
    """Look of the word that is spoken at the moment, in subtitles with the times of words:
    ``color`` draws it in another colour, ``box`` draws a box behind it, ``grow`` draws it larger
    and in another colour, and ``none`` does not change it."""
    highlight_color: Colour | None = Field(default=None, description=COLOUR)
    """Colour of the highlighted word, or of the box behind it. ``None``: yellow for ``color``
    and ``grow``, blue for ``box``."""

    @model_validator(mode="before")
    @classmethod
    def _options_of_caption(cls, data: Any) -> Any:
        # They count as given from here on, so that each way to store options keeps them.
        if isinstance(data, dict):
            options = cast("dict[str, Any]", data)
            for name, of_caption in CAPTIONS.items():
                if options.get("caption") == name:
                    return {**of_caption, **options}
        return cast("Any", data)

"""Shaping and drawing of lines of text with a chain of fonts, at one size, on a mask.

HarfBuzz selects and places the glyphs of every text, and FreeType, which is part of Pillow, draws
them.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageStat, PngImagePlugin

from cloudburst.media.font_tables import EXPECTED_FONT
from cloudburst.renderer.bidi import directions
from cloudburst.renderer.fonts import Font, font_tables
from cloudburst.renderer.job import FONT, SUBTITLE, InputFaultError
from cloudburst.renderer.text_layout import (
    NARROW_QUOTES,
    Glyph,
    Line,
    TextRun,
    is_combining,
    is_invisible,
)

# Width by which bold letters grow on each side, in em: Chinese characters of Noto Sans CJK Regular
# are then as dark as those of its Bold. Characters of many strokes, whose ink then takes more than
# a share of the square of the em, grow less, so that the space between the strokes stays open.
BOLD_STROKE, DENSE_BOLD_STROKE = 1 / 64, 1 / 96
_DENSE_INK = 0.56
# Horizontal shift of italic letters for each pixel above the baseline. FreeType's value, 12°.
ITALIC_SHEAR = 0.2125

# Samples of a mask for each pixel of the picture, in both directions. Pillow draws letters at
# whole samples only, so letters are at most a quarter of a pixel from their place.
SAMPLES = 2

# Largest total size of the kept shapes of letters. At the default size it holds about 570 bold
# Chinese characters with their outlines, or 1,400 without. Without kept shapes, a text takes three
# to four times as much CPU time.
MAX_GLYPH_BYTES = 16_000_000

# Samples around the area that Pillow announces for a letter; it is rounded.
_GLYPH_MARGIN = 2
# Largest width of a glyph, distance by which it is moved, and distance between the edges of its
# shape, in em. The widest characters of usual fonts, such as U+FDFD, have about 10.
_MAX_EMS = 16
# Largest number of glyphs of a text: for each of its characters, and in addition. HarfBuzz itself
# stops at 64 for each character, or at 16,384 in all.
_MAX_GLYPHS_PER_CHARACTER, _MORE_GLYPHS = 8, 1000
# Number of samples that a shape may have on each side in any size of letters: in tiny letters,
# shapes are much larger than their size.
_MIN_MAX_SIDE = 256
# Largest side of a picture of a font, and in samples of the video. Noto's emoji have 136.
_MAX_PICTURE_SIDE = 2048
# Bytes of memory that a kept shape takes besides its samples.
_GLYPH_OVERHEAD = 500

# First of the characters, for private use, that stand for the glyphs of a face in their order.
_FIRST_NUMBERED = 0xF0000
# Characters whose glyphs often stand for other ones: those of ligatures, and mirrored brackets.
_SUBSTITUTES = " ﬀﬁﬂﬃﬄ()[]{}<>«»"
_QUOTES = {ord(narrow): quote for narrow, quote in NARROW_QUOTES.items()}


# Fields of `Font` with its faces.
_FACES = ("face", "narrow_quotes_face", "japanese_face", "korean_face")


class _Shape(NamedTuple):
    mask: Image.Image | None
    """Shape without margins, or a picture in RGBA; ``None`` for one that draws nothing, such as a
    space."""
    left: int = 0
    """From the start of the glyph to the mask, to the right."""
    top: int = 0
    """From the baseline to the mask, downwards."""

    @property
    def size(self) -> int:
        """Memory that the shape takes, in bytes."""
        if self.mask is None:
            return _GLYPH_OVERHEAD
        return _GLYPH_OVERHEAD + self.mask.width * self.mask.height * len(self.mask.getbands())


_NOTHING = _Shape(None)


class _Face:
    """Face of a font file; ``size`` is that of its em in samples."""

    def __init__(self, path: Path, index: int, size: float) -> None:
        self._path, self._index, self._size = path, index, size
        self._has: dict[str, bool] = {}

    @cached_property
    def shaper(self) -> Any:
        hb = _harfbuzz()
        return hb.Font(hb.Face(hb.Blob.from_file_path(str(self._path)), self._index))

    @cached_property
    def by_character(self) -> ImageFont.FreeTypeFont:
        return self._opened(str(self._path))

    @cached_property
    def by_number(self) -> ImageFont.FreeTypeFont:
        """The face with a character map from `_FIRST_NUMBERED` on to all of its glyphs."""
        # Pillow draws characters only. The copy takes as much memory as the file, and few texts in
        # scripts of separate letters need it.
        data = bytearray(self._path.read_bytes())
        count = self.shaper.face.glyph_count
        group = struct.pack(">3I", _FIRST_NUMBERED, _FIRST_NUMBERED + count - 1, 0)
        table = struct.pack(">HHHHI", 0, 1, 3, 10, 12) + struct.pack(">HH3I", 12, 0, 28, 0, 1)
        is_collection = data.startswith(b"ttcf")
        at = struct.unpack_from(">I", data, 12 + 4 * self._index)[0] if is_collection else 0
        entry = data.index(b"cmap", at + 12)
        struct.pack_into(">2I", data, entry + 8, len(data), len(table + group))
        return self._opened(io.BytesIO(data + table + group))

    def _opened(self, file: Any) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(
            file, self._size, self._index, layout_engine=ImageFont.Layout.BASIC
        )

    @cached_property
    def is_coloured(self) -> bool:
        """True if glyphs are pictures, as those of emoji, or have colours."""
        face = self.shaper.face
        return bool(face.has_color_png or face.has_color_layers or face.has_color_paint)

    def picture(self, glyph: int) -> _Shape | None:
        """Return the picture of a glyph of such a face; ``None``: it has the colour of the text."""
        face, extents = self.shaper.face, self.shaper.get_glyph_extents(glyph)
        scale = self._size / face.upem
        sides = [round(number * scale) for number in extents or (0,) * 4]
        if face.has_color_png:
            data = self.shaper.get_glyph_color_png(glyph).data
            return _png_shape(glyph, data, sides) if data and extents else _NOTHING
        if not (face.glyph_has_color_paint(glyph) or face.get_glyph_color_layers(glyph)):
            return None
        _check_sides(glyph, sides)
        paint = _harfbuzz().RasterPaint()
        paint.foreground = _harfbuzz().Color(255, 255, 255, 255)  # the usual colour of the text
        paint.transform = scale, 0, 0, scale, 0, 0
        paint.set_glyph_extents(extents)
        paint.paint_glyph(self.shaper, glyph)
        if (painted := paint.render()) is None:
            return _NOTHING
        left, bottom, width, height, stride = painted.extents
        data = painted.buffer
        picture = Image.frombytes("RGBA", (width, height), data, "raw", "BGRa", stride, -1)
        return _Shape(picture, left, -bottom - height)

    def has(self, characters: str) -> bool:
        if characters not in self._has:
            # A face of emoji has no pictures of digits and spaces.
            is_emoji = self.is_coloured and self.shaper.get_nominal_glyph(ord("A")) is None
            is_drawn = not (is_emoji and characters.strip().isascii())
            glyphs = (self.shaper.get_nominal_glyph(ord(each)) for each in characters)
            self._has[characters] = is_drawn and None not in glyphs
        return self._has[characters]


class Letters:
    """Chain of fonts at one size, which shapes and draws text. Sizes are in pixels.

    A character is drawn with the first font that has it. All fonts have the em of the first one,
    and its line. ``usual_face`` is the field of `Font` for lines without kana and hangul.
    """

    def __init__(self, fonts: Sequence[Font], line_height: float, usual_face: str = "face") -> None:
        self._usual_face = usual_face
        sizes, *others = (font_tables(font.path, font.face).metrics for font in fonts)
        scale = line_height / (sizes.ascender + sizes.descender)
        self.em = sizes.units_per_em * scale
        self.ascender = sizes.ascender * scale
        # Some fonts, such as those in Nastaliq, are higher and deeper than the line of the first.
        heights = (max(one.ascender, one.descender) / one.units_per_em for one in others)
        self._excess = self.em * max(heights, default=0.0)
        self._underline = sizes.underline_centre * scale, sizes.underline_height * scale
        self._strike = -sizes.strike_centre * scale, sizes.strike_height * scale
        # After the faces of all fonts, those of each other field in the same order.
        self._fonts = len(fonts)
        self._faces = [
            _Face(font.path, getattr(font, name), self.em * SAMPLES)
            for name in _FACES
            for font in fonts
        ]
        self._shapes: dict[tuple[int, int, float], _Shape] = {}
        self._shape_bytes = 0
        self._bold_strokes: dict[tuple[int, int], float] = {}

    def has_glyph(self, character: str) -> bool:
        """Return whether a font can draw a character."""
        return any(face.has(character) for face in self._faces[: self._fonts])

    def shape(self, text: str, *, rtl: bool = False, face: str = "") -> list[Glyph]:
        """Return the glyphs of a line of text, from left to right.

        `NARROW_QUOTES` are characters of the text. ``rtl`` is true if the text begins on the right.
        ``face`` is what `text_face` returns for its paragraph.

        Raises:
            InputFaultError: The rules of a font take far more work or glyphs than usual, or give a
                glyph an extreme width or place.
        """
        written = text.translate(_QUOTES)
        keys = self._keys(text, face or self._usual_face)
        glyphs: list[Glyph] = []
        for first, end, backwards in directions(written, rtl=rtl):
            parts = [[*part] for _, part in groupby(range(first, end), key=keys.__getitem__)]
            for part in reversed(parts) if backwards else parts:
                glyphs += self._shaped(written, part, *keys[part[0]], rtl=backwards)
        if len(glyphs) > _MAX_GLYPHS_PER_CHARACTER * len(text) + _MORE_GLYPHS:
            raise _fault(f"its rules make {len(glyphs)} glyphs of {len(text)} characters")
        return glyphs

    def _keys(self, text: str, usual: str) -> list[tuple[int, str]]:
        """Return the number of the face and the script of each character."""
        # Spaces and punctuation belong to the script before them, or after them if they are first.
        script = next((found for each in text if (found := _script(each))), "")
        keys: list[tuple[int, str]] = []
        for start, end in _clusters(text):
            script = _script(text[start]) or script
            follows = keys and text[start].isspace() and self._faces[keys[-1][0]].has(text[start])
            face = keys[-1][0] if follows else self._face(text[start:end], usual)
            keys += [(face, script)] * (end - start)
        return keys

    def _face(self, cluster: str, usual: str) -> int:
        """Return the number of the first face that has all characters, or at least the first."""
        fonts = self._fonts
        name = "narrow_quotes_face" if cluster[0] in NARROW_QUOTES else usual
        offset = fonts * _FACES.index(name)
        visible = "".join(each for each in cluster if not is_invisible(each)).translate(_QUOTES)
        numbers: Iterable[int] = range(fonts)
        if "\ufe0f" in cluster:  # asks for a picture
            numbers = sorted(numbers, key=lambda number: not self._faces[number].is_coloured)
        for wanted in (visible, visible[:1]):
            for number in numbers:
                if self._faces[number].has(wanted):
                    return number + offset
        return offset

    def _shaped(
        self, text: str, part: Sequence[int], face: int, script: str, *, rtl: bool
    ) -> Iterator[Glyph]:
        shaper = self._faces[face].shaper
        buffer = _harfbuzz().Buffer()
        buffer.add_str(text, part[0], len(part))  # the rest of the text decides how letters join
        buffer.direction = "rtl" if rtl else "ltr"
        buffer.script = script or "Zyyy"
        # In the package's font, the forms for no language replace digits.
        try:
            _harfbuzz().shape(shaper, buffer, {"locl": False})
        except MemoryError:  # a limit for the work and the glyphs that a font may ask for
            raise _fault(f"its rules take too much work for {len(part)} characters") from None
        scale = self.em / shaper.face.upem
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            if not info.codepoint:  # the box for a mark that this font does not have
                continue
            sizes = position.x_advance, position.x_offset, position.y_offset
            advance, across, up = (size * scale for size in sizes)
            if max(abs(advance), abs(across), abs(up)) > _MAX_EMS * self.em:
                found = f"glyph {info.codepoint} is wide, or moved, by more than {_MAX_EMS} em"
                raise _fault(found)
            number = info.codepoint
            names = text[info.cluster] + _SUBSTITUTES
            name = next((one for one in names if shaper.get_nominal_glyph(ord(one)) == number), "")
            if not name and shaper.get_glyph_extents(number) == (0, 0, 0, 0):
                name = " "  # such as the wider space in Korean text
            yield Glyph(info.cluster, face, number, name, advance, across, up)

    def check(self, lines: Iterable[Line], outline: float, *, bold: bool) -> None:
        """Draw each glyph once, to find errors of a font file before the video is begun.

        Raises:
            OSError: FreeType cannot draw a glyph.
            ValueError: A glyph is extremely large.
        """
        glyphs = (glyph for line in lines for run in line for glyph in run.glyphs)
        for glyph in {(each.face, each.number): each for each in glyphs}.values():
            for growth in {0.0, outline}:
                self._drawn(glyph, self._stroke(glyph, growth, bold=bold))

    def overhang(self, outline: float) -> float:
        """Return the distance that letters may extend beyond their line."""
        return outline + self.em * (BOLD_STROKE + ITALIC_SHEAR) + self._excess

    def draw(self, mask: Image.Image, line: Line, x: float, baseline: int, outline: float) -> None:
        """Draw a line, whose left end is at ``x``, on a mask with `SAMPLES` samples for each pixel.

        A mask in RGBA gets the pictures of the line, and one in L all other glyphs.
        Letters grow by ``outline`` on each side. The baseline is a whole number of pixels, which
        keeps horizontal strokes sharp.
        """
        for run in line:
            if not run.style.italic or mask.mode != "L":
                self._draw_run(mask, run, x, baseline, outline)
            elif run.glyphs:
                self._draw_italic(mask, run, x, baseline, outline)
            x += run.width

    def _draw_run(
        self, mask: Image.Image, run: TextRun, x: float, baseline: int, outline: float
    ) -> None:
        end = x
        for glyph in run.glyphs:
            shape = self._drawn(glyph, self._stroke(glyph, outline, bold=run.style.bold))
            if shape.mask is not None and shape.mask.mode == mask.mode:
                across, up = round((end + glyph.across) * SAMPLES), round(glyph.up * SAMPLES)
                place = across + shape.left, baseline * SAMPLES - up + shape.top
                mask.paste(255 if mask.mode == "L" else shape.mask, place, shape.mask)
            end += glyph.advance
        marks = (run.style.underlined, self._underline), (run.style.struck, self._strike)
        for centre, height in (place for drawn, place in marks if drawn and mask.mode == "L"):
            top = baseline + centre - height / 2 - outline
            edges = (x - outline, top, end + outline, top + height + 2 * outline)
            left, top, right, bottom = (round(edge * SAMPLES) for edge in edges)
            mask.paste(255, (left, top, right, max(bottom, top + 1)))

    def _stroke(self, glyph: Glyph, outline: float, *, bold: bool) -> float:
        """Return the number of samples by which a glyph grows on each side."""
        if not bold:
            return _stroke_samples(outline)
        key = glyph.face, glyph.number
        if key not in self._bold_strokes:
            mask = self._drawn(glyph, _stroke_samples(self.em * BOLD_STROKE)).mask
            ink = 0.0 if mask is None else ImageStat.Stat(mask).sum[0] / 255
            is_dense = ink > _DENSE_INK * (self.em * SAMPLES) ** 2
            self._bold_strokes[key] = self.em * (DENSE_BOLD_STROKE if is_dense else BOLD_STROKE)
        return _stroke_samples(outline + self._bold_strokes[key])

    def _drawn(self, glyph: Glyph, stroke: float) -> _Shape:
        """Return the shape of a glyph; those used last are kept, up to a total size."""
        key = glyph.face, glyph.number, stroke
        shape = self._shapes.pop(key, None)
        if shape is None:
            shape = self._new_shape(glyph, stroke)
            self._shape_bytes += shape.size
            while self._shape_bytes > MAX_GLYPH_BYTES and self._shapes:
                oldest = self._shapes.pop(next(iter(self._shapes)))
                self._shape_bytes -= oldest.size
        self._shapes[key] = shape  # the last one in the order of the dictionary
        return shape

    def _new_shape(self, glyph: Glyph, stroke: float) -> _Shape:
        face = self._faces[glyph.face]
        if face.is_coloured and (picture := face.picture(glyph.number)) is not None:
            return picture
        font = face.by_character if glyph.character else face.by_number
        side = max(_MIN_MAX_SIDE, _MAX_EMS * self.em * SAMPLES)
        return _drawn(font, glyph.character or chr(_FIRST_NUMBERED + glyph.number), stroke, side)

    def has_pictures(self, lines: Iterable[Line]) -> bool:
        """Return whether lines have glyphs that are pictures."""
        glyphs = (glyph for line in lines for run in line for glyph in run.glyphs)
        return any(self._faces[glyph.face].is_coloured for glyph in glyphs)

    def _draw_italic(
        self, mask: Image.Image, run: TextRun, x: float, baseline: int, outline: float
    ) -> None:
        """Draw a run upright on a strip, shear the strip along the baseline, and paste it."""
        margin = self.overhang(outline) + self.em
        left = max(0, int(x - margin))
        right = min(mask.width // SAMPLES, int(x + run.width + margin))
        if left >= right:
            return
        strip = Image.new("L", ((right - left) * SAMPLES, mask.height))
        self._draw_run(strip, run, x - left, baseline, outline)
        sheared = strip.transform(
            strip.size,
            Image.Transform.AFFINE,
            (1, ITALIC_SHEAR, -ITALIC_SHEAR * baseline * SAMPLES, 0, 1, 0),
            Image.Resampling.BILINEAR,
        )
        mask.paste(255, (left * SAMPLES, 0), sheared)


@contextmanager
def translated_errors() -> Generator[None]:
    """Raise errors of a block that draws text as faults of the subtitles."""
    try:
        yield
    except (OSError, ValueError, OverflowError, MemoryError) as error:  # of a font, or Pillow
        raise InputFaultError(
            SUBTITLE, f"text that cannot be drawn: {error}", "text that the font can draw"
        ) from error


def _drawn(font: ImageFont.FreeTypeFont, character: str, stroke: float, max_side: float) -> _Shape:
    """Return the shape of a character; raise `ValueError` if a side has more than these samples."""
    left, top, right, bottom = (
        round(edge) for edge in font.getbbox(character, anchor="ls", stroke_width=stroke)
    )
    size = right - left + 2 * _GLYPH_MARGIN, bottom - top + 2 * _GLYPH_MARGIN
    if max(size) > max_side + 2 * stroke + 2 * _GLYPH_MARGIN:
        msg = f"U+{ord(character):04X} has a shape of more than {_MAX_EMS} em"
        raise ValueError(msg)
    left, top = left - _GLYPH_MARGIN, top - _GLYPH_MARGIN
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text((-left, -top), character, 255, font, "ls", stroke_width=stroke)
    ink = mask.getbbox()
    return _NOTHING if ink is None else _Shape(mask.crop(ink), left + ink[0], top + ink[1])


def _png_shape(glyph: int, data: bytes, extents: Sequence[int]) -> _Shape:
    left, top, width, height = extents
    try:
        # Not `Image.open`, whose own limit raises an error that is not a `ValueError`.
        picture = PngImagePlugin.PngImageFile(io.BytesIO(data))
        _check_sides(glyph, (*extents, *picture.size))
        size = max(1, width), max(1, -height)
        return _Shape(picture.convert("RGBA").resize(size, Image.Resampling.BOX), left, -top)
    except (SyntaxError, EOFError, IndexError, struct.error) as error:  # of a broken picture
        raise ValueError(str(error)) from error


def _check_sides(glyph: int, sides: Sequence[int]) -> None:
    if max(map(abs, sides)) > _MAX_PICTURE_SIDE:
        raise ValueError(f"glyph {glyph} has a picture of {'x'.join(map(str, sides[-2:]))}")


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each character with the marks and joiners after it."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or not (_continues(text[place]) or text[place - 1] == "\u200d"):
            yield start, place
            start = place


def _fault(found: str) -> InputFaultError:
    return InputFaultError(FONT, f"a font that cannot be drawn: {found}", EXPECTED_FONT)


@cache
def _harfbuzz() -> Any:
    return import_module("uharfbuzz")  # 10 ms, and a video without text does not need it


@cache
def _continues(character: str) -> bool:
    return is_combining(character) or is_invisible(character)


@cache
def _script(character: str) -> str:
    """Return the script of a character, such as ``Arab``; empty for a space or a comma."""
    buffer = _harfbuzz().Buffer()
    buffer.add_codepoints([ord(character)])
    buffer.guess_segment_properties()
    return str(buffer.script or "")


def _stroke_samples(pixels: float) -> float:
    """Return the nearest stroke width in samples that Pillow draws correctly."""
    # For widths with a fraction from 0 to 0.5, Pillow 13 cuts the lowest row of samples off or
    # moves the letter by one sample.
    width = pixels * SAMPLES
    whole = math.floor(width)
    if not 0 < width - whole <= 0.5:
        return width
    return float(whole) if width - whole < 0.25 else whole + 0.51

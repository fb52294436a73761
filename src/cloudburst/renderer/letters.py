"""Drawing of lines of text with one font, at one size, on a mask."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from cloudburst.media.font_tables import FontTables
from cloudburst.renderer.fonts import Font, font_tables
from cloudburst.renderer.text_layout import NARROW_QUOTES, Line, TextRun

# Width by which bold letters grow on each side, in em; libass makes letters bold like this.
BOLD_STROKE = 1 / 128
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
# Largest width, and largest distance between the edges of a shape, in em. The widest characters of
# usual fonts, such as U+FDFD, have about 10.
_MAX_EMS = 16
# Number of samples that a shape may have on each side in any size of letters: in tiny letters,
# shapes are much larger than their size.
_MIN_MAX_SIDE = 256
# Bytes of memory that a kept shape takes besides its samples.
_GLYPH_OVERHEAD = 500


class _Glyph(NamedTuple):
    mask: Image.Image | None
    """Shape without margins; ``None`` for one that draws nothing, such as a space."""
    left: int = 0
    """From the start of the letter to the mask, to the right."""
    top: int = 0
    """From the baseline to the mask, downwards."""

    @property
    def size(self) -> int:
        """Memory that the shape takes, in bytes."""
        samples = 0 if self.mask is None else self.mask.width * self.mask.height
        return _GLYPH_OVERHEAD + samples


_NOTHING = _Glyph(None)


class Letters:
    """Font at one size, which measures and draws text. Sizes are in pixels."""

    # Widths are those of the font's tables. There is no kerning and no reordering, so text has the
    # same layout on every machine: Pillow's Raqm layout needs the system's libfribidi, which many
    # machines do not have.

    def __init__(self, font: Font, line_height: float) -> None:
        self._tables = font_tables(font.path, font.face)
        self._file = font
        sizes = self._tables.metrics
        scale = line_height / (sizes.ascender + sizes.descender)
        self.em = sizes.units_per_em * scale
        self.ascender = sizes.ascender * scale
        self._underline = sizes.underline_centre * scale, sizes.underline_height * scale
        self._strike = -sizes.strike_centre * scale, sizes.strike_height * scale
        self._glyphs: dict[tuple[str, float], _Glyph] = {}
        self._glyph_bytes = 0
        self._widths: dict[str, float] = {}  # at most one for each character of Unicode

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont:
        return self._opened(self._file.face)

    @cached_property
    def _quotes_font(self) -> ImageFont.FreeTypeFont:
        return self._opened(self._file.narrow_quotes_face)

    @cached_property
    def _quotes_tables(self) -> FontTables:
        return font_tables(self._file.path, self._file.narrow_quotes_face)

    def _opened(self, index: int) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(
            self._file.path, self.em * SAMPLES, index, layout_engine=ImageFont.Layout.BASIC
        )

    def has_glyph(self, character: str) -> bool:
        """Return whether the font can draw a character."""
        return self._tables.has_glyph(character)

    def advance(self, character: str) -> float:
        """Return the width of a character, or of one of `NARROW_QUOTES`.

        Spaces that the font lacks are as wide as a space.
        """
        width = self._widths.get(character)
        if width is None:
            if quote := NARROW_QUOTES.get(character):
                width = self._quotes_tables.advance(quote) * self.em
            else:
                known = self.has_glyph(character) or not character.isspace()
                width = self._tables.advance(character if known else " ") * self.em
            self._widths[character] = width
        return width

    def check(self, characters: Iterable[str], outline: float, *, bold: bool) -> None:
        """Draw characters once, to find errors of a font file before the video is begun.

        Raises:
            OSError: FreeType cannot draw a character.
            ValueError: A character is extremely large.
        """
        grown = self.em * BOLD_STROKE if bold else 0.0
        strokes = {_stroke_samples(grown), _stroke_samples(grown + outline)}
        for character in characters:
            if self.advance(character) > _MAX_EMS * self.em:
                msg = f"U+{ord(character):04X} is more than {_MAX_EMS} em wide"
                raise ValueError(msg)
            for stroke in strokes:
                self._glyph(character, stroke)

    def overhang(self, outline: float) -> float:
        """Return the distance that letters may extend beyond their line."""
        return outline + self.em * (BOLD_STROKE + ITALIC_SHEAR)

    def draw(self, mask: Image.Image, line: Line, x: float, baseline: int, outline: float) -> None:
        """Draw a line, whose left end is at ``x``, on a mask with `SAMPLES` samples for each pixel.

        Letters grow by ``outline`` on each side. The baseline is a whole number of pixels, which
        keeps horizontal strokes sharp.
        """
        for run in line:
            if not run.style.italic:
                self._draw_run(mask, run, x, baseline, outline)
            elif run.text:
                self._draw_italic(mask, run, x, baseline, outline)
            x += run.width

    def _draw_run(
        self, mask: Image.Image, run: TextRun, x: float, baseline: int, outline: float
    ) -> None:
        stroke = _stroke_samples(outline + (self.em * BOLD_STROKE if run.style.bold else 0))
        end = x
        for character in run.text:
            glyph = self._glyph(character, stroke)
            if glyph.mask is not None:
                place = round(end * SAMPLES) + glyph.left, baseline * SAMPLES + glyph.top
                mask.paste(255, place, glyph.mask)
            end += self.advance(character)
        marks = (run.style.underlined, self._underline), (run.style.struck, self._strike)
        for centre, height in (place for drawn, place in marks if drawn):
            top = baseline + centre - height / 2 - outline
            edges = (x - outline, top, end + outline, top + height + 2 * outline)
            left, top, right, bottom = (round(edge * SAMPLES) for edge in edges)
            mask.paste(255, (left, top, right, max(bottom, top + 1)))

    def _glyph(self, character: str, stroke: float) -> _Glyph:
        """Return the shape of a character; those used last are kept, up to a total size."""
        key = character, stroke
        glyph = self._glyphs.pop(key, None)
        if glyph is None:
            quote = NARROW_QUOTES.get(character)
            font = self._quotes_font if quote else self._font
            side = max(_MIN_MAX_SIDE, _MAX_EMS * self.em * SAMPLES)
            glyph = _drawn(font, quote or character, stroke, side)
            self._glyph_bytes += glyph.size
            while self._glyph_bytes > MAX_GLYPH_BYTES and self._glyphs:
                oldest = self._glyphs.pop(next(iter(self._glyphs)))
                self._glyph_bytes -= oldest.size
        self._glyphs[key] = glyph  # the last one in the order of the dictionary
        return glyph

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


def _drawn(font: ImageFont.FreeTypeFont, character: str, stroke: float, max_side: float) -> _Glyph:
    """Return the shape of a character; raise `ValueError` if a side has more than these samples."""
    if character.isspace():
        return _NOTHING
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
    return _NOTHING if ink is None else _Glyph(mask.crop(ink), left + ink[0], top + ink[1])


def _stroke_samples(pixels: float) -> float:
    """Return the nearest stroke width in samples that Pillow draws correctly."""
    # For widths with a fraction from 0 to 0.5, Pillow 13 cuts the lowest row of samples off or
    # moves the letter by one sample.
    width = pixels * SAMPLES
    whole = math.floor(width)
    if not 0 < width - whole <= 0.5:
        return width
    return float(whole) if width - whole < 0.25 else whole + 0.51

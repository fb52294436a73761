"""Drawing of lines of text with one font, at one size, on a mask."""

from __future__ import annotations

from functools import cached_property

from PIL import Image, ImageDraw, ImageFont

from cloudburst.renderer.font_tables import FontTables
from cloudburst.renderer.fonts import Font
from cloudburst.renderer.text_layout import Line, Run

BOLD_STROKE = 1 / 128
"""Width by which bold letters grow on each side, in em; libass makes letters bold like this."""
ITALIC_SHEAR = 0.2125
"""Horizontal shift of italic letters for each pixel above the baseline. FreeType's value, 12°."""

_QUOTES = frozenset("“”‘’")


class Letters:
    """Font at one size, which measures and draws text. Sizes are in pixels.

    Widths are those of the font's tables. There is no kerning and no reordering, so text has the
    same layout on every machine: Pillow's Raqm layout needs the system's libfribidi, which many
    machines do not have. The present renderer has no kerning, either.
    """

    def __init__(self, font: Font, line_height: float, *, narrow_quotes: bool = False) -> None:
        """Open a font; ``line_height`` is its ascender plus its descender.

        Raises:
            ConfigurationError: the font cannot be read.
        """
        self._tables = FontTables(font.path, font.face)
        self._file = font
        self._narrow: FontTables | None = None
        if narrow_quotes and font.narrow_quotes_face != font.face:
            self._narrow = FontTables(font.path, font.narrow_quotes_face)
        sizes = self._tables.metrics
        scale = line_height / (sizes.ascender + sizes.descender)
        self.em = sizes.units_per_em * scale
        self.ascender = sizes.ascender * scale
        self._underline = sizes.underline_centre * scale, sizes.underline_height * scale
        self._widths: dict[str, float] = {}  # at most one for each character of Unicode

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont:
        return self._opened(self._file.face)

    @cached_property
    def _quotes_font(self) -> ImageFont.FreeTypeFont:
        return self._opened(self._file.narrow_quotes_face)

    def _opened(self, index: int) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(
            self._file.path, self.em, index, layout_engine=ImageFont.Layout.BASIC
        )

    def has_glyph(self, character: str) -> bool:
        """Return whether the font can draw a character."""
        return self._tables.glyph(character) != 0

    def advance(self, character: str) -> float:
        """Return the width of a character; spaces that the font lacks are as wide as a space."""
        width = self._widths.get(character)
        if width is None:
            narrow = self._narrow if character in _QUOTES else None
            known = self.has_glyph(character) or not character.isspace()
            width = (narrow or self._tables).advance(character if known else " ") * self.em
            self._widths[character] = width
        return width

    def overhang(self, outline: float) -> float:
        """Return the distance that letters may extend beyond their line, on each side."""
        return outline + self.em * (BOLD_STROKE + ITALIC_SHEAR)

    def draw(self, mask: Image.Image, line: Line, x: float, baseline: int, outline: float) -> None:
        """Draw a line on a mask of mode "L", whose left end is at ``x``.

        Letters grow by ``outline`` on each side. The baseline is a whole number, which keeps
        horizontal strokes sharp.
        """
        for run in line:
            if not run.style.italic:
                self._draw_run(mask, run, x, baseline, outline)
            elif run.text:
                self._draw_italic(mask, run, x, baseline, outline)
            x += run.width

    def _draw_run(
        self, mask: Image.Image, run: Run, x: float, baseline: int, outline: float
    ) -> None:
        draw = ImageDraw.Draw(mask)
        stroke = outline + (self.em * BOLD_STROKE if run.style.bold else 0)
        quotes = self._narrow is not None
        end = x
        for character in run.text:
            if not character.isspace():
                # Pillow draws single letters at fractions of a pixel, but lines with widths that
                # are rounded to pixels.
                font = self._quotes_font if quotes and character in _QUOTES else self._font
                draw.text((end, baseline), character, 255, font, "ls", stroke_width=stroke)
            end += self.advance(character)
        if run.style.underlined:
            centre, height = self._underline
            top, bottom = (
                round(baseline + centre - height / 2 - outline),
                round(baseline + centre + height / 2 + outline),
            )
            mask.paste(255, (round(x - outline), top, round(end + outline), max(bottom, top + 1)))

    def _draw_italic(
        self, mask: Image.Image, run: Run, x: float, baseline: int, outline: float
    ) -> None:
        """Draw a run upright on a strip, shear the strip along the baseline, and paste it."""
        margin = int(self.overhang(outline) + self.em)
        left, right = max(0, int(x) - margin), min(mask.width, int(x + run.width) + margin)
        if left >= right:
            return
        strip = Image.new("L", (right - left, mask.height))
        self._draw_run(strip, run, x - left, baseline, outline)
        sheared = strip.transform(
            strip.size,
            Image.Transform.AFFINE,
            (1, ITALIC_SHEAR, -ITALIC_SHEAR * baseline, 0, 1, 0),
            Image.Resampling.BILINEAR,
        )
        mask.paste(255, (left, 0), sheared)

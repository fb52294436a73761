"""Drawing of subtitles: the cues that are shown at the same time become layers of a frame.

Their places are those of libass: a new cue is moved until it overlaps no other one, upwards at the
bottom of the picture and downwards elsewhere, and then keeps its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFilter

from cloudburst.media.font_tables import EXPECTED_FONT
from cloudburst.media.subtitles import Cue
from cloudburst.media.subtitles.cues import timestamp
from cloudburst.renderer import text_layout
from cloudburst.renderer.cue_division import divide_cues
from cloudburst.renderer.fonts import Font
from cloudburst.renderer.job import FONT, SUBTITLE, InputFaultError
from cloudburst.renderer.letters import SAMPLES, Letters, translated_errors
from cloudburst.renderer.missing_glyphs import characters_of, check_characters, left_out
from cloudburst.renderer.planes import (
    Layer,
    Yuv,
    bt709,
    even_area,
    layer_from_mask,
    layer_from_picture,
    scaled_layer,
)
from cloudburst.renderer.subtitle_style import (
    EXPECTED_ROOM,
    WORD_BOX_INSET_SHARE,
    WORD_BOX_OUTLINES,
    WORD_BOX_PADDING_SHARE,
    Highlight,
    SubtitleStyle,
)
from cloudburst.renderer.text_layout import Line, Rgb, TextRun, TextStyle, layout, line_width

# Overlap in pixels that is caused by the rounding of sums.
_TOLERANCE = 0.01
# Maximum number of colours of the letters of a cue, including the default one. Each colour takes a
# mask of the size of the cue while it is drawn. Letters in further colours have the colour of the
# last one.
MAX_COLOURS = 8
# Largest growth of the current word, in proportion. A long word grows by the space around it only:
# otherwise it would cover its neighbours.
MAX_GROWTH = 0.15
# Largest height of a line, in pixels, in which the characters of a job's font file are drawn to
# check it. It is the default height in 1080p, in which 3,500 Chinese characters with outlines take
# 1.7 CPU seconds.
CHECK_HEIGHT = 75


class CueArea(NamedTuple):
    """Area of the picture, in pixels; it may extend beyond it."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: CueArea) -> bool:
        """Return whether two areas have more than an edge in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom - _TOLERANCE
            and other.top < self.bottom - _TOLERANCE
        )

    def moved(self, down: float) -> CueArea:
        """Return the rectangle at another height."""
        return self._replace(top=self.top + down, bottom=self.bottom + down)


def aligned(
    position: int, block: tuple[float, float], canvas: tuple[int, int], side: int, edge: int
) -> CueArea:
    """Return the default place of a block of text of this size on a canvas of this size.

    ``position`` is that of `Cue.position`, ``side`` and ``edge`` are margins. A block that is too
    large extends into its margin, and beyond the picture only if it is larger than the picture.
    """
    row, column = divmod(position - 1, 3)
    (width, height), (canvas_width, canvas_height) = block, canvas
    left = (
        min(side, max(0.0, canvas_width - width)),
        (canvas_width - width) / 2,
        max(0.0, canvas_width - side - width),
    )[column]
    top = (
        max(min(0.0, canvas_height - height), canvas_height - edge - height),
        (canvas_height - height) / 2,
        min(edge, max(0.0, canvas_height - height)),
    )[row]
    return CueArea(left, top, left + width, top + height)


def free_place(wanted: CueArea, taken: Iterable[CueArea], *, downwards: bool) -> CueArea:
    """Return the area, moved up or down until it overlaps none of those that are taken."""
    order = sorted(taken, key=lambda other: other.top if downwards else -other.bottom)
    place = wanted
    for other in order:
        if place.overlaps(other):
            place = place.moved(other.bottom - place.top if downwards else other.top - place.bottom)
    return place


class _TextBlock(NamedTuple):
    lines: list[Line]
    area: CueArea
    column: int
    """Alignment of the lines: 0 left, 1 centre, 2 right."""


class _PlacedCue:
    def __init__(self, block: _TextBlock, place: CueArea) -> None:
        self.block = block
        self.place = place
        """Area that no other cue may overlap: the text, with its outline and shadow."""
        self.layers: tuple[Layer, ...] | None = None
        self.word = -1
        """Word that is highlighted in the layers; -1 for none."""


class SubtitlePainter:
    """Painter of the subtitles of one video.

    It keeps only what the last painted state shows, so its memory does not grow with the video.
    ``drawn`` are the cues that the video shows; ``None``: all of them. Cues keep off ``mark``, the
    area of the watermark, if there is room beside it.

    Raises `InvalidInputError` if the cues are divided into too many parts.
    """

    def __init__(
        self,
        cues: Sequence[Cue],
        style: SubtitleStyle,
        fonts: Sequence[Font],
        width: int,
        height: int,
        *,
        drawn: Iterable[Cue] | None = None,
        mark: CueArea | None = None,
    ) -> None:
        self._drawn = [*(cues if drawn is None else drawn)]
        self._characters = characters_of(self._drawn)
        self._style = style
        self._canvas = width, height
        self._fonts = fonts
        self._letters = Letters(fonts, style.size, text_layout.main_face(cue.text for cue in cues))
        self._marks = [] if mark is None else [_grown(mark, *style.padding)]
        self._placed: dict[int, _PlacedCue | None] = {}
        """Cues of the last state; ``None`` for cues without anything to draw."""
        room = max(1, int(height / style.size))
        with translated_errors():
            self.cues = divide_cues(
                cues,
                lambda cue: len(self._lines(cue)),
                lines=min(style.lines, room),
                more=min(style.lines + 1, room),
                words_at_once=style.words_at_once,
            )
        """Cues as they are shown: long ones are divided."""

    def left_out(self) -> list[str]:
        """Return the symbols for which no font has a glyph.

        Raises `InvalidInputError` if a letter has none.
        """
        check_characters(self._characters, self._letters.has_glyph)
        return left_out(self._characters, self._letters.has_glyph)

    def check_font(self) -> None:
        """Draw each glyph of the cues once, to find errors of a job's font file."""
        # Large letters are drawn in a smaller size, so that the time depends on the number of
        # glyphs only. Raises `InputFaultError` for one that cannot be drawn.
        style, letters = self._style, self._letters
        scale = min(1.0, CHECK_HEIGHT / style.size)
        if scale < 1:
            letters = Letters(self._fonts, CHECK_HEIGHT)
        room = math.inf
        try:
            lines = [
                line
                for cue in self._drawn
                for line in layout(cue.text, bold=style.bold, room=room, letters=letters)
            ]
            letters.check(lines, style.outline * scale, bold=style.bold)
        except (OSError, ValueError, OverflowError) as error:  # of FreeType or Pillow
            raise InputFaultError(
                FONT, f"a font that cannot be drawn: {error}", EXPECTED_FONT
            ) from error

    def paint(
        self, shown: Sequence[int], words: Sequence[int] = (), scales: Sequence[float] = ()
    ) -> list[Layer]:
        """Return the layers of the cues with these indices, in the order in which to blend them.

        Call it for the states of a video in order: a cue that the state before showed keeps its
        place, and new cues are stacked around it. Raises `InputFaultError` if the text cannot be
        drawn, or would leave the picture.
        """
        self.place(shown)
        layers: list[Layer] = []
        states = zip(
            self._placed.values(),
            words or [-1] * len(shown),
            scales or [1.0] * len(shown),
            strict=True,
        )
        with translated_errors():
            for placed, word, scale in states:
                if placed is None:
                    continue
                if placed.layers is None or placed.word != word:
                    placed.layers, placed.word = tuple(self._layers(placed.block, word)), word
                layers += self._scaled(placed.layers, scale, placed.block.area)
        return layers

    def place(self, shown: Sequence[int]) -> None:
        """Find the places of the cues of a state, without drawing them, in a tenth of the time.

        Use it to catch up with earlier states from which cues are still shown.
        """
        before = self._placed
        self._placed = {index: before[index] for index in shown if index in before}
        with translated_errors():
            for index in shown:
                if index not in before:
                    self._placed[index] = self._place_cue(self.cues[index])
        self._placed = {index: self._placed[index] for index in shown}

    def _lines(self, cue: Cue) -> list[Line]:
        return layout(
            cue.text,
            bold=self._style.bold,
            room=self._style.room,
            letters=self._letters,
            words=() if self._style.highlight is None else cue.words,
            word_spacing=self._style.word_spacing,
        )

    def _place_cue(self, cue: Cue) -> _PlacedCue | None:
        style = self._style
        lines = self._lines(cue)
        width = max(map(line_width, lines))
        if width <= 0:
            return None
        position = cue.position or style.position
        size = width, style.size * len(lines)
        text = aligned(position, size, self._canvas, style.side, style.bottom)
        wanted = _with_shadow(_grown(text, style.outline, style.outline), style.shadow)
        taken = [placed.place for placed in self._placed.values() if placed is not None]
        downwards = position > 3
        # Behind or before the watermark if there is room, else where it would be without one.
        for marks, down in (
            (self._marks, downwards),
            (self._marks, not downwards),
            ([], downwards),
        ):
            place = free_place(wanted, [*taken, *marks], downwards=down)
            area = text.moved(place.top - wanted.top)
            if self._is_inside(area):
                return _PlacedCue(_TextBlock(lines, area, (position - 1) % 3), place)
        found = f"text that would leave the picture at {timestamp(cue.start)}: {len(lines)} lines"
        raise InputFaultError(
            SUBTITLE,
            f"{found} of {style.size:.0f} pixels, beside {len(taken)} other cues",
            EXPECTED_ROOM,
        )

    def _is_inside(self, area: CueArea) -> bool:
        edges = zip(area, (*self._canvas, *self._canvas), strict=True)
        return all(-_TOLERANCE < edge < size + _TOLERANCE for edge, size in edges)

    def _layers(self, block: _TextBlock, word: int) -> Iterator[Layer]:
        drawn: list[Layer | None] = []
        if self._style.box_opacity:
            box = _grown(block.area, *self._style.padding)
            drawn.append(self._box(box, self._style.box_colour, self._style.box_opacity))
        highlight = self._style.highlight if word >= 0 else None
        areas = [] if highlight is None else list(self._word_areas(block, word))
        if highlight is None or highlight.mode != "grow" or len(areas) != 1:
            drawn += self._lettering(block, word, highlight)
        else:  # a word in one line
            others, current = (
                _only(block, lambda style: style.word == word, value=value)
                for value in (False, True)
            )
            room = text_layout.growth_room(current.lines) * self._style.word_spacing
            most = 2 * room / max(1.0, areas[0].right - areas[0].left)
            grown = filter(None, self._lettering(current, word, highlight))
            layers = [*self._scaled(grown, 1 + min(MAX_GROWTH, most), areas[0])]
            drawn += [*layers[:-1], *self._lettering(others), *layers[-1:]]
        return filter(None, drawn)

    def _lettering(
        self, block: _TextBlock, word: int = -1, highlight: Highlight | None = None
    ) -> Iterator[Layer | None]:
        """Yield the shadow, the outline and the letters, with the highlight of a word."""
        style = self._style
        coloured = None if highlight is None or highlight.mode == "box" else highlight
        # Outline and shadow must not show through transparent letters.
        is_clear = style.text_opacity < 255 or bool(coloured and coloured.opacity < 255)
        clear = block if is_clear else None
        if (style.shadow or style.shadow_blur) and style.shadow_opacity:
            shifted = block._replace(area=_shifted(block.area, style.shadow))
            colour, opacity = style.shadow_colour, style.shadow_opacity
            yield self._letter_layer(
                shifted, style.outline, colour, opacity, blur=style.shadow_blur, without=clear
            )
        if highlight is not None and coloured is None:
            for area in self._word_areas(block, word):
                padding = WORD_BOX_PADDING_SHARE * style.size
                box = _grown(area, max(padding, WORD_BOX_OUTLINES * style.outline), style.outline)
                box = box._replace(top=box.top + WORD_BOX_INSET_SHARE * style.size)
                yield self._box(box, highlight.colour, highlight.opacity)
        if style.outline and style.outline_opacity:
            colour, opacity = style.outline_colour, style.outline_opacity
            yield self._letter_layer(block, style.outline, colour, opacity, without=clear)
        others = block
        if coloured is not None:
            others = _only(block, lambda style: style.word == word, value=False)
        for rgb, part in _by_colour(others):
            colour = style.text_colour if rgb is None else bt709(*rgb)
            yield self._letter_layer(part, 0.0, colour, style.text_opacity)
        if coloured is not None:
            current = _only(block, lambda style: style.word == word, value=True)
            yield self._letter_layer(current, 0.0, coloured.colour, coloured.opacity)
        if self._letters.has_pictures(block.lines):
            yield self._letter_layer(block, 0.0, None, 255)

    def _word_areas(self, block: _TextBlock, word: int) -> Iterator[CueArea]:
        """Yield the area of a word in each line that has a part of it."""
        for row, line in enumerate(block.lines):
            ends = [0.0, *accumulate(run.width for run in line)]
            parts = [place for place, run in enumerate(line) if run.style.word == word]
            if parts:
                x, y = _line_left(block, line), block.area.top + row * self._style.size
                left, right = x + ends[parts[0]], x + ends[parts[-1] + 1]
                yield CueArea(left, y, right, y + self._style.size)

    def _box(self, box: CueArea, colour: Yuv, opacity: int) -> Layer | None:
        left, top, right, bottom = area = even_area(box, self._canvas)
        if left >= right or top >= bottom:
            return None
        mask = Image.new("L", ((right - left) * SAMPLES, (bottom - top) * SAMPLES))
        corners = (
            *((math.floor(box.left) - left) * SAMPLES, (math.floor(box.top) - top) * SAMPLES),
            *(
                (math.ceil(box.right) - left) * SAMPLES - 1,
                (math.ceil(box.bottom) - top) * SAMPLES - 1,
            ),
        )
        ImageDraw.Draw(mask).rounded_rectangle(corners, self._style.radius * SAMPLES, opacity)
        return layer_from_mask(mask.reduce(SAMPLES), *area[:2], colour)

    def _scaled(self, layers: Iterable[Layer], scale: float, area: CueArea) -> Iterator[Layer]:
        if scale == 1:
            return iter(layers)
        centre = (area.left + area.right) / 2, (area.top + area.bottom) / 2
        return filter(None, (scaled_layer(each, scale, centre, self._canvas) for each in layers))

    def _letter_layer(
        self,
        block: _TextBlock,
        outline: float,
        colour: Yuv | None,
        opacity: int,
        *,
        blur: float = 0.0,
        without: _TextBlock | None = None,
    ) -> Layer | None:
        """Return a layer of letters, grown by the outline, except where others are.

        Without a colour, it is that of the pictures among the letters, such as emoji.
        """
        overhang = self._letters.overhang(outline) + blur
        left, top, right, bottom = even_area(_grown(block.area, overhang, overhang), self._canvas)
        if left >= right or top >= bottom:
            return None
        if colour is None:
            pictures = self._samples(block, (left, top, right, bottom), outline, "RGBA")
            return layer_from_picture(pictures.reduce(SAMPLES), left, top)
        mask = self._samples(block, (left, top, right, bottom), outline).reduce(SAMPLES)
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur / 2))
        if without is not None:
            letters = self._samples(without, (left, top, right, bottom), 0.0)
            mask.paste(0, (0, 0), letters.reduce(SAMPLES))
        if opacity < 255:
            mask = mask.point([value * opacity // 255 for value in range(256)])
        return layer_from_mask(mask, left, top, colour)

    def _samples(
        self, block: _TextBlock, area: tuple[int, int, int, int], outline: float, mode: str = "L"
    ) -> Image.Image:
        text, (left, top, right, bottom) = block.area, area
        samples = Image.new(mode, ((right - left) * SAMPLES, (bottom - top) * SAMPLES))
        for row, line in enumerate(block.lines):
            y = text.top + row * self._style.size
            baseline = round(y + self._letters.ascender) - top
            x = _line_left(block, line)
            self._letters.draw(samples, line, x - left, baseline, outline)
        return samples


def _by_colour(block: _TextBlock) -> Iterator[tuple[Rgb | None, _TextBlock]]:
    """Yield the colours of a block, each with the block without the letters of other colours."""
    found = dict.fromkeys(run.style.colour for line in block.lines for run in line)
    if len(found) == 1:
        yield next(iter(found)), block
        return
    places = {colour: min(place, MAX_COLOURS - 1) for place, colour in enumerate(found)}
    for place, colour in enumerate(list(found)[:MAX_COLOURS]):
        yield colour, _only(block, lambda style: places[style.colour], value=place)


def _only(block: _TextBlock, key: Callable[[TextStyle], int], *, value: int) -> _TextBlock:
    """Return a block with the letters whose style has this value; the others leave their space."""
    lines = [
        tuple(
            run if key(run.style) == value else TextRun((), TextStyle(), run.width) for run in line
        )
        for line in block.lines
    ]
    return block._replace(lines=lines)


def _line_left(block: _TextBlock, line: Line) -> float:
    space = block.area.right - block.area.left - line_width(line)
    return block.area.left + (0.0, space / 2, space)[block.column]


def _grown(area: CueArea, across: float, down: float) -> CueArea:
    return CueArea(area.left - across, area.top - down, area.right + across, area.bottom + down)


def _shifted(area: CueArea, distance: float) -> CueArea:
    return CueArea(*(edge + distance for edge in area))


def _with_shadow(area: CueArea, distance: float) -> CueArea:
    return area._replace(right=area.right + distance, bottom=area.bottom + distance)

"""Every render option with a value other than its default, in each form in which it may be given.

`tests/test_option_ways.py` requires an entry for each option.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cloudburst.models.video_format import Effect


class Option(NamedTuple):
    """A value of an option, other than its default, in each form in which it may be given."""

    value: Any
    """Value in Python and JSON."""
    flags: tuple[str, ...]
    """Words of the command line."""
    result: Any = None
    """Value of the field, if it is not equal to ``value``; of a path its name only."""
    text: str = ""
    """Text in CSV, if it is not ``str(value)``."""

    @property
    def cell(self) -> str:
        """Text in CSV."""
        return self.text or str(self.value)


OPTIONS: Mapping[str, Option] = {
    "size": Option("4k", ("--size", "4k")),
    "fps": Option(50, ("--fps", "50")),
    "is_portrait": Option(True, ("--portrait",)),
    "fit": Option("contain", ("--fit", "contain")),
    "backdrop": Option("#102030", ("--backdrop", "#102030")),
    "focus": Option([0.25, 1], ("--focus", "0.25 1"), (0.25, 1.0), "0.25 1"),
    "effects": Option(
        ["pan_up", "zoom_in"],
        ("--effects", "pan_up", "--effects", "zoom_in"),
        (Effect.PAN_UP, Effect.ZOOM_IN),
        "pan_up, zoom_in",
    ),
    "motion_amount": Option(0.2, ("--motion-amount", "0.2")),
    "motion_easing": Option("ease_in", ("--motion-easing", "ease_in")),
    "motion_search": Option(True, ("--motion-search",)),
    "panorama": Option(True, ("--panorama",)),
    "fade_in": Option(1.5, ("--fade-in", "1.5")),
    "fade_out": Option(2, ("--fade-out", "2")),
    "caption": Option("pop", ("--caption", "pop")),
    "language": Option("english", ("--language", "english")),
    "bold": Option(False, ("--no-bold",)),
    "uppercase": Option(True, ("--uppercase",)),
    "background_box": Option(False, ("--no-background-box",)),
    "background_opacity": Option(0.5, ("--background-opacity", "0.5")),
    "font": Option("own.ttf", ("--font", "own.ttf"), Path("own.ttf")),
    "font_size": Option(30, ("--font-size", "30")),
    "text_color": Option("#ff8000", ("--text-color", "#ff8000")),
    "outline_color": Option("#ff8000", ("--outline-color", "#ff8000"), "&H000080FF"),
    "outline_width": Option(0.1, ("--outline-width", "0.1")),
    "shadow": Option(0.05, ("--shadow", "0.05")),
    "shadow_blur": Option(0.2, ("--shadow-blur", "0.2")),
    "shadow_color": Option("#102030", ("--shadow-color", "#102030")),
    "box_color": Option("#10203040", ("--box-color", "#10203040")),
    "box_padding": Option([0.5, 0], ("--box-padding", "0.5 0"), (0.5, 0.0), "0.5 0"),
    "box_radius": Option(0.25, ("--box-radius", "0.25")),
    "subtitle_position": Option("top", ("--subtitle-position", "top")),
    "subtitle_margin": Option([0.1, 0.2], ("--subtitle-margin", "0.1,0.2"), (0.1, 0.2), "0.1 0.2"),
    "subtitle_width": Option(0.5, ("--subtitle-width", "0.5")),
    "subtitle_lines": Option(1, ("--subtitle-lines", "1")),
    "words_at_once": Option(2, ("--words-at-once", "2")),
    "animation": Option("pop", ("--animation", "pop")),
    "highlight": Option("box", ("--highlight", "box")),
    "highlight_color": Option("#00ff0080", ("--highlight-color", "#00ff0080")),
    "music": Option("music.wav", ("--music", "music.wav"), Path("music.wav")),
    "music_volume": Option(0.75, ("--music-volume", "0.75")),
    "music_loop": Option(False, ("--no-music-loop",)),
    "music_fade": Option(0.5, ("--music-fade", "0.5")),
    "music_ducking": Option(12, ("--music-ducking", "12")),
    "loudness": Option(-16, ("--loudness", "-16")),
    "watermark": Option("mark.png", ("--watermark", "mark.png"), Path("mark.png")),
    "watermark_position": Option("bottom", ("--watermark-position", "bottom")),
    "watermark_width": Option(0.5, ("--watermark-width", "0.5")),
    "watermark_margin": Option(20, ("--watermark-margin", "20")),
    "watermark_opacity": Option(0.25, ("--watermark-opacity", "0.25")),
    "title": Option("春天, first", ("--title", "春天, first")),
    "metadata": Option(
        {"artist": "Me", "date": "2026"},
        ("--metadata", "artist=Me", "--metadata", "date=2026"),
        text="artist=Me; date=2026",
    ),
    "cover": Option(True, ("--cover",)),
}
VALUES = {name: option.value for name, option in OPTIONS.items()}
FILES = ("font", "music", "watermark")

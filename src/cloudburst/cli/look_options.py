"""Command-line options for the look of videos: one for each render option."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from pydantic import ValidationError

from cloudburst.cli.options import WholeNumber
from cloudburst.errors import ConfigurationError
from cloudburst.models.camera_effects import Easing, Effect
from cloudburst.models.options import Language, RenderOptions, describe_option_errors
from cloudburst.models.options.picture import Fit
from cloudburst.models.options.subtitles import HighlightMode
from cloudburst.models.options.values import Position
from cloudburst.models.video_format import FRAME_RATES, SIZE_NAMES

PICTURE = Group("Picture", sort_key=1)
MOTION = Group("Motion", sort_key=2)
SUBTITLES = Group("Subtitles", sort_key=3)
SOUND = Group("Sound", sort_key=4)
MARKS = Group("Marks", sort_key=5)


@Parameter(name="*", group=PICTURE)
@dataclass(frozen=True, kw_only=True)
class PictureFlags:
    """Command-line options for the picture."""

    size: Annotated[
        str | None,
        Parameter(help=f"{', '.join(SIZE_NAMES)}, or WIDTHxHEIGHT."),
    ] = None
    fps: Annotated[
        WholeNumber | None,
        Parameter(help=f"Frames per second: {', '.join(map(str, FRAME_RATES))}."),
    ] = None
    is_portrait: Annotated[
        bool | None,
        Parameter(
            name="--portrait",
            negative="--landscape",
            help="Orientation of the videos. Default: that of each picture.",
        ),
    ] = None

    fit: Annotated[
        Fit | None, Parameter(help="Fill the video (cover), or show the whole picture (contain).")
    ] = None
    backdrop: Annotated[
        str | None,
        Parameter(help="Behind a picture that is contained: blur, or a colour as #rrggbb."),
    ] = None
    focus: Annotated[
        str | None,
        Parameter(help="Point to keep in view, across and down, from 0 to 1: 0.5,0.25."),
    ] = None


@Parameter(name="*", group=MOTION)
@dataclass(frozen=True, kw_only=True)
class MotionFlags:
    """Command-line options for the movement of the camera, and for fades."""

    enable_zoom: Annotated[
        bool | None,
        Parameter(
            name="--zoom", help="Zoom in or out, chosen at random for each scene; or keep still."
        ),
    ] = None
    effects: Annotated[
        tuple[Effect, ...] | None,
        Parameter(
            negative=(), help="A movement to choose from in place of zooms; repeat for several."
        ),
    ] = None
    motion_amount: Annotated[
        float | None, Parameter(help="Extent of the movement, 0.01 to 0.5. Default: 0.1.")
    ] = None
    motion_easing: Annotated[
        Easing | None, Parameter(help="Slow the start or the end of the movement, or both.")
    ] = None
    panorama: Annotated[
        bool | None, Parameter(negative=(), help="Let pans cross the whole of a long picture.")
    ] = None
    fade_in: Annotated[float | None, Parameter(help="Seconds of a fade from black, 0 to 10.")] = (
        None
    )
    fade_out: Annotated[float | None, Parameter(help="Seconds of a fade to black, 0 to 10.")] = None


@Parameter(name="*", group=SUBTITLES)
@dataclass(frozen=True, kw_only=True)
class SubtitleFlags:
    """Command-line options for subtitles."""

    language: Annotated[Language | None, Parameter(help="Chinese subtitles are bold.")] = None
    background_box: Annotated[bool | None, Parameter(help="Draw a box behind the subtitles.")] = (
        None
    )
    background_opacity: Annotated[
        float | None,
        Parameter(help="Transparency of the box, from 0 (black) to 1 (no box)."),
    ] = None
    font: Annotated[
        str | None,
        Parameter(help="Font: a family such as Noto Sans CJK TC, or a .ttf, .otf or .ttc file."),
    ] = None
    font_size: Annotated[
        WholeNumber | None,
        Parameter(help="Height of subtitles, 8 to 120. Default: 20, in portrait 60."),
    ] = None
    text_color: Annotated[
        str | None, Parameter(help="Colour of the letters: #rrggbb or #rrggbbaa.")
    ] = None
    outline_color: Annotated[
        str | None,
        Parameter(help="Outline colour: #rrggbb, #rrggbbaa, or &HAABBGGRR; there, 00 is opaque."),
    ] = None
    outline_width: Annotated[
        float | None,
        Parameter(help="Width of the outline, 0 to 0.2 of a line's height; also with a box."),
    ] = None
    shadow: Annotated[
        float | None, Parameter(help="Distance of a shadow, 0 (none) to 0.2 of a line's height.")
    ] = None
    shadow_color: Annotated[
        str | None, Parameter(help="Colour of the shadow. Default: half transparent black.")
    ] = None
    box_color: Annotated[
        str | None, Parameter(help="Box colour: #rrggbb; #rrggbbaa also sets its opacity.")
    ] = None
    box_padding: Annotated[
        str | None,
        Parameter(help="Padding of the box, across and down, of a line's height: 0.32,0.1."),
    ] = None
    subtitle_position: Annotated[
        Position | None, Parameter(help="Place of the subtitles. Default: bottom.")
    ] = None
    subtitle_margin: Annotated[
        str | None,
        Parameter(help="Margins, across and down, of the video's width and height: 0.08,0.09."),
    ] = None
    subtitle_width: Annotated[
        float | None,
        Parameter(help="Maximum width of subtitles, 0.2 to 1 of the video's width."),
    ] = None
    highlight: Annotated[
        HighlightMode | None,
        Parameter(help="Look of the spoken word, if the subtitles have times of words."),
    ] = None
    highlight_color: Annotated[
        str | None, Parameter(help="Colour of the spoken word, or of its box, as #rrggbb.")
    ] = None


@Parameter(name="*", group=SOUND)
@dataclass(frozen=True, kw_only=True)
class SoundFlags:
    """Command-line options for music and loudness."""

    music: Annotated[Path | None, Parameter(help="Audio file to mix with the scenes' audio.")] = (
        None
    )
    music_volume: Annotated[
        float | None, Parameter(help="Factor for the music, 0 to 1. Default: 0.2.")
    ] = None
    music_loop: Annotated[
        bool | None,
        Parameter(negative="--no-music-loop", help="Repeat the music until the end. Default: yes."),
    ] = None
    music_fade: Annotated[
        float | None, Parameter(help="Seconds of fading in and out, 0 to 60. Default: 2.")
    ] = None
    music_ducking: Annotated[
        float | None, Parameter(help="Lower the music during speech by dB, 0 to 40. Default: 0.")
    ] = None
    loudness: Annotated[
        float | None, Parameter(help="Loudness of the whole in LUFS, -40 to -5.")
    ] = None


@Parameter(name="*", group=MARKS)
@dataclass(frozen=True, kw_only=True)
class MarkFlags:
    """Command-line options for the watermark, texts in the files and covers."""

    watermark: Annotated[Path | None, Parameter(help="Picture that is drawn over the video.")] = (
        None
    )
    watermark_position: Annotated[
        Position | None, Parameter(help="Place of the watermark. Default: top-left.")
    ] = None
    watermark_width: Annotated[
        float | None,
        Parameter(help="Width of the watermark, 0.02 to 1 of the video's. Default: 0.125."),
    ] = None
    watermark_margin: Annotated[
        float | None,
        Parameter(help="Distance from the edges, in pixels of a 1080p video. Default: 10."),
    ] = None
    watermark_opacity: Annotated[
        float | None, Parameter(help="Opacity of the watermark, 0 to 1. Default: 1.")
    ] = None
    title: Annotated[str | None, Parameter(help="Title that the video files store.")] = None
    metadata: Annotated[
        tuple[str, ...] | None,
        Parameter(negative=(), help="Another text, such as artist=Me; repeat for several."),
    ] = None
    cover: Annotated[
        bool | None, Parameter(help="Write a picture of each video beside it, NAME.jpg.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LookOptions:
    """Command-line options for the look of the videos, with the defaults of `RenderOptions`."""

    picture: PictureFlags = PictureFlags()
    motion: MotionFlags = MotionFlags()
    subtitles: SubtitleFlags = SubtitleFlags()
    sound: SoundFlags = SoundFlags()
    marks: MarkFlags = MarkFlags()

    def options(self) -> RenderOptions:
        """Return the render options that these command-line options define.

        Raises:
            ConfigurationError: A value is out of range, or two options contradict each other.
        """
        if self.motion.effects is not None and self.motion.enable_zoom is not None:
            raise ConfigurationError("expected either --effects or --zoom (--no-zoom), not both")
        given = {
            name: value
            for group in asdict(self).values()
            for name, value in group.items()
            if value is not None
        }
        try:
            return RenderOptions.model_validate(given)
        except ValidationError as exc:
            raise ConfigurationError("\n".join(describe_option_errors(exc, _option_name))) from exc


def _option_name(name: str) -> str:
    """Return the command-line option for a field, such as ``--font-size`` for ``font_size``."""
    return f"--{name.replace('_', '-')}"

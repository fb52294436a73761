"""Command-line options for the look of videos: one for each render option."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Group, Parameter
from pydantic import ValidationError

from cloudburst.cli.options import TransitionFlags, WholeNumber
from cloudburst.errors import ConfigurationError
from cloudburst.models.options import Language, RenderOptions, describe_option_errors
from cloudburst.models.options.picture import Fit
from cloudburst.models.options.subtitles import Animation, CaptionName, HighlightMode
from cloudburst.models.options.values import Position
from cloudburst.models.video_format import FRAME_RATES, SIZE_NAMES, Easing, Effect

PICTURE = Group("Picture", sort_key=31)
MOTION = Group("Motion", sort_key=32)
SUBTITLES = Group("Subtitles", sort_key=33)
SOUND = Group("Sound", sort_key=34)
MARKS = Group("Marks", sort_key=35)

Colour: TypeAlias = Annotated[str, Parameter(metavar="COLOUR")]
Point: TypeAlias = Annotated[str, Parameter(metavar="X,Y")]
Seconds: TypeAlias = Annotated[float, Parameter(metavar="SECONDS")]


@Parameter(name="*", group=PICTURE)
@dataclass(frozen=True, kw_only=True)
class PictureFlags:
    """Command-line options for the picture."""

    size: Annotated[
        str | None,
        Parameter(metavar="SIZE", help=f"{', '.join(SIZE_NAMES)}, or WIDTHxHEIGHT."),
    ] = None
    fps: Annotated[
        WholeNumber | None,
        Parameter(help=f"Frames per second: {', '.join(map(str, FRAME_RATES))}."),
    ] = None
    is_portrait: Annotated[bool | None, Parameter(name="--portrait", negative="--landscape")] = None
    """Orientation of the videos. Default: that of each picture."""

    fit: Fit | None = None
    """Fill the video (cover), or show the whole picture (contain)."""
    backdrop: Colour | None = None
    """Behind a picture that is contained: blur, or a colour as #rrggbb."""
    focus: Point | None = None
    """Point to keep in view, across and down, from 0 to 1: 0.5,0.25."""


@Parameter(name="*", group=MOTION)
@dataclass(frozen=True, kw_only=True)
class MotionFlags:
    """Command-line options for the movement of the camera, and for fades."""

    enable_zoom: Annotated[bool | None, Parameter(name="--zoom")] = None
    """Zoom in or out, chosen at random for each scene; or keep still."""
    effects: Annotated[tuple[Effect, ...] | None, Parameter(negative=())] = None
    """A movement to choose from in place of zooms; repeat for several."""
    motion_amount: float | None = None
    """Extent of the movement, 0.01 to 0.5. Default: 0.1."""
    motion_easing: Easing | None = None
    """Slow the start or the end of the movement, or both."""
    motion_search: Annotated[bool | None, Parameter(negative=())] = None
    """Let the encoder look for the movement, at twice the CPU time."""
    panorama: Annotated[bool | None, Parameter(negative=())] = None
    """Let pans cross the whole of a long picture."""
    fade_in: Seconds | None = None
    """Seconds of a fade from black, 0 to 10."""
    fade_out: Seconds | None = None
    """Seconds of a fade to black, 0 to 10."""


@Parameter(name="*", group=SUBTITLES)
@dataclass(frozen=True, kw_only=True)
class SubtitleFlags:
    """Command-line options for subtitles."""

    caption: CaptionName | None = None
    """Named look, whose options can be given beside it."""
    language: Language | None = None
    """Chinese subtitles are bold."""
    bold: bool | None = None
    """Draw bold letters. Default: if the language is chinese."""
    background_box: bool | None = None
    """Draw a box behind the subtitles."""
    background_opacity: float | None = None
    """How much of the picture is seen through the box: 0 nothing, 1 everything."""
    font: Annotated[str | None, Parameter(metavar="NAME")] = None
    """A family such as Noto Sans CJK TC, a .ttf, .otf or .ttc file, or up to 4, with commas."""
    font_size: WholeNumber | None = None
    """Height of subtitles, 8 to 120. Default: 20, in portrait and square 60."""
    text_color: Colour | None = None
    """Colour of the letters: #rrggbb or #rrggbbaa."""
    outline_color: Colour | None = None
    """Outline colour: #rrggbb, #rrggbbaa, or &HAABBGGRR; there, 00 is opaque."""
    outline_width: float | None = None
    """Width of the outline, 0 to 0.2 of a line's height; also with a box."""
    shadow: float | None = None
    """Distance of a shadow, 0 (none) to 0.2 of a line's height."""
    shadow_blur: float | None = None
    """Soft edge of the shadow, 0 to 0.5 of a line's height."""
    shadow_color: Colour | None = None
    """Colour of the shadow. Default: half transparent black."""
    box_color: Colour | None = None
    """Box colour: #rrggbb; #rrggbbaa also sets its opacity."""
    box_padding: Point | None = None
    """Padding of the box, across and down, of a line's height: 0.32,0.1."""
    box_radius: float | None = None
    """Radius of the corners of boxes, 0 to 1 of a line's height."""
    subtitle_position: Position | None = None
    """Place of the subtitles. Default: bottom."""
    subtitle_margin: Point | None = None
    """Margins, across and down, of the video's width and height: 0.08,0.09."""
    subtitle_width: float | None = None
    """Maximum width of subtitles, 0.2 to 1 of the video's width."""
    subtitle_lines: WholeNumber | None = None
    """Lines of the parts of long texts; 0: do not divide. Default: 2."""
    words_at_once: WholeNumber | None = None
    """Words to show at a time, 1 to 10; 0: whole sentences."""
    animation: Animation | None = None
    """Let each text grow into its place (pop)."""
    highlight: HighlightMode | None = None
    """Look of the spoken word, if the subtitles have times of words."""
    highlight_color: Colour | None = None
    """Colour of the spoken word, or of its box, as #rrggbb."""


@Parameter(name="*", group=SOUND)
@dataclass(frozen=True, kw_only=True)
class SoundFlags:
    """Command-line options for music and loudness."""

    music: Path | None = None
    """Audio file to mix with the scenes' audio."""
    music_volume: float | None = None
    """Factor for the music, 0 to 1. Default: 0.2."""
    music_loop: Annotated[bool | None, Parameter(negative="--no-music-loop")] = None
    """Repeat the music until the end. Default: yes."""
    music_fade: Seconds | None = None
    """Seconds of fading in and out, 0 to 60. Default: 2."""
    music_ducking: float | None = None
    """Lower the music during speech by dB, 0 to 40. Default: 0."""
    loudness: float | None = None
    """Loudness of the whole in LUFS, -40 to -5."""


@Parameter(name="*", group=MARKS)
@dataclass(frozen=True, kw_only=True)
class MarkFlags:
    """Command-line options for the watermark, texts in the files and covers."""

    watermark: Path | None = None
    """Picture that is drawn over the video."""
    watermark_position: Position | None = None
    """Place of the watermark. Default: top-left."""
    watermark_width: float | None = None
    """Width of the watermark, 0.02 to 1 of the video's. Default: 0.125."""
    watermark_margin: float | None = None
    """Distance from the edges, in pixels of a 1080p video. Default: 10."""
    watermark_opacity: float | None = None
    """Opacity of the watermark, 0 to 1. Default: 1."""
    title: str | None = None
    """Title that the video files store."""
    metadata: Annotated[tuple[str, ...] | None, Parameter(metavar="KEY=TEXT", negative=())] = None
    """Another text, such as artist=Me; repeat for several."""
    cover: bool | None = None
    """Write a picture of each video beside it, NAME.jpg."""


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
        """Return the render options that these command-line options define."""
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


HiddenLooks: TypeAlias = Annotated[LookOptions | None, Parameter(show=False)]
"""Look options of a command whose help does not list them."""


def looks_command(*, video: LookOptions | None = None, film: TransitionFlags | None = None) -> None:
    """Options for the look of videos and films, of cloudburst render, plan, frame and resume.

    They apply to all scenes; options of a scene in its file replace them.

    $ cloudburst render folder/ --size portrait --caption karaoke --music song.mp3
    $ cloudburst frame scenes.json --at 2s --font-size 40 --box-color '#00000080'
    """


def _option_name(name: str) -> str:
    return f"--{name.replace('_', '-')}"

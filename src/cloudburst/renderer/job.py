"""Data that the server and its render process exchange: a job, its result, a fault of its inputs.

A job is a folder with fixed file names. The server validates requests before it writes a job, and
what the render process writes (`cloudburst.service.job_output`). Plain dataclasses, because the
import of pydantic takes 0.2 CPU seconds, more than the rest of a render process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cloudburst.models.video_format import MAX_SCENE_SECONDS, Easing, Effect, draw_effect

if TYPE_CHECKING:
    from cloudburst.models.options import Language, RenderOptions
    from cloudburst.models.options.picture import Fit
    from cloudburst.models.options.subtitles import Animation, HighlightMode
    from cloudburst.models.options.values import Position

# Name of the picture in a job's folder.
IMAGE = "image"
# Name of the audio file in a job's folder; it is missing if the job has a duration.
AUDIO = "audio"
# Name of the subtitle file in a job's folder; it is optional.
SUBTITLE = "subtitle"
# Name of the watermark's picture in a job's folder; it is optional.
WATERMARK = "watermark"
# Name of the music in a job's folder; it is optional.
MUSIC = "music"
# Name of the first font in a job's folder, if it is a file: see `JobOptions.font`.
FONT = "font"
# Name of the file in a job's folder that describes the job.
JOB_FILE = "job.json"
# Name of the video in a job's folder; the file exists only once the video is complete.
VIDEO_FILE = "video.mp4"
# Name of the video's cover in a job's folder, for jobs with the option ``cover`` and films.
COVER_FILE = "cover.jpg"
# Name of a film's subtitles in a job's folder.
SUBTITLES_FILE = "subtitles.srt"

# Exit code of the render process for an input that cannot be rendered; other codes except 0 mean
# that the service failed.
INPUT_FAULT_EXIT_CODE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Values of `RenderOptions` that a job needs, without files, with the same defaults.

    The values of ``caption`` are those of other options.
    """

    size: str = "1080p"
    fps: int = 30
    is_portrait: bool | None = None
    fit: Fit = "cover"
    backdrop: str = "blur"
    focus: tuple[float, float] = (0.5, 0.5)

    effects: tuple[Effect, ...] = (Effect.ZOOM_IN, Effect.ZOOM_OUT)
    motion_amount: float = 0.1
    motion_easing: Easing = "linear"
    motion_search: bool = False
    panorama: bool = False
    fade_in: float = 0.0
    fade_out: float = 0.0

    language: Language = "chinese"
    bold: bool | None = None
    uppercase: bool = False
    background_box: bool = True
    background_opacity: float = 0.2
    font: tuple[str, ...] = ("Noto Sans CJK SC",)
    """Families of the package's font, and names of files in the job's folder. Each character is
    drawn with the first font that has it."""
    font_size: int | None = None
    text_color: str = "#ffffff"
    outline_color: str = "&H00000000"
    outline_width: float | None = None
    shadow: float = 0.0
    shadow_blur: float = 0.0
    shadow_color: str = "#00000080"
    box_color: str = "#000000"
    box_padding: tuple[float, float] = (0.32, 0.1)
    box_radius: float = 0.0
    subtitle_position: Position = "bottom"
    subtitle_margin: tuple[float, float] | None = None
    subtitle_width: float | None = None
    subtitle_lines: int = 2
    words_at_once: int = 0
    animation: Animation = "none"
    highlight: HighlightMode = "none"
    highlight_color: str | None = None

    music_volume: float = 0.2
    music_loop: bool = True
    music_fade: float = 2.0
    music_ducking: float = 0.0
    loudness: float | None = None

    watermark_position: Position = "top-left"
    watermark_width: float = 0.125
    watermark_margin: float = 10
    watermark_opacity: float = 1
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    cover: bool = False

    @classmethod
    def from_options(cls, options: RenderOptions) -> Self:
        """Return the options of a job from validated `RenderOptions`, without files."""
        names = (each.name for each in fields(cls) if each.name != "font")
        values: dict[str, Any] = {name: getattr(options, name) for name in names}
        files = options.files()
        fonts = (role if role in files else str(at) for role, at in options.fonts().items())
        return cls(**values, font=tuple(fonts))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the options from the values in a job's JSON."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]
            for name, value in values.items()
        }
        given["effects"] = tuple(map(Effect, values["effects"]))
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """Description of a video to render, which is stored beside the input files."""

    name: str
    """Name of the scene, which decides the effect that is chosen."""
    options: JobOptions
    """Appearance of the video."""
    duration: float | None = None
    """Seconds of a video without an audio file."""
    title_card: str | None = None
    """Text of a video without a picture file."""
    seams: tuple[int, int] = (0, 0)
    """Number of frames at the start and the end in groups of pictures of their own."""
    subtitle_frame: int = 0
    """Frame of the subtitles that is the first one of the video."""
    image_pixels: int = 100_000_000
    """Maximum for the picture, and for the watermark."""
    audio_seconds: float = MAX_SCENE_SECONDS
    """Maximum for the decoded audio, and for the music."""

    @property
    def effect(self) -> Effect | None:
        """Camera effect of this scene; ``None`` for a still picture."""
        return None if self.title_card else draw_effect(self.options.effects, self.name)

    def to_json(self) -> str:
        """Return the content of ``job.json`` in the job's folder."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the job of the content of ``job.json``."""
        values: dict[str, Any] = json.loads(text)
        values["options"] = JobOptions.from_values(values["options"])
        values["seams"] = tuple(values["seams"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """Size and hash of a file that a job has written."""

    size: int
    sha256: str
    """SHA-256 of the file, in hexadecimal."""

    @classmethod
    def measure(cls, path: Path) -> Self:
        """Return the size and the hash of a file."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(size=file.tell(), sha256=sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedVideo:
    """Properties of a finished video."""

    seconds: float
    frames: int
    width: int
    height: int
    size: int
    sha256: str
    warnings: tuple[str, ...] = ()
    """What differs from the inputs, such as characters that the font lacks."""
    cover: RenderedFile | None = None
    subtitles: RenderedFile | None = None
    """Subtitles of a film, if it has some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFault:
    """Fault of one input file: the content that was found, and the expected one."""

    field: str
    """Input: ``image``, ``audio``, ``subtitle``, ``watermark``, ``music`` or ``font``; or
    ``title_card``."""
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: {self.found}; expected {self.expected}"


class InputFaultError(Exception):
    """Error for an input that cannot be rendered, on this or any other worker."""

    def __init__(self, field: str = "", found: str = "", expected: str = "") -> None:
        super().__init__(field, found, expected)
        self.fault = InputFault(field=field, found=found, expected=expected)

    def __str__(self) -> str:
        return str(self.fault)

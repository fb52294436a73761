"""Scenes and videos: the input and the output of a run. No I/O."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias, TypeVar, cast

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.film import FilmRequest, Transition, transition_frames
from cloudburst.models.locations import (
    AnyLocation,
    OutputLocation,
    S3Object,
    WrittenLocation,
)
from cloudburst.models.options import RenderOptions, describe_field
from cloudburst.models.options.marks import Title
from cloudburst.models.options.values import OptionalLocation, none_if_blank
from cloudburst.models.problems import check_arguments

# File name extension of covers.
COVER_SUFFIX = ".jpg"
# Scene as a dictionary of its fields, which were not checked.
SceneDict: TypeAlias = dict[str, Any]
_O = TypeVar("_O", bound=Path | S3Object)

# Maximum length of the name of a scene, in bytes of UTF-8. With ``.mp4.part`` appended, the name
# still fits into the 255 bytes that file systems allow.
MAX_NAME_BYTES = 200

# Shortest `Scene.duration`, in seconds: three frames of a video.
MIN_SCENE_SECONDS = 0.1
# Description of a valid `Scene.duration`.
DURATION = f"a number of seconds, at least {MIN_SCENE_SECONDS:g}"


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{value}; expected {DURATION}")  # noqa: TRY004 - pydantic expects it
    return value


# Length of a scene without an audio file, in seconds.
Duration = Annotated[
    float, BeforeValidator(_refuse_bool), Field(ge=MIN_SCENE_SECONDS, allow_inf_nan=False)
]

# Maximum number of characters of a title card.
MAX_CARD_CHARACTERS = 500
TitleCard = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_CARD_CHARACTERS)]

_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
# Words for path separators. Errors for other people have no paths, nor separators alone.
_SEPARATORS = {"/": "a slash", "\\": "a backslash"}
# Pattern of the device names of Windows, which are reserved even with spaces and any suffix
# behind them ("Naming Files, Paths, and Namespaces", Microsoft Learn, 2026-11;
# ``os.path.isreserved`` has the same list).
_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE
)
# Zero-width non-joiner and zero-width joiner, invisible characters that Persian, Indic scripts
# and many emoji need.
_JOINERS = "\u200c\u200d"
# Unicode categories of invisible characters, which can make one name look like another: control
# characters, formatting characters (such as U+202E, which reverses the text), line and paragraph
# separators.
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}


def validate_scene_name(name: str) -> str:
    """Return the name in Unicode form NFC, or raise a ``ValueError`` that says what is valid.

    All visible letters, digits, punctuation and emoji are valid, except in names that cannot be
    file names on Linux, macOS and Windows. These are invalid: path separators and
    ``: * ? " < > |``, control and invisible formatting characters, a leading dot, leading or
    trailing spaces, a trailing dot, device names of Windows, and more than 200 bytes of UTF-8.

    Names that are difficult only for other programs (``-rf``, ``~``, ``=1+1``, ``@x``) are valid,
    because cloudburst always passes a video as a path within its folder.
    """
    name = unicodedata.normalize("NFC", name)
    if not _without_joiners(name).strip():
        msg = "a name that is not empty"
    elif found := _FORBIDDEN.search(name):
        forbidden = found.group()
        shown = _SEPARATORS.get(forbidden) or repr(forbidden)
        msg = f"a name without {shown}: it becomes a file name"
    elif name.startswith((".", " ")) or name.endswith((".", " ")):
        msg = "a name that neither starts nor ends with a dot or a space"
    elif _DEVICE.fullmatch(name):
        msg = "a name that Windows does not reserve for a device"
    elif len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        msg = f"a name of at most {MAX_NAME_BYTES} bytes in UTF-8"
    elif any(unicodedata.category(char) in {"Cs", "Co", "Cn"} for char in name):
        msg = "a name of assigned Unicode characters"
    elif (hidden := _invisible(name)) is not None:
        called = unicodedata.name(hidden, "a control character")
        msg = f"a name without U+{ord(hidden):04X} ({called}), which cannot be seen"
    else:
        return name
    raise ValueError(msg)


def _invisible(name: str) -> str | None:
    """Return the first invisible character of the name that is not a joiner, or ``None``."""
    found = (c for c in name if unicodedata.category(c) in _INVISIBLE and c not in _JOINERS)
    return next(found, None)


def fold_name(name: str) -> str:
    """Return a name in a form in which it can be compared with other names.

    Names that can stand for the same file have the same form: some file systems ignore case and
    Unicode normalisation, and HFS+ of macOS also ignores zero-width joiners.
    """
    name = unicodedata.normalize("NFC", _without_joiners(name)).casefold()
    return unicodedata.normalize("NFC", name)


def _without_joiners(name: str) -> str:
    return name.translate(dict.fromkeys(map(ord, _JOINERS)))


def check_one_of(**values: object) -> None:
    """Raise a ``ValueError`` unless exactly one of two fields has a value other than ``None``."""
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} are both given"
        if not given:
            found = f"neither {' nor '.join(values)} is given"
        raise ValueError(f"{found}; expected one of them")


def check_duration(duration: float | None, longest: float) -> None:
    """Raise `InvalidInputError` for a duration of more than ``longest`` seconds."""
    if duration is not None and duration > longest:
        found, expected = f"{duration:g} seconds", f"at most {longest:g} seconds"
        raise InvalidInputError(found, expected, "too_long")


class Scene(BaseModel):
    """Input of one video: a picture or a title card, an audio file or a duration, and subtitles.

    Files are on this machine (paths), in S3 (``s3://bucket/key``) or on web servers (``https://``).
    Dictionaries with the keys of ``cloudburst-fargate`` (``scene_name``, ``image_path``,
    ``audio_path``, ``subtitle_path``) are valid, too. A field that is missing, ``None`` or ``""``
    means no audio, no duration or no subtitles.
    """

    # Inputs may be URLs whose queries are secrets.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, hide_input_in_errors=True
    )

    name: Annotated[
        str,
        AfterValidator(validate_scene_name),
        Field(validation_alias=AliasChoices("name", "scene_name")),
    ]
    """Name of the scene, unique within a run; the video is ``<name>.mp4``."""
    image: OptionalLocation = Field(
        default=None, validation_alias=AliasChoices("image", "image_path")
    )
    """Location of the picture: JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP or TIFF, detected by content.
    ``None`` for a title card."""
    title_card: Annotated[TitleCard | None, BeforeValidator(none_if_blank)] = None
    """Text in the centre of an empty picture, in place of ``image``: up to 500 characters, with the
    tags of subtitles. Font, colours, outline, shadow and width are those of the options for
    subtitles, and the letters are twice as high, or smaller if the text needs more room. The
    background is a dark blue, or the colour of the option ``backdrop``. The camera does not move.
    """
    audio: OptionalLocation = Field(
        default=None, validation_alias=AliasChoices("audio", "audio_path")
    )
    """Location of the audio: mp3, wav, m4a, ogg, flac, aiff or caf. Its decoded length is the
    length of the video. ``None`` for a scene with a duration."""
    duration: Annotated[Duration | None, BeforeValidator(none_if_blank)] = None
    """Length of the video in seconds, rounded to a whole frame, for a scene without audio. The
    video is silent, or has only the music of the options."""
    until: Annotated[Duration | None, BeforeValidator(none_if_blank)] = None
    """Position in the voice of the film, in seconds, at which the next scene begins, for a scene of
    a film with ``film_audio``. It is later than that of the scene before."""
    subtitle: OptionalLocation = Field(
        default=None, validation_alias=AliasChoices("subtitle", "subtitle_path")
    )
    """Location of the subtitles: SubRip, WebVTT, SubStation, LRC, or JSON with the times of words,
    in UTF-8, UTF-16 or GB 18030; ``None`` for no subtitles."""
    transition: Annotated[Transition | None, BeforeValidator(none_if_blank)] = None
    """Change to the next scene of a film: ``cut``, ``fade`` or ``crossfade``; ``None``: that of the
    film. Without a film it has no effect."""
    options: RenderOptions = RenderOptions()
    """Options of this scene. Those that are given replace the options of the run; the others are
    those of the run."""
    title: Title = None
    """Title of its chapter in a film, up to 200 characters; ``None`` for the option ``title``, else
    the name. The option is stored in the video of the scene, too."""

    @field_validator("title")
    @classmethod
    def _check_one_title(cls, title: str | None, info: ValidationInfo) -> str | None:
        options: RenderOptions | None = info.data.get("options")
        if title and options and options.title not in {None, title}:
            raise ValueError(f"{title!r} and options.title {options.title!r}; expected one of them")
        return title

    @model_validator(mode="after")
    def _check_one_of_each(self) -> Self:
        check_one_of(image=self.image, title_card=self.title_card)
        lengths = {"audio": self.audio, "duration": self.duration, "until": self.until}
        if any(value is not None for value in lengths.values()):
            check_one_of(**lengths)
        return self

    def files(self) -> dict[str, AnyLocation]:
        """Return the location of each file of the scene, by the name of its field."""
        files = {"image": self.image, "audio": self.audio, "subtitle": self.subtitle}
        return {name: location for name, location in files.items() if location is not None}

    @field_serializer("options")
    def _serialize_given_options(self, options: RenderOptions) -> dict[str, Any]:
        return options.model_dump(mode="json", exclude_unset=True)


def _error_of(exc: ValidationError, names: Collection[str]) -> InvalidScenesError:
    faults = [describe_field(error, names) for error in exc.errors()]
    faults = [fault if fault.field else fault._replace(field="scene") for fault in faults]
    return InvalidScenesError(faults=faults)


check_arguments(Scene, _error_of)
# `Scene`, or a dictionary with the fields of a scene.
AnyScene: TypeAlias = Scene | Mapping[str, Any]
# Places and labels of the scenes of a source, by `fold_name`. A scene without a valid name has its
# place as its label, such as ``scenes[3]``.
SceneLabels: TypeAlias = Mapping[str, tuple[int, str]]


def voice_part(film: FilmRequest, start: float, scene: Scene, fps: int) -> tuple[Scene, float]:
    """Return a scene with the length of its part of the film's voice, and the end of the part.

    The part begins at ``start``, in seconds. The length is in whole frames; a scene that overlaps
    with the next one lasts longer.

    Raises `InvalidInputError` if the part ends too soon, or its end is not known.
    """
    end = scene.until
    is_last = scene.until is None and scene.duration is None
    if is_last:
        end = film.voice_seconds
    elif scene.duration is not None:
        end = start + scene.duration
    if end is None:
        found = "nothing, and film_audio has no length in its header"
        raise InvalidInputError(found, "a position in film_audio", "missing")
    if end < (least := start + MIN_SCENE_SECONDS):
        expected = f"at least {least:.2f}, after the scene before"
        raise InvalidInputError(f"a position of {end:.2f} s", expected, "out_of_range")
    # Positions are rounded, and not lengths, whose errors would add up.
    frames = (math.ceil if is_last else round)(end * fps) - round(start * fps)
    if not is_last and (scene.transition or film.transition) == "crossfade":
        frames += transition_frames("crossfade", film.transition_seconds, fps)
    return scene.model_copy(update={"duration": frames / fps, "until": None}), end


class CheckedScene(BaseModel):
    """Scene whose files passed the check before the run."""

    model_config = ConfigDict(frozen=True)

    scene: Scene
    """Scene with absolute paths. In a film with one voice, its duration is its part of it, and its
    subtitles are those of the film."""
    given: Scene | None = None
    """Scene without these, which the journal has: they are determined again on resume."""
    voice_end: float = 0.0
    """End of its part of the voice, in seconds."""
    audio_seconds: float
    """Length of the audio according to its header, accurate enough for scheduling, or the
    duration."""
    audio_known: bool = True
    """False if the header has no length: it is then guessed from the size of the file."""
    image_bytes: int
    """Size of the picture's file; 0 if its server does not report it, and for a title card."""
    versions: Mapping[Path, FileVersion] = {}
    """Version of each file of the scene on this machine, as the check has found it."""
    upright: bool = False
    """True if the picture is seen to be taller than wide, as it is shown."""
    options: RenderOptions = RenderOptions()
    """Options of the run, overridden by those of the scene."""
    found_fonts: tuple[Path, ...] = ()
    """Fonts of this machine with characters that the fonts of the options lack."""
    seams: tuple[int, int] = (0, 0)
    """Number of frames at the start and the end that the transitions of the film change. They are
    in groups of pictures of their own, so that the film copies all others."""
    subtitle_frame: int = 0
    """Frame of its subtitles that is the first one of the video: with the subtitles of a film, that
    at which the scene begins in the film."""
    undrawable: tuple[SceneFault, ...] = ()
    """Faults of texts because of characters, or of text that leaves the picture, which workers with
    the image of this package cannot draw; the public image takes characters of subtitles from other
    fonts, and cuts text off."""
    notes: tuple[str, ...] = ()
    """Warnings about symbols that no font has, which are left out."""
    cue_starts: SkipValidation[Sequence[int]] = ()
    """Times at which the cues of its own subtitles begin, sorted, in milliseconds."""

    @property
    def drawn_options(self) -> RenderOptions:
        """Options with the fonts that were found."""
        fonts = *self.options.fonts().values(), *self.found_fonts
        return self.options.model_copy(update={"font": fonts}) if self.found_fonts else self.options

    def files(self) -> dict[str, AnyLocation]:
        """Return the input files of the scene and its options, by field."""
        return self.scene.files() | self.drawn_options.files()


# Upper bound for the data rate of a video, in bytes per second (320 Mbit/s). The largest videos
# of the render service have at most 300 Mbit/s, and those of the public image 225 Mbit/s if every
# frame is new noise (2026-11). Usual scenes have 1 to 5 Mbit/s in 1080p.
VIDEO_BYTES_PER_SECOND = 40_000_000
# Part of the upper bound for the size of a video that does not depend on its length, in bytes.
VIDEO_BYTES_BASE = 64 * 1024 * 1024


def max_video_bytes(seconds: float) -> float:
    """Return the upper bound for the size in bytes of a video with this length in seconds.

    The bound is generous; it only prevents a worker from filling the disk.
    """
    return VIDEO_BYTES_BASE + VIDEO_BYTES_PER_SECOND * max(0.0, seconds)


# Upper bound for the size of a cover in bytes, more than 4096x4096 pixels of noise need.
MAX_COVER_BYTES = 64 * 1024 * 1024


def cover_path(video: _O) -> _O:
    """Return the location of the cover of a video, which is beside it."""
    return cast("_O", video.with_suffix(COVER_SUFFIX))


class Video(BaseModel):
    """Finished video of a scene."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    scene: str
    path: WrittenLocation
    """Location of the file: an absolute path, or an object in S3."""
    task: str
    """Identifier of the task that rendered the video."""
    size: Annotated[int, Field(ge=0, lt=2**63)]
    """Size of the file in bytes."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    seconds: float
    """Length of the video in seconds."""
    warnings: tuple[str, ...] = ()
    """Differences between video and inputs: characters of the subtitles that the font lacks,
    corrupt audio replaced by silence, audio that is cut off, cues that begin after the end."""
    cover: WrittenLocation | None = None
    """Location of the cover, if the option ``cover`` was set."""
    cover_sha256: str | None = None

    def moved_to(self, path: OutputLocation) -> Video:
        """Return the video at another location, with its cover beside it."""
        cover = None if self.cover is None else path.with_suffix(COVER_SUFFIX)
        return self.model_copy(update={"path": path, "cover": cover})

    def _repr_html_(self) -> str | None:
        return shown_by("notebook_values:player", self.path)


def shown_by(function: str, value: object) -> str | None:
    """Return the text of a value by a function of `cloudburst.display`, ``module:name``.

    ``None`` if a package of the extra ``[cli]`` is not installed. Models import nothing of
    `cloudburst.display`, which knows them.
    """
    module, _, name = function.partition(":")
    try:
        show: Callable[[Any], str] = getattr(import_module(f"cloudburst.display.{module}"), name)
        return show(value)
    except ModuleNotFoundError:
        return None

"""Film of a run: what the caller requests. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypedDict, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cloudburst.errors import SceneFault
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.locations import AnyLocation, S3Object, WrittenLocation
from cloudburst.models.options.sound import SoundOptions
from cloudburst.models.options.values import OptionalLocation

# How one scene of a film changes to the next: ``cut``, at once; ``fade``, through black;
# ``crossfade``, both scenes at the same time, so that the film becomes shorter.
Transition: TypeAlias = Literal["cut", "fade", "crossfade"]

# Name of a file of the whole film, in `FilmOptions`.
FilmFileName: TypeAlias = Literal["film_music", "film_audio", "film_subtitle"]
FILM_FILES: tuple[FilmFileName, ...] = get_args(FilmFileName)

# Limits for the length of a transition, and of a gap, in seconds. At least two frames are encoded
# for each, because a group of one picture could not follow another one.
MIN_TRANSITION_SECONDS, MAX_TRANSITION_SECONDS = 0.1, 10.0
# Maximum length of a film, in seconds. Its index grows by 20 MB of memory for each hour.
MAX_FILM_SECONDS = 12 * 3600.0


class FilmOptions(TypedDict, total=False):
    """Keyword arguments for the film of a run, each of which may be left out.

    Functions that pass them on to `Client.stream` declare ``**film: Unpack[FilmOptions]``.
    """

    film: Path | str | None
    """File ``.mp4`` in which the videos are joined: a path, or ``s3://bucket/film.mp4``."""
    transition: Transition
    """How one scene changes to the next; ``"cut"`` by default. `Scene.transition` overrides it."""
    transition_seconds: float
    """Length of a transition, in seconds; 0.5 by default."""
    film_gap: float
    """Length of black and silence between two scenes, in seconds; 0 by default."""
    film_music: Path | str | None
    """Audio file with the music of the whole film. The options ``music_volume``, ``music_loop``,
    ``music_fade``, ``music_ducking`` and ``loudness`` of the run are then those of the film."""
    film_audio: Path | str | None
    """Audio file with one voice for the whole film. Scenes have `Scene.until` or `Scene.duration`
    in place of audio; the last one needs neither, and lasts to the end of the voice. The option
    ``loudness`` of the run is then that of the film."""
    film_subtitle: Path | str | None
    """Subtitle file of the whole film, in place of those of scenes. With ``film_audio``, it is
    drawn into the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmRequest:
    """Film that a caller requests in addition to the videos of the scenes."""

    path: WrittenLocation
    """Location of the film: an absolute path, or an object in S3."""
    transition: Transition = "cut"
    transition_seconds: float = 0.5
    """Length of a transition, in seconds; ignored for cuts."""
    film_gap: float = 0.0
    """Length of black and silence between two scenes, in seconds."""
    film_music: OptionalLocation = None
    film_audio: OptionalLocation = None
    film_subtitle: OptionalLocation = None
    sound: SoundOptions = field(default_factory=SoundOptions)
    """Options of the run for the music and the loudness of the film."""
    voice_seconds: float | None = None
    """Length of ``film_audio`` according to its header; ``None`` if the header does not have it."""
    subtitle_version: FileVersion | None = None
    """Version of ``film_subtitle`` as the check has found it, if it is on this machine."""
    subtitle_characters: str = ""
    """Characters of ``film_subtitle`` that are drawn in the videos of the scenes."""

    @property
    def files(self) -> dict[FilmFileName, AnyLocation]:
        """Location of each file of the whole film, by its name."""
        return {name: at for name in FILM_FILES if (at := getattr(self, name)) is not None}

    @property
    def has_own_sound(self) -> bool:
        """True if the film has sound besides that of its scenes, and its own loudness."""
        return self.film_music is not None or self.film_audio is not None

    def faults(self) -> Iterator[SceneFault]:
        """Yield each invalid value."""
        if self.path.suffix.lower() != ".mp4" or self.path.name.startswith("."):
            expected = "a file name that ends in .mp4"
            yield SceneFault("", "film", repr(str(self.path)), expected, "bad_name")
        if self.transition not in get_args(Transition):
            expected = f"one of {', '.join(get_args(Transition))}"
            yield SceneFault("", "transition", repr(self.transition), expected, "out_of_range")
        limits = f"{MIN_TRANSITION_SECONDS:g} to {MAX_TRANSITION_SECONDS:g} seconds"
        if not _is_length(self.transition_seconds):
            found = repr(self.transition_seconds)
            yield SceneFault("", "transition_seconds", found, limits, "out_of_range")
        gap = repr(self.film_gap)
        if self.film_gap and not _is_length(self.film_gap):
            yield SceneFault("", "film_gap", gap, f"{limits}, or 0", "out_of_range")
        if self.film_gap and self.film_audio:
            found = f"{gap} with film_audio"
            yield SceneFault("", "film_gap", found, "one of them", "contradiction")
        if self.film_gap and self.transition == "crossfade":
            found, expected = f"{gap} with crossfade", "cut or fade, or no gap"
            yield SceneFault("", "film_gap", found, expected, "contradiction")
        for name, location in self.files.items():
            if isinstance(self.path, Path) and not isinstance(location, Path):
                expected = "a file on this machine"
                yield SceneFault("", name, str(location), expected, "wrong_type")


def _is_length(seconds: object) -> bool:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return False
    return MIN_TRANSITION_SECONDS <= seconds <= MAX_TRANSITION_SECONDS  # not for not-a-number


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmPart:
    """Scene of a film that a worker makes."""

    name: str
    title: str
    video: S3Object
    sha256: str
    """SHA-256 of the video."""
    subtitle: AnyLocation | None
    transition: Transition | None = None
    """Transition to the next scene; ``None``: that of the film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFilm:
    """Film that a worker makes of videos in S3, and writes to S3."""

    path: S3Object
    request: FilmRequest
    parts: tuple[FilmPart, ...]
    """Scenes in the order of the film."""
    seconds: float
    """Expected length of all videos together."""

    @property
    def name(self) -> str:
        """Name of the film where scenes have theirs. No scene has such a name, with its slashes."""
        return str(self.path)


def transition_frames(transition: Transition, seconds: float, fps: Fraction | int) -> int:
    """Return the number of frames of one scene that a transition changes, at one of its ends."""
    if transition == "cut":
        return 0
    return max(2, round((seconds / 2 if transition == "fade" else seconds) * fps))


# Maximum number of scenes of a film that a worker makes: more than 4 s each in 12 hours.
MAX_FILM_SCENES = 10_000

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
SceneText = Annotated[str, StringConstraints(max_length=1000)]


class FilmJobScene(BaseModel):
    """Scene of a film. Its files are identified by their SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: SceneText
    """Name of the scene, for errors."""
    title: SceneText
    video: Sha256
    subtitle: Sha256 | None = None
    transition: Transition | None = None


class FilmJobRequest(BaseModel):
    """Body of ``POST /films``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenes: Annotated[tuple[FilmJobScene, ...], Field(min_length=1, max_length=MAX_FILM_SCENES)]
    transition: Transition = "cut"
    transition_seconds: Annotated[
        float, Field(ge=MIN_TRANSITION_SECONDS, le=MAX_TRANSITION_SECONDS, allow_inf_nan=False)
    ] = 0.5
    film_gap: Annotated[float, Field(ge=0, le=MAX_TRANSITION_SECONDS, allow_inf_nan=False)] = 0.0
    files: Mapping[FilmFileName, Sha256] = {}
    """Files of the whole film."""
    sound: SoundOptions = SoundOptions()
    """Options for the mix with ``film_music``, and for the loudness of the film."""

"""Command-line options that commands share: durations, the display of a run, and its film."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeAlias, TypeVar

from anyio import to_thread
from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number
from rich.console import Console

from cloudburst.cli.output import write_json
from cloudburst.display.displays import Display, OpenDisplay, display_for
from cloudburst.display.live_view import ShownRun
from cloudburst.display.texts import short_path
from cloudburst.errors import ConfigurationError
from cloudburst.events import Event
from cloudburst.film.request import film_request
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.inputs.scenes import pictures_without_audio, read_scenes
from cloudburst.models.film import FilmRequest, Transition
from cloudburst.models.limits import Limits
from cloudburst.models.locations import (
    OutputFolder,
    S3Prefix,
    absolute_location,
    is_s3,
    parse_location,
    parse_output_folder,
    parse_s3_prefix,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import SceneDict
from cloudburst.text import shorten

logger = logging.getLogger(__name__)
T = TypeVar("T")

RUN = Group("Run", sort_key=20)
FILM = Group("Film", sort_key=40)
RESULTS_FOLDER = Path("cloudburst_results")
"""Default folder of the videos."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile(
    rf"(?P<only>{_NUMBER})|"
    rf"(?:(?P<d>{_NUMBER})d)?(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m(?:in)?)?(?:(?P<s>{_NUMBER})s)?",
    re.IGNORECASE,
)
_SECONDS = {"only": 1, "d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str, *, may_be_zero: bool = False) -> float:
    """Convert a text such as ``90``, ``90s``, ``10m``, ``1h30m`` or ``2d`` to seconds.

    A number without a unit is in seconds. Raises `ValueError` for any other text, and for zero
    unless ``may_be_zero`` is true.
    """
    found = _DURATION.fullmatch("".join(text.split()))
    parts = {unit: float(n) for unit, n in found.groupdict().items() if n} if found else {}
    seconds = sum(number * _SECONDS[unit] for unit, number in parts.items())
    allowed = seconds > 0 or (may_be_zero and bool(parts))
    if not allowed or not math.isfinite(seconds):
        msg = f"{text!r}; expected a time such as 90s, 10m, 1h30m or 2d"
        raise ValueError(msg)
    return seconds


def _whole_number(text: str) -> int:
    """Return a whole number; cyclopts itself would round another one."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{shorten(text, 40)}; expected a whole number") from None


def _converter(parse: Callable[[str], T]) -> Callable[[Any, Sequence[Token]], T]:
    return lambda _type, tokens: parse(tokens[0].value)


def _folder_only(_type: object, to: OutputFolder | None) -> None:
    if isinstance(to, Path) and to.exists() and not to.is_dir():
        raise ValueError(f"{to} is a file; --to names a folder")


def s3_folders(texts: Sequence[str]) -> tuple[S3Prefix, ...]:
    """Return folders that are written as ``BUCKET/PREFIX`` or ``s3://BUCKET/PREFIX``."""
    folders, faults = list[S3Prefix](), list[str]()
    for text in texts:
        try:
            folders.append(parse_s3_prefix(text if is_s3(text) else f"s3://{text}"))
        except ValueError as exc:
            faults.append(f"--s3: {exc}")
    if faults:
        raise ConfigurationError("\n".join(faults))
    return tuple(folders)


def scenes_of(
    sources: Sequence[str], options: RenderOptions, remote: RemoteInputs
) -> list[SceneDict]:
    """Return the scenes of files and folders; log a warning for each picture without audio."""
    scenes = [scene for one in sources for scene in read_scenes(one, remote=remote)]
    watermark = options.watermark and absolute_location(options.watermark)
    for text in (p for one in sources for p in pictures_without_audio(one, remote=remote)):
        picture = parse_location(text)
        if picture != watermark and PurePosixPath(picture.name).stem.lower() != "watermark":
            reason = "a picture without an audio file of the same name; it becomes no video"
            logger.warning("%s: %s", short_path(picture), reason)
    return scenes


FolderOption: TypeAlias = Annotated[
    Path | S3Prefix,
    Parameter(
        name="--to",
        metavar="FOLDER",
        converter=_converter(parse_output_folder),
        n_tokens=1,
        accepts_keys=False,  # otherwise each field of `S3Prefix` would be an option
        validator=_folder_only,
    ),
]
"""Folder of the videos: a path, or ``s3://bucket/folder/``."""
Duration: TypeAlias = Annotated[
    float, Parameter(metavar="DURATION", converter=_converter(parse_duration), n_tokens=1)
]
"""Number of seconds, written on the command line in a form such as ``90s`` or ``1h30m``."""
Delay: TypeAlias = Annotated[
    float,
    Parameter(
        metavar="DURATION",
        converter=_converter(partial(parse_duration, may_be_zero=True)),
        n_tokens=1,
    ),
]
"""Number of seconds, written in the same form as a `Duration`; zero is allowed."""
WholeNumber: TypeAlias = Annotated[int, Parameter(converter=_converter(_whole_number), n_tokens=1)]
"""Whole number, which is an error with a fraction."""
Folder: TypeAlias = Annotated[Path, Parameter(metavar="FOLDER")]
FileText: TypeAlias = Annotated[str, Parameter(metavar="FILE")]
"""Path or URL of a file."""
Name: TypeAlias = Annotated[str, Parameter(metavar="NAME")]
Quiet: TypeAlias = Annotated[bool, Parameter(name=("--quiet", "-q"), negative=())]


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Command-line options for the number of workers and the form of the output."""

    workers: Annotated[WholeNumber | None, Parameter(validator=Number(gte=1))] = None
    """Workers at once. Default: one per core, at most 4."""
    json: Annotated[bool, Parameter(negative=())] = False
    """Print events as lines of JSON, the report last."""
    quiet: Quiet = False
    """Print errors only."""

    def limits(self, limits: Limits | None = None) -> Limits:
        """Return limits, or the client's, with the number of workers if ``--workers`` was given."""
        limits = limits or Limits()
        return limits if self.workers is None else replace(limits, workers=self.workers)

    def display(self, console: Console) -> OpenDisplay:
        """Return the display of a run in progress, chosen by the options and the console."""
        if self.json:
            return json_display
        if self.quiet:
            return no_display
        return display_for(console)


@asynccontextmanager
async def json_display(_shown: ShownRun) -> AsyncGenerator[Display]:
    """Print every event as a line of JSON on the standard output."""

    async def show(event: Event) -> None:
        facts = event.model_dump(mode="json")
        await to_thread.run_sync(write_json, facts, abandon_on_cancel=True)

    yield Display(show=show)


@asynccontextmanager
async def no_display(_shown: ShownRun) -> AsyncGenerator[Display]:
    """Print nothing."""
    yield Display()


@Parameter(name="*", group=FILM)
@dataclass(frozen=True, kw_only=True)
class TransitionFlags:
    """Command-line options for transitions, and for sound and subtitles of the whole film."""

    transition: Transition = "cut"
    """Change between scenes; fade is through black. Default: cut."""
    transition_seconds: Duration = 0.5
    """Length of a transition, 0.1s to 10s. Default: 0.5s."""
    film_gap: Delay = 0.0
    """Length of black and silence between scenes, 0.1s to 10s. Default: 0s."""
    film_music: FileText | None = None
    """Audio file with music for the whole film."""
    film_audio: FileText | None = None
    """Audio file with one voice for all pictures of the film."""
    film_subtitle: FileText | None = None
    """Subtitle file of the whole film; with --film-audio, it is drawn into the pictures."""


@Parameter(name="*", group=FILM)
@dataclass(frozen=True, kw_only=True)
class FilmFlags(TransitionFlags):
    """Command-line options for the film of a run."""

    film: Annotated[FileText | None, Parameter(group=RUN)] = None
    """Join all videos to this film (.mp4), with chapters and subtitles; s3://bucket/film.mp4 for
    videos in S3."""

    def request(self) -> FilmRequest | None:
        """Return the request for the film; ``None`` if there is none."""
        return film_request(**asdict(self))

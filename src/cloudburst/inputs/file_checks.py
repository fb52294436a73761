"""Checks of the files of scenes and options: on this machine, in S3 and on web servers."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

from cloudburst.files import open_regular_file
from cloudburst.inputs.media_checks import (
    EXPECTED_AUDIO,
    EXPECTED_FONT,
    EXPECTED_PICTURE,
    EXPECTED_SUBTITLES,
    InputFacts,
    check_audio,
    check_font,
    check_picture,
    check_subtitle_kind,
    check_subtitles,
    media_kind,
)
from cloudburst.inputs.media_file import MediaFile, open_media_file
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import MAX_SUBTITLE_BYTES
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.limits import Limits
from cloudburst.models.locations import AnyLocation, RemoteLocation

# Number of files on this machine that are checked at once; more would not be faster
_CHECK_THREADS = 8
# Number of remote files that are checked at once. Their checks wait for answers most of the time
_REMOTE_CHECK_THREADS = 32

InputFile: TypeAlias = tuple[str, AnyLocation]
"""Field of a scene or of the options, such as ``image``, and the location of its file."""


class CheckedFile(NamedTuple):
    """Valid file, as far as the check has read it."""

    size: int | None
    """Size in bytes; ``None`` if its server does not report it."""
    facts: InputFacts
    version: FileVersion | None = None
    """Version of a file on this machine; ``None`` for a remote file."""


def check_files(
    files: Iterable[InputFile], limits: Limits, remote: RemoteInputs
) -> dict[InputFile, CheckedFile | InvalidInputError]:
    """Check files, and return the result or the error of each one."""

    def check(file: InputFile) -> CheckedFile | InvalidInputError:
        name, location = file
        if isinstance(location, Path):
            remote.raise_if_stopped()
            return check_file(name, location, limits)
        try:
            return _check_remote(name, location, limits, remote)
        except InvalidInputError as exc:
            remote.raise_if_stopped()
            return exc

    files = list(files)
    local = [file for file in files if isinstance(file[1], Path)]
    elsewhere = [file for file in files if not isinstance(file[1], Path)]
    found = dict[InputFile, CheckedFile | InvalidInputError]()
    with (
        ThreadPoolExecutor(_CHECK_THREADS, "cloudburst-preflight") as threads,
        ThreadPoolExecutor(_REMOTE_CHECK_THREADS, "cloudburst-remote") as remote_threads,
    ):
        try:
            answers = remote_threads.map(check, elsewhere)
            found |= zip(local, threads.map(check, local), strict=True)
            found |= zip(elsewhere, answers, strict=True)
        except BaseException:
            remote.stop()
            raise
    return found


def check_file(name: str, path: Path, limits: Limits) -> CheckedFile | InvalidInputError:
    """Return the result or the error of one file on this machine, as `check_files` does."""
    kind = _kind(name)
    try:
        with open_media_file(path, kind.expected, limits) as media:
            # Not the status of the path, at which there may be another file by now.
            version = FileVersion.from_status(path, os.fstat(media.file.fileno()))
            return CheckedFile(version.size, kind.check(media, limits), version)
    except InvalidInputError as exc:
        return exc


def check_unknown_file(
    path: Path, limits: Limits
) -> tuple[str, InputFacts, InvalidInputError | None]:
    """Return what a file can be in a scene, facts about it, and why no scene can use it.

    It is ``picture``, ``sound``, ``subtitle``, ``font`` or ``other``. Raises ``OSError`` for a file
    that cannot be opened.
    """
    with open_regular_file(path) as file:
        kind = media_kind(file.read(32))
    found = check_file(_NAMES[kind], path, limits)
    if not isinstance(found, InvalidInputError):
        return "font" if kind == "other" else kind, found.facts, None
    if kind == "other":
        found.expected = "a picture, a sound, subtitles or a font"
    return kind, InputFacts(), found


def _check_remote(
    name: str, location: RemoteLocation, limits: Limits, remote: RemoteInputs
) -> CheckedFile:
    kind = _kind(name)
    with remote.open(location, kind.expected, limits) as media:
        if kind is not _SUBTITLE or media.is_whole:
            return CheckedFile(media.size, kind.check(media, limits))
        check_subtitle_kind(media)
        data = remote.read_whole(location, limit=MAX_SUBTITLE_BYTES)
        whole = MediaFile(file=io.BytesIO(data), size=len(data))
        return CheckedFile(whole.size, kind.check(whole, limits))


class _Kind(NamedTuple):
    expected: str
    check: Callable[[MediaFile, Limits], InputFacts]


_PICTURE = _Kind(EXPECTED_PICTURE, check_picture)
_AUDIO = _Kind(EXPECTED_AUDIO, check_audio)
_SUBTITLE = _Kind(EXPECTED_SUBTITLES, check_subtitles)
_KINDS: Mapping[str, _Kind] = {
    "image": _PICTURE,
    "watermark": _PICTURE,
    "audio": _AUDIO,
    "music": _AUDIO,
    "subtitle": _SUBTITLE,
    "film_music": _AUDIO,
    "film_audio": _AUDIO,
    "film_subtitle": _SUBTITLE,
    "font": _Kind(EXPECTED_FONT, check_font),
}

# Name under which `check_unknown_file` checks a file.
_NAMES = {"picture": "image", "sound": "audio", "subtitle": "subtitle", "other": "font"}


def _kind(name: str) -> _Kind:
    return _KINDS[name.partition("-")[0]]  # further fonts are font-2, font-3...

"""Checks of the files of scenes and options: on this machine, in S3 and on web servers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from cloudburst.inputs.input_cache import InputCache
from cloudburst.inputs.media_file import MediaFile, open_media_file
from cloudburst.inputs.media_probe import (
    EXPECTED_AUDIO,
    EXPECTED_FONT,
    EXPECTED_PICTURE,
    EXPECTED_SUBTITLES,
    check_font,
    check_picture,
    check_subtitle_kind,
    check_subtitles,
    probe_audio_length,
)
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import MAX_SUBTITLE_BYTES
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.input_file import InputFacts
from cloudburst.models.limits import Limits
from cloudburst.models.locations import AnyLocation, RemoteLocation, local_paths

_CHECK_THREADS = 8
"""Number of files on this machine that are checked at once; more would not be faster."""
_REMOTE_CHECK_THREADS = 32
"""Number of files in S3 and on web servers that are checked at once. Their checks wait for answers
most of the time."""

InputFile: TypeAlias = tuple[str, AnyLocation]
"""Field of a scene or of the options, such as ``image``, and the location of its file."""


class CheckedFile(NamedTuple):
    """Valid file, as far as the check has read it."""

    size: int | None
    """Size in bytes; ``None`` if its server does not report it."""
    facts: InputFacts


def check_files(
    files: Iterable[InputFile], limits: Limits, remote: RemoteInputs, cache: InputCache
) -> dict[InputFile, CheckedFile | InvalidInputError]:
    """Check files, and return the result or the error of each one.

    Args:
        files: The files.
        limits: Limits of the files.
        remote: Access to files in S3 and on web servers.
        cache: Cache, in which results for files on this machine are found and noted.
    """

    def check(file: InputFile) -> CheckedFile | InvalidInputError:
        name, location = file
        try:
            if isinstance(location, Path):
                return _check_local(name, location, limits, cache)
            return _check_remote(name, location, limits, remote)
        except InvalidInputError as exc:
            remote.raise_if_stopped()
            return exc

    files = list(files)
    local = [file for file in files if isinstance(file[1], Path)]
    elsewhere = [file for file in files if not isinstance(file[1], Path)]
    cache.load(dict.fromkeys(local_paths(location for _, location in local)))
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
    try:
        return _check_local(name, path, limits, InputCache())
    except InvalidInputError as exc:
        return exc


def _check_local(name: str, path: Path, limits: Limits, cache: InputCache) -> CheckedFile:
    kind = _KINDS[name]
    version: FileVersion | None = None
    with suppress(OSError, ValueError):  # raised again when the file is opened
        version = FileVersion.from_path(path)
    known = None if version is None else cache.find(version)
    if version is not None and known is not None and _is_valid(version, known.facts, kind, limits):
        facts = known.facts
    else:
        with open_media_file(path, kind.expected, limits) as media:
            facts = kind.check(media, limits)
        if version is None:  # the file has appeared since
            raise InvalidInputError("changed while it was checked", kind.expected)
    cache.note_checked(version, facts)
    return CheckedFile(version.size, facts)


def _is_valid(version: FileVersion, facts: InputFacts, kind: _Kind, limits: Limits) -> bool:
    """Return whether a file that was found valid before is so with these limits, as this kind.

    Subtitles are read again, for their characters.
    """
    return (
        facts.kind == kind.name != "subtitles"
        and version.size <= limits.file_bytes
        and facts.pixels <= limits.image_pixels
        and not (facts.length_known and facts.seconds > limits.audio_seconds)
    )


def _check_remote(
    name: str, location: RemoteLocation, limits: Limits, remote: RemoteInputs
) -> CheckedFile:
    kind = _KINDS[name]
    with remote.open(location, kind.expected, limits) as media:
        if name != "subtitle" or media.is_whole:
            return CheckedFile(media.size, kind.check(media, limits))
        check_subtitle_kind(media)
        data = remote.read_whole(location, limit=MAX_SUBTITLE_BYTES)
        whole = MediaFile(file=io.BytesIO(data), size=len(data))
        return CheckedFile(whole.size, kind.check(whole, limits))


def _picture(media: MediaFile, limits: Limits) -> InputFacts:
    size = check_picture(media, limits)
    return InputFacts(kind="picture", pixels=size.pixels, upright=size.upright)


def _audio(media: MediaFile, limits: Limits) -> InputFacts:
    length = probe_audio_length(media, limits)
    return InputFacts(kind="audio", seconds=length.seconds, length_known=length.is_known)


def _subtitles(media: MediaFile, _limits: Limits) -> InputFacts:
    return InputFacts(kind="subtitles", characters=check_subtitles(media))


def _font(media: MediaFile, _limits: Limits) -> InputFacts:
    check_font(media)
    return InputFacts(kind="font")


class _Kind(NamedTuple):
    """Kind of a file, and how it is checked."""

    name: str
    expected: str
    """Description of a valid file."""
    check: Callable[[MediaFile, Limits], InputFacts]


_PICTURE = _Kind("picture", EXPECTED_PICTURE, _picture)
_AUDIO = _Kind("audio", EXPECTED_AUDIO, _audio)
_KINDS: Mapping[str, _Kind] = {
    "image": _PICTURE,
    "watermark": _PICTURE,
    "audio": _AUDIO,
    "music": _AUDIO,
    "subtitle": _Kind("subtitles", EXPECTED_SUBTITLES, _subtitles),
    "font": _Kind("font", EXPECTED_FONT, _font),
}

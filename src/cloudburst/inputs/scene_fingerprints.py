"""Computation of the fingerprints of scenes, which reads the files of the scenes and blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.inputs.input_cache import InputCache, KnownInput
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.file_versions import FileChangedError, FileVersion
from cloudburst.models.fingerprint import fingerprint
from cloudburst.models.locations import AnyLocation, RemoteLocation
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import CheckedScene
from cloudburst.text import shorten

_READ_THREADS = 2
"""Number of files that are read at once; more busy threads would delay the event loop's thread."""
_UNCHANGED = "a file that stays the same during a run"


class ReadingStoppedError(Exception):
    """Error for files that are not read to their end because the reading was stopped."""


def add_fingerprints(
    scenes: Sequence[CheckedScene],
    remote: Mapping[RemoteLocation, RemoteFile],
    *,
    cache: InputCache | None = None,
    stop: threading.Event | None = None,
) -> tuple[CheckedScene, ...]:
    """Return the scenes with their fingerprints; every file on this machine is read once.

    The contents of files affect the fingerprint, their paths do not. The content of a remote file
    is not read: its version stands for it. Of the effects in the options, only the one that is
    drawn for the scene counts. A file whose hash is in the cache is not read.

    Args:
        scenes: Scenes that passed the check.
        remote: Remote files of the scenes, as the check has found them.
        cache: Cache with the results of the check; it gets the hashes, and is saved. ``None``: all
            files are read.
        stop: Event that is set to end the reading early.

    Raises:
        InvalidScenesError: Files were changed or removed since they were checked; the error lists
            all of them.
        ReadingStoppedError: ``stop`` was set.
    """
    cache, stop = cache or InputCache(), stop or threading.Event()
    users = _users(scenes)

    def read(path: Path) -> str | InvalidInputError:
        try:
            return _read(path, cache, stop)
        except InvalidInputError as exc:
            return exc

    with ThreadPoolExecutor(_READ_THREADS, "cloudburst-fingerprint") as threads:
        try:
            found = dict(zip(users, threads.map(read, users), strict=True))
        except BaseException:
            stop.set()
            raise
        finally:
            cache.save()
    faults = [
        SceneFault(*user, f"{error.found}: {shorten(str(path), 1000)}", expected=error.expected)
        for path, error in found.items()
        if isinstance(error, InvalidInputError)
        for user in users[path]
    ]
    if faults:
        raise InvalidScenesError(faults=faults)
    hashed = dict[AnyLocation, str | None]()
    hashed |= {path: sha256 for path, sha256 in found.items() if isinstance(sha256, str)}
    hashed |= {location: file.version for location, file in remote.items()}
    return tuple(
        scene.model_copy(update={"fingerprint": _fingerprint(scene, hashed)}) for scene in scenes
    )


def _users(scenes: Sequence[CheckedScene]) -> dict[Path, list[tuple[str, str]]]:
    """Return the scenes and fields that use each file on this machine.

    Of the scenes with the same file in their options, only the first one counts: it is usually in
    the options of the run.
    """
    users = dict[Path, list[tuple[str, str]]]()
    for scene in scenes:
        for field, location in scene.scene.files().items():
            if isinstance(location, Path):
                users.setdefault(location, []).append((scene.scene.name, field))
        for field, location in scene.options.files().items():
            if isinstance(location, Path):
                users.setdefault(location, [(scene.scene.name, field)])
    return users


def _files(scene: CheckedScene) -> dict[str, AnyLocation]:
    return scene.scene.files() | scene.options.files()


def _fingerprint(scene: CheckedScene, hashed: Mapping[AnyLocation, str | None]) -> str:
    files = {name: hashed[location] for name, location in _files(scene).items()}
    return fingerprint(scene.scene.name, scene.options, files, duration=scene.scene.duration)


def _read(path: Path, cache: InputCache, stop: threading.Event) -> str:
    """Return the hash of a file, from the cache or by reading the file.

    Raises:
        InvalidInputError: The file was changed or removed.
        ReadingStoppedError: ``stop`` was set.
    """
    if stop.is_set():
        raise ReadingStoppedError
    try:
        version, checked = FileVersion.from_path(path), cache.checked_version(path)
        if checked is not None and not version.has_content_of(checked):
            raise InvalidInputError("changed since it was checked", _UNCHANGED)
        known = cache.find(checked or version)
        if known is not None and known.sha256 is not None and version == (checked or version):
            return known.sha256
        return _read_content(version, known, cache, stop)
    except FileNotFoundError as exc:
        raise InvalidInputError("no longer there", "a file") from exc
    except FileChangedError as exc:
        raise InvalidInputError("changed while it was read", _UNCHANGED) from exc
    except OSError as exc:
        raise InvalidInputError(f"unreadable: {exc.strerror or exc}", "a readable file") from exc


def _read_content(
    version: FileVersion, known: KnownInput | None, cache: InputCache, stop: threading.Event
) -> str:
    def check_stop() -> None:
        if stop.is_set():
            raise ReadingStoppedError

    began_ns = time.time_ns()
    sha256 = version.compute_sha256(check_stop)
    if known is not None and known.sha256 not in {None, sha256}:
        raise InvalidInputError("changed since it was checked", _UNCHANGED)
    if known is not None:
        cache.note_read(version, known.facts, sha256, began_ns=began_ns)
    return sha256

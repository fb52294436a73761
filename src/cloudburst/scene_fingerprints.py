"""Computation of the fingerprints of scenes, which reads the files of the scenes and blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.fingerprint import fingerprint
from cloudburst.models.locations import AnyLocation, RemoteLocation, local_paths
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import CheckedScene
from cloudburst.safe_files import open_regular_file

_HASH_THREADS = 2
"""Number of files that are hashed at once; more busy threads would delay the event loop's
thread."""


def add_fingerprints(
    scenes: Sequence[CheckedScene], remote: Mapping[RemoteLocation, RemoteFile]
) -> tuple[CheckedScene, ...]:
    """Return the scenes with their fingerprints; every file on this machine is read once.

    The contents of files affect the fingerprint, their paths do not. The content of a remote file
    is not read: its version stands for it. Of the effects in the options, only the one that is
    drawn for the scene counts. Raises `InvalidScenesError` for a file that was removed since it was
    checked.

    Args:
        scenes: Scenes that passed the check.
        remote: Remote files of the scenes, as the check has found them.
    """
    files = dict[Path, str]()  # with a scene that uses it
    for scene in scenes:
        files |= dict.fromkeys(local_paths(_files(scene).values()), scene.scene.name)
    with ThreadPoolExecutor(_HASH_THREADS, "cloudburst-fingerprint") as threads:
        hashed = dict[AnyLocation, str | None](zip(files, threads.map(_sha256, files), strict=True))
    if gone := [path for path in files if hashed[path] is None]:
        faults = [SceneFault(files[path], str(path), "no longer there", "a file") for path in gone]
        raise InvalidScenesError(faults=faults)
    hashed |= {location: file.version for location, file in remote.items()}
    return tuple(
        scene.model_copy(update={"fingerprint": _fingerprint(scene, hashed)}) for scene in scenes
    )


def _files(scene: CheckedScene) -> dict[str, AnyLocation]:
    return scene.scene.files() | scene.options.files()


def _fingerprint(scene: CheckedScene, hashed: Mapping[AnyLocation, str | None]) -> str:
    files = {name: hashed[location] for name, location in _files(scene).items()}
    return fingerprint(scene.scene.name, scene.options, files, duration=scene.scene.duration)


def _sha256(path: Path) -> str | None:
    try:
        with open_regular_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None

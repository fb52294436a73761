"""Whether a video would look the same again: a hash of all that it is made of. Blocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import CheckedScene

_FORMAT = 1
"""Another number when videos of the same inputs shall be rendered again."""
_THREADS = 2
"""Files hashed at once: more threads with nothing but work would hold up the loop's."""


def fingerprinted(
    scenes: Sequence[CheckedScene], options: RenderOptions
) -> tuple[CheckedScene, ...]:
    """The same scenes, each with its fingerprint. Every file is read once.

    Where files lie and what they are called does not count; of the effects only the one counts
    that is drawn for the scene. Raises `InvalidScenesError` for a file that is gone meanwhile.
    """
    files = dict[Path, str]()  # and which scene wants it
    for scene in scenes:
        files |= dict.fromkeys(_files(scene, options).values(), scene.scene.name)
    with ThreadPoolExecutor(_THREADS, "cloudburst-fingerprint") as threads:
        hashed = dict(zip(files, threads.map(_sha256, files), strict=True))
    if gone := [path for path, sha256 in hashed.items() if sha256 is None]:
        faults = [SceneFault(files[path], str(path), "gone", "a file") for path in gone]
        raise InvalidScenesError(faults=faults)
    return tuple(
        scene.model_copy(update={"fingerprint": _fingerprint(scene, options, hashed)})
        for scene in scenes
    )


def _files(scene: CheckedScene, options: RenderOptions) -> dict[str, Path]:
    paths = {
        "image": scene.scene.image,
        "audio": scene.scene.audio,
        "subtitle": scene.scene.subtitle,
        "watermark": options.watermark,
    }
    return {name: path for name, path in paths.items() if path is not None}


def _fingerprint(
    scene: CheckedScene, options: RenderOptions, hashed: dict[Path, str | None]
) -> str:
    look = options.model_dump(mode="json", exclude={"effects", "watermark"})
    look["effect"] = options.effect_for(scene.scene.name)
    files = {name: hashed[path] for name, path in _files(scene, options).items()}
    told = {"format": _FORMAT, "look": look, "files": files}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None

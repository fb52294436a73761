"""Checks that no output of a run replaces one of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.locations import OutputLocation, local_paths
from cloudburst.models.scene import CheckedScene, cover_path

_NEW_FOLDER = "another folder for the videos, so that no cover replaces an input"
_NEW_FOLDER_IN_S3 = "another folder for the videos, so that no input is replaced"


def check_covers(scenes: Sequence[CheckedScene], folder: Path) -> None:
    """Check that no cover would replace an input of the run, such as a picture beside its video.

    Raises `InvalidScenesError` with each such cover. Blocks.
    """
    covers = {
        scene.scene.name: cover_path(folder / f"{scene.scene.name}.mp4")
        for scene in scenes
        if scene.options.cover
    }
    files = {name: identity for name, path in covers.items() if (identity := file_identity(path))}
    inputs = {
        file_identity(path)
        for scene in scenes
        if files
        for path in local_paths((scene.scene.files() | scene.options.files()).values())
    }
    faults = [
        SceneFault(name, "options.cover", f"an input at its place: {covers[name]}", _NEW_FOLDER)
        for name, identity in files.items()
        if identity in inputs
    ]
    if faults:
        raise InvalidScenesError(faults=faults)


def check_objects(scenes: Sequence[CheckedScene], video: Callable[[str], OutputLocation]) -> None:
    """Check that no video and no cover in S3 would replace an input of the run.

    Args:
        scenes: Scenes of the run.
        video: Function that returns the location of a scene's video.

    Raises:
        InvalidScenesError: With each such video and cover.
    """
    inputs = {
        location
        for scene in scenes
        for location in (scene.scene.files() | scene.options.files()).values()
    }
    faults: list[SceneFault] = []
    for scene in scenes:
        name = scene.scene.name
        outputs = {"name": video(name)}
        if scene.options.cover:
            outputs["options.cover"] = cover_path(video(name))
        faults += [
            SceneFault(name, field, f"an input at its place: {location}", _NEW_FOLDER_IN_S3)
            for field, location in outputs.items()
            if location in inputs
        ]
    if faults:
        raise InvalidScenesError(faults=faults)


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the number of a file; ``None`` if there is no such file. Blocks."""
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None

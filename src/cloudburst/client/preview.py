"""Preview of a video: one of its frames, drawn on this machine without rendering the video."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from cloudburst.errors import (
    CloudburstError,
    ConfigurationError,
    InvalidScenesError,
    OutputExistsError,
    OutputWriteError,
    RenderFailedError,
    SceneFault,
)
from cloudburst.files import file_identity, replaced_file
from cloudburst.inputs.remote_inputs import RemoteInputs, open_remote_inputs
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits
from cloudburst.models.locations import local_paths
from cloudburst.models.options import RenderOptions, given_options
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.models.settings import Settings
from cloudburst.text import describe_error
from cloudburst.workers.local.frame import MAX_FRAME_WIDTH, draw_frame
from cloudburst.workers.temporary_folders import temporary_folder

# File formats by the suffix of a path
_SUFFIXES = {".png": ".png", ".jpg": ".jpg", ".jpeg": ".jpg"}
# Maximum size of a file in S3 or on a web server, in bytes: it is in memory while it is read.
_MAX_REMOTE_BYTES = 64 * 1024 * 1024


class Frame(bytes):
    """File of a picture, which a notebook shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Frame: {len(self)} bytes>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, bytes]:
        media_type = "image/png" if self.startswith(b"\x89PNG") else "image/jpeg"
        return {media_type: bytes(self)}


async def render_frame(
    scene: Scene | Mapping[str, Any],
    at: float = 0.0,
    *,
    to: Path | str | None = None,
    options: RenderOptions | None = None,
    overwrite: bool = False,
    jpeg: bool = False,
    width: int | None = None,
    limits: Limits | None = None,
    settings: Settings | None = None,
) -> Frame:
    """Return one frame of a scene's video as a picture, drawn by a process on this machine.

    The pixels are those of the video before it is encoded. The sound is decoded to find the length
    of the video, on which the position of the camera depends. What is left out or ignored is logged
    as a warning. Needs the extra ``[local]``.

    Args:
        scene: The scene, as for `Client.render`.
        at: Time in the video, in seconds.
        to: Path of a file for the picture, ending in ``.png``, ``.jpg`` or ``.jpeg``; ``None``: no
            file is written.
        options: Appearance of the video.
        overwrite: True to replace an existing file.
        jpeg: True for a JPEG instead of a PNG if no file is written.
        width: Width in pixels to which a wider picture is reduced; ``None``: it is not reduced.
        limits: Limits of the input files; those in S3 and on web servers have at most 64 MiB.
        settings: Settings with which files in S3 are read; ``None``: those of the environment.

    Raises:
        InvalidScenesError: The scene or an option is invalid, an input cannot be rendered, or the
            video ends before this time.
        ConfigurationError: The file exists, has another suffix, or this machine lacks ``[local]``.
        RenderFailedError: The frame could not be drawn.
        OutputWriteError: The file cannot be written.
    """
    limits, file = limits or Limits(), None if to is None else Path(to)
    suffix = ".jpg" if jpeg else ".png"
    if file is not None and not (suffix := _SUFFIXES.get(file.suffix.lower(), "")):
        raise ConfigurationError(f"{file}: expected a name that ends in {', '.join(_SUFFIXES)}")
    look = given_options(options, RenderOptions())
    remote = open_remote_inputs(settings)
    name = ""
    try:
        async with temporary_folder() as folder:
            check = partial(_check, scene, at, options=look, limits=limits)
            checked = await remote.call_in_thread(partial(check, remote=remote, folder=folder))
            name = checked.scene.name
            if file is not None:
                await anyio.to_thread.run_sync(_check_file, file, checked, overwrite)
            picture = await draw_frame(
                *(folder, checked, at),
                suffix=suffix,
                width=width or MAX_FRAME_WIDTH,
                limits=limits,
            )
    except CloudburstError:
        raise
    except OSError as exc:  # TimeoutError is one
        msg = f"the frame cannot be drawn: {describe_error(exc)}"
        raise RenderFailedError(msg, scene=name) from exc
    if file is not None:
        await anyio.to_thread.run_sync(_write, file, picture, name, overwrite)
    return Frame(picture)


def _check(
    scene: Scene | Mapping[str, Any],
    at: float,
    *,
    options: RenderOptions,
    limits: Limits,
    remote: RemoteInputs,
    folder: Path,
) -> CheckedScene:
    """Return the checked scene, of which remote files are written into a folder."""
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.preflight import check_scenes  # noqa: PLC0415

    (checked,) = check_scenes([scene], options, limits, remote=remote)
    if checked.undrawable:
        raise InvalidScenesError(faults=checked.undrawable)
    if not (math.isfinite(at) and at >= 0):
        expected = "a time in seconds, at least 0"
        fault = SceneFault(checked.scene.name, "at", f"{at:g}", expected, "out_of_range")
        raise InvalidScenesError(faults=[fault])
    limit = min(_MAX_REMOTE_BYTES, limits.file_bytes)
    for name, location in checked.files().items():
        if isinstance(location, Path):
            continue
        try:
            data = remote.read_whole(location, limit=limit)
        except InvalidInputError as exc:
            found = f"{exc.found}: {location}"
            fault = SceneFault(checked.scene.name, name, found, exc.expected, exc.code)
            raise InvalidScenesError(faults=[fault]) from exc
        (folder / name).write_bytes(data)
    return checked


def _check_file(file: Path, scene: CheckedScene, overwrite: bool) -> None:
    inputs = map(file_identity, local_paths(scene.files().values()))
    if file.is_dir() or (os.path.lexists(file) and file_identity(file) in inputs):
        raise ConfigurationError(
            f"{file}: a folder or an input of the scene; expected another file"
        )
    if not overwrite and os.path.lexists(file):
        raise _exists(file)


def _exists(file: Path) -> OutputExistsError:
    return OutputExistsError(f"{file} already exists; overwrite=True replaces it", paths=[file])


def _write(file: Path, picture: bytes, scene: str, overwrite: bool) -> None:
    try:
        with replaced_file(file) as out:
            out.write(picture)
            if not overwrite and os.path.lexists(file):  # it has appeared meanwhile
                raise _exists(file)
    except OutputExistsError:
        raise
    except OSError as exc:
        msg = f"{file} cannot be written: {exc.strerror or exc}"
        raise OutputWriteError(msg, scene=scene) from exc

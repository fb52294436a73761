"""Preview of a video: one of its frames, drawn on this machine without rendering the video."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread

from cloudburst.errors import (
    ConfigurationError,
    InvalidScenesError,
    OutputExistsError,
    OutputWriteError,
    SceneFault,
)
from cloudburst.models.limits import Limits
from cloudburst.models.locations import local_paths
from cloudburst.models.options import RenderOptions, given_options
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.workers.local.frame import draw_frame

# File formats by the suffix of a path
_SUFFIXES = {".png": ".png", ".jpg": ".jpg", ".jpeg": ".jpg"}


async def render_frame(
    scene: Scene | Mapping[str, Any],
    at: float = 0.0,
    *,
    to: Path | str | None = None,
    options: RenderOptions | None = None,
    overwrite: bool = False,
    limits: Limits | None = None,
) -> bytes:
    """Return one frame of a scene's video as a picture, drawn by a process on this machine.

    The pixels are those of the video before it is encoded. The sound is decoded to find the length
    of the video, on which the position of the camera depends. What is left out or ignored is logged
    as a warning. Needs the extra ``[local]``.

    Args:
        scene: The scene, as for `Client.render`.
        at: Time in the video, in seconds.
        to: Path of a file for the picture, ending in ``.png``, ``.jpg`` or ``.jpeg``; ``None``: no
            file is written, and the result is a PNG.
        options: Appearance of the video.
        overwrite: True to replace an existing file.
        limits: Limits of the input files.

    Raises:
        InvalidScenesError: The scene or an option is invalid, an input cannot be rendered, or the
            video ends before this time.
        ConfigurationError: The file exists, or has another suffix.
        LaunchError: The extra ``[local]`` is not installed.
        RenderFailedError: The frame could not be drawn.
        OutputWriteError: The file cannot be written.
    """
    limits, file = limits or Limits(), None if to is None else Path(to)
    suffix = ".png" if file is None else _SUFFIXES.get(file.suffix.lower())
    if suffix is None:
        raise ConfigurationError(f"{file}: expected a name that ends in {', '.join(_SUFFIXES)}")
    look = given_options(options, RenderOptions())
    checked = await anyio.to_thread.run_sync(_check, scene, at, look, limits)
    if file is not None:
        await anyio.to_thread.run_sync(_check_file, file, checked, overwrite)
    picture = await draw_frame(checked, at, suffix=suffix, limits=limits)
    if file is not None:
        await anyio.to_thread.run_sync(_write, file, picture, checked.scene.name, overwrite)
    return picture


def _check(
    scene: Scene | Mapping[str, Any], at: float, options: RenderOptions, limits: Limits
) -> CheckedScene:
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.preflight import check_scenes  # noqa: PLC0415

    (checked,) = check_scenes([scene], options, limits)
    if checked.undrawable:
        raise InvalidScenesError(faults=checked.undrawable)
    if not (math.isfinite(at) and at >= 0):
        expected = "a time in seconds, at least 0"
        fault = SceneFault(checked.scene.name, "at", f"{at:g}", expected, "out_of_range")
        raise InvalidScenesError(faults=[fault])
    return checked


def _check_file(file: Path, scene: CheckedScene, overwrite: bool) -> None:
    if not os.path.lexists(file):
        return
    inputs = local_paths(scene.files().values())
    if file.is_dir() or any(_is_same(file, path) for path in inputs):
        raise ConfigurationError(
            f"{file}: a folder or an input of the scene; expected another file"
        )
    if not overwrite:
        raise _exists(file)


def _exists(file: Path) -> OutputExistsError:
    return OutputExistsError(f"{file} already exists; overwrite=True replaces it", paths=[file])


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def _write(file: Path, picture: bytes, scene: str, overwrite: bool) -> None:
    part = file.with_name(f".{secrets.token_hex(6)}{file.suffix}.part")
    try:
        try:
            with part.open("xb") as out:
                out.write(picture)
            if not overwrite:  # the file may have appeared while the frame was drawn
                file.open("xb").close()
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError as exc:
        raise _exists(file) from exc
    except OSError as exc:
        msg = f"{file} cannot be written: {exc.strerror or exc}"
        raise OutputWriteError(msg, scene=scene) from exc

"""``cloudburst frame``: draws one frame of a scene's video."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter

from cloudburst.cli.look_options import HiddenLooks, LookOptions
from cloudburst.cli.options import RUN, Delay, Name
from cloudburst.cli.output import print_output
from cloudburst.display.terminal_texts import safe_text, unwrapped
from cloudburst.display.texts import short_path
from cloudburst.errors import ConfigurationError
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.inputs.scenes import read_scenes
from cloudburst.models.locations import is_url
from cloudburst.models.scene import SceneDict
from cloudburst.models.settings import Settings
from cloudburst.text import shorten


def frame_command(
    scenes: str,
    /,
    *,
    at: Annotated[Delay, Parameter(group=RUN)] = 0.0,
    scene: Annotated[Name | None, Parameter(group=RUN)] = None,
    to: Annotated[Path | None, Parameter(group=RUN)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    video: HiddenLooks = None,
) -> int:
    """Draw one frame of a scene's video on this machine, without rendering the video.

    The pixels are those of the video before it is encoded. Options for the look are accepted as by
    render: cloudburst --help-looks describes them.

    $ cloudburst frame scenes.json --at 2.5s --caption pop
    $ cloudburst frame folder/ --scene 03-chapter --to frame.png

    Parameters
    ----------
    scenes
        File or folder of scenes; also in S3, such as s3://bucket/folder/.
    at
        Time in the video, such as 2.5s or 1m10s. Default: 0.
    scene
        Name of the scene. Default: the first one.
    to
        File for the picture, ending in .png or .jpg. Default: NAME-2.5s.png in this folder.
    overwrite
        Replace an existing file.
    """
    from cloudburst.client.preview import render_frame  # noqa: PLC0415 - takes a while to import

    with open_remote_inputs(Settings()) as remote:
        chosen = _choose(read_scenes(scenes, remote=remote), scene, scenes)
    file = to or Path(f"{_name(chosen)}-{at:g}s.png")
    options = (video or LookOptions()).options()
    anyio.run(partial(render_frame, chosen, at, to=file, options=options, overwrite=overwrite))
    print_output(unwrapped(safe_text(short_path(file.absolute()))))
    return 0


def _choose(scenes: list[SceneDict], name: str | None, source: str) -> SceneDict:
    shown = source if is_url(source) else short_path(Path(source))
    found = [scene for scene in scenes if name is None or _name(scene) == name]
    if not found:
        if name is None:
            raise ConfigurationError(f"{shown}: no scene")
        names = ", ".join(map(_name, scenes))
        msg = f"{shown}: no scene with the name {name!r}; expected one of {names}"
        raise ConfigurationError(shorten(msg, 1000))
    return found[0]


def _name(scene: SceneDict) -> str:
    return str(scene.get("name", scene.get("scene_name", "scene")))

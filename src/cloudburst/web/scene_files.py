"""Files of scenes in a request: names in the request are replaced by locations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.locations import AnyLocation
from cloudburst.models.options import is_option_file, may_be_file
from cloudburst.text import printable_line

Locate: TypeAlias = Callable[[str], AnyLocation]
"""Function that returns the location for a name in a request. It raises `InvalidInputError` if the
name must not, or cannot, be used."""

_FILES = ("image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path")
"""Fields of a scene that contain the name of a file."""


def locate_files(
    raw_scenes: Sequence[Any], options: Mapping[str, Any], locate: Locate
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return scenes and options of a request with a location in place of each name of a file.

    Everything else is checked later: `cloudburst.preflight`. Raises `InvalidScenesError` with the
    scene and the field of each name without a location.
    """
    faults = list[SceneFault]()
    scenes = [_scene(raw, place, locate, faults) for place, raw in enumerate(raw_scenes)]
    located = _options(options, "", locate, faults)
    if faults:
        raise InvalidScenesError(faults=faults)
    return scenes, located


def _scene(raw: Any, place: int, locate: Locate, faults: list[SceneFault]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        faults.append(
            SceneFault(f"scenes[{place}]", "scene", "no object", "an object with fields of a scene")
        )
        return {}
    scene = dict(cast("dict[str, Any]", raw))
    name: object = scene.get("name") or scene.get("scene_name")
    label = printable_line(name, 100) if isinstance(name, str) else f"scenes[{place}]"
    for key in _FILES:
        if (file := scene.get(key)) is not None and file != "":
            scene[key] = _location(label, key, file, locate, faults)
    if isinstance(options := scene.get("options"), dict):
        scene["options"] = _options(cast("dict[str, Any]", options), label, locate, faults)
    return scene


def _options(
    options: Mapping[str, Any], scene: str, locate: Locate, faults: list[SceneFault]
) -> dict[str, Any]:
    located = dict(options)
    for key, value in options.items():
        if is_option_file(key, value):
            located[key] = _location(scene, f"options.{key}", value, locate, faults)
        elif may_be_file(key) and isinstance(value, str):
            try:
                located[key] = locate(value)  # a font, which needs no suffix as a file
            except InvalidInputError:
                continue  # a font family
    return located


def _location(
    scene: str, key: str, name: object, locate: Locate, faults: list[SceneFault]
) -> AnyLocation | None:
    if not isinstance(name, str):
        faults.append(SceneFault(scene, key, "no text", "the name of a file, as text"))
        return None
    try:
        return locate(name)
    except InvalidInputError as exc:
        faults.append(SceneFault(scene, key, exc.found, exc.expected))
        return None

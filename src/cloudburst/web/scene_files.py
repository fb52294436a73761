"""Files of scenes in a request: names in the request are replaced by locations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from starlette.exceptions import HTTPException

from cloudburst.models.locations import AnyLocation
from cloudburst.models.options import is_option_file, may_be_file

_FILES = {"image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path"}
"""Fields of a scene that contain the name of a file."""


def locate_files(
    raw_scenes: Sequence[Any], find: Callable[[str], AnyLocation | None], expected: str
) -> list[dict[str, Any]]:
    """Return scenes of a request with a location in place of each name of a file.

    Everything else in the scenes is checked when they are rendered.

    Args:
        raw_scenes: Scenes of the request.
        find: Function that returns the location for a name, or ``None``.
        expected: Description of a valid name.

    Raises:
        HTTPException: Status 400 with the scene and the field, if there is no location for a name.
    """
    located = list[dict[str, Any]]()
    for index, raw in enumerate(raw_scenes):
        place = f"scenes[{index}]"
        if not isinstance(raw, dict):
            raise HTTPException(400, f"{place}: expected an object with the fields of a scene")
        scene = dict(cast("dict[str, Any]", raw))
        for key in scene.keys() & _FILES:
            if (name := scene[key]) is not None and name != "":
                scene[key] = _location(f"{place}: {key}", name, find, expected)
        if isinstance(options := scene.get("options"), dict):
            options = cast("dict[str, Any]", options)
            scene["options"] = locate_option_files(options, find, expected, f"{place}: options.")
        located.append(scene)
    return located


def locate_option_files(
    options: Mapping[str, Any],
    find: Callable[[str], AnyLocation | None],
    expected: str,
    place: str,
) -> dict[str, Any]:
    """Return render options with a location in place of each name of a file.

    ``place`` comes before the name of the option in errors. For the other parameters and the error
    see `locate_files`.
    """
    return dict(_located_options(options, find, expected, place))


def _located_options(
    options: Mapping[str, Any],
    find: Callable[[str], AnyLocation | None],
    expected: str,
    place: str,
) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if is_option_file(key, value):
            yield key, _location(f"{place}{key}", value, find, expected)
        elif may_be_file(key) and isinstance(value, str) and (location := find(value)):
            yield key, location  # a font, which needs no suffix as a file
        else:
            yield key, value


def _location(
    place: str, name: object, find: Callable[[str], AnyLocation | None], expected: str
) -> AnyLocation:
    location = find(name) if isinstance(name, str) else None
    if location is None:
        raise HTTPException(400, f"{place}: expected {expected}")
    return location

"""Checks scenes before anything is started or paid for, and tells all their faults at once."""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import AliasChoices, ValidationError
from pydantic_core import ErrorDetails

from cloudburst.content import (
    PICTURE,
    SOUND,
    SUBTITLES,
    UnfitError,
    check_picture,
    check_subtitles,
    file_size,
    sound_seconds,
)
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits
from cloudburst.models.scene import CheckedScene, Scene, folded

_THREADS = 8
"""Files looked at at once: a disk gains nothing from more."""
_ALIASES = {
    name: tuple(str(choice) for choice in info.validation_alias.choices)
    for name, info in Scene.model_fields.items()
    if isinstance(info.validation_alias, AliasChoices)
}
"""Each field of a scene, and the names under which callers may write it: the old one last."""
_WANTED = {"name": "a name", "image": PICTURE, "audio": SOUND, "subtitle": SUBTITLES}


class _File(NamedTuple):
    size: int
    seconds: float = 0.0


@dataclass(slots=True)
class _Entry:
    """One scene, or the options, as far as it is understood."""

    label: str
    spelling: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the caller calls each field; a field that is not in here has its own name."""
    scene: Scene | None = None
    """With absolute paths; ``None`` when its form is wrong."""
    paths: dict[str, Path] = field(default_factory=dict[str, Path])
    """The files of each field."""
    faults: list[SceneFault] = field(default_factory=list[SceneFault])

    def fault(self, name: str, found: str, expected: str) -> None:
        written = self.spelling.get(name, name)
        self.faults.append(SceneFault(self.label, written, found, expected))


def check(
    scenes: Iterable[Scene | Mapping[str, Any]], options: RenderOptions, limits: Limits
) -> tuple[CheckedScene, ...]:
    """The scenes with absolute paths, in their order, with length and size.

    Relative paths count from the current folder. Blocks while it reads the files: call it in a
    thread. Raises `InvalidScenesError` with every fault of every scene and of the watermark.
    """
    entries = [_entry(raw, f"scenes[{place}]") for place, raw in enumerate(scenes)]
    _mark_duplicates(entries)
    rest = _Entry("options") if entries else _Entry("")
    if not entries:
        rest.fault("scenes", "none", "at least one scene")
    if options.watermark is not None:
        rest.paths["watermark"] = options.watermark.absolute()
    files = _look([*entries, rest], limits)
    if faults := [fault for entry in [*entries, rest] for fault in entry.faults]:
        raise InvalidScenesError(faults=faults)
    return tuple(
        CheckedScene(
            scene=entry.scene,
            seconds=files["audio", entry.paths["audio"]].seconds,
            bytes=sum(files[pair].size for pair in entry.paths.items()),
        )
        for entry in entries
        if entry.scene is not None
    )


def _entry(raw: object, place: str) -> _Entry:
    if isinstance(raw, Scene):
        return _understood(_Entry(raw.name), raw)
    if not isinstance(raw, Mapping):
        entry = _Entry(place)
        entry.fault("scene", _shown(raw), "a Scene, or a mapping with the fields of one")
        return entry
    fields = {str(key): value for key, value in cast("Mapping[object, object]", raw).items()}
    spelling = _spelling(fields)
    # Blank would mean the current folder.
    for name in (spelling["image"], spelling["audio"]):
        if fields.get(name) == "":
            del fields[name]
    try:
        scene = Scene.model_validate(fields)
    except ValidationError as exc:
        errors = exc.errors()
        named = all(error["loc"][0] != spelling["name"] for error in errors)
        entry = _Entry(str(fields[spelling["name"]]) if named else place, spelling)
        for error in errors:
            entry.fault(*_in_our_words(error, spelling))
        bad = {error["loc"][0] for error in errors}
        for name in ("image", "audio", "subtitle"):  # what has the right form is looked at anyway
            path = fields.get(spelling[name])
            if spelling[name] not in bad and isinstance(path, str | os.PathLike) and path != "":
                entry.paths[name] = Path(cast("str", path)).absolute()
        return entry
    return _understood(_Entry(scene.name, spelling), scene)


def _understood(entry: _Entry, scene: Scene) -> _Entry:
    paths = {"image": scene.image, "audio": scene.audio, "subtitle": scene.subtitle}
    entry.paths = {name: path.absolute() for name, path in paths.items() if path is not None}
    entry.scene = scene.model_copy(update=entry.paths)
    return entry


def _spelling(fields: Mapping[str, object]) -> dict[str, str]:
    """How this caller names each field; what is left out is named in the style of the rest."""
    old = any(key in fields for known in _ALIASES.values() for key in known[1:])
    return {
        name: next((key for key in known if key in fields), known[-1 if old else 0])
        for name, known in _ALIASES.items()
    }


def _in_our_words(error: ErrorDetails, spelling: Mapping[str, str]) -> tuple[str, str, str]:
    """Field, what was found and what was expected, of one pydantic error."""
    written = str(error["loc"][0])
    name = next((name for name, known in _ALIASES.items() if written in known), written)
    match error["type"]:
        case "missing":
            return name, "nothing", _WANTED[name]
        case "extra_forbidden" if name in spelling:
            return written, "the field twice", f"{spelling[name]} only"
        case "extra_forbidden":
            near = difflib.get_close_matches(written, spelling.values(), n=1)
            known = ", ".join(spelling.values())
            return written, "an unknown field", near[0] if near else f"one of {known}"
        case "value_error":
            return name, _shown(error["input"]), str(error.get("ctx", {})["error"])
        case _:
            expected = "a text" if name == "name" else f"the path of {_WANTED[name]}"
            return name, _shown(error["input"]), expected


def _mark_duplicates(entries: Sequence[_Entry]) -> None:
    """Names that one file system or another takes for the same file."""
    first: dict[str, int] = {}
    for place, entry in enumerate(entries):
        if entry.scene is None:
            continue
        earlier = first.setdefault(folded(entry.label), place)
        if earlier != place:
            other = f"{entries[earlier].label!r} of scenes[{earlier}]"
            found = f"{entry.label!r} of scenes[{place}], which may be the same file as {other}"
            entry.fault("name", found, "a name of its own")


def _look(entries: Iterable[_Entry], limits: Limits) -> dict[tuple[str, Path], _File]:
    """Look at every file once, however many scenes share it; note faults in the entries."""

    def look(pair: tuple[str, Path]) -> _File | UnfitError:
        try:
            return _LOOK[pair[0]](pair[1], limits)
        except UnfitError as exc:
            return exc

    entries = list(entries)
    pairs = list({pair: None for entry in entries for pair in entry.paths.items()})
    with ThreadPoolExecutor(_THREADS, "cloudburst-preflight") as threads:
        seen = dict(zip(pairs, threads.map(look, pairs), strict=True))
    for entry in entries:
        for name, path in entry.paths.items():
            if isinstance(unfit := seen[name, path], UnfitError):
                entry.fault(name, f"{unfit.found}: {path}", unfit.expected)
    return {pair: file for pair, file in seen.items() if isinstance(file, _File)}


def _picture(path: Path, limits: Limits) -> _File:
    size = file_size(path, PICTURE, limits)
    check_picture(path, limits)
    return _File(size)


def _sound(path: Path, limits: Limits) -> _File:
    size = file_size(path, SOUND, limits)
    return _File(size, sound_seconds(path, limits))


def _subtitles(path: Path, limits: Limits) -> _File:
    size = file_size(path, SUBTITLES, limits)
    check_subtitles(path)
    return _File(size)


_LOOK: Mapping[str, Callable[[Path, Limits], _File]] = {
    "image": _picture,
    "watermark": _picture,
    "audio": _sound,
    "subtitle": _subtitles,
}


def _shown(value: object) -> str:
    """The value as Python writes it, kept short."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 60
    return short.repr(value)

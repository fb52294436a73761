"""Scene files: readers of lists of scenes in JSON, YAML and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple, cast

from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.files import parse_json
from cloudburst.inputs.scene_folders import SceneFolder
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits
from cloudburst.models.options import OPTION_NAMES, RenderOptions, is_option_file, split_fonts
from cloudburst.models.scene import SceneDict
from cloudburst.text import printable_line, short_repr

MAX_SCENE_FILE_BYTES = 64 * 1024**2
"""Largest size of a scene file in bytes: more than a kilobyte for each of `MAX_SCENES` scenes."""
MAX_SCENES = 50_000
"""Maximum number of scenes in one file; checking 50,000 takes about 10 s on one core."""
_PATH_FIELDS = ("image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path")
# Maximum number of YAML nodes per scene, on average: a mapping with five keys and their values,
# and one with fourteen options
_NODES_PER_SCENE = 40
_SCENE_COLUMNS = (
    *("name", "scene_name", "title_card", "duration", "until", "transition"),
    *_PATH_FIELDS,
)
_CSV_COLUMNS = (*_SCENE_COLUMNS, *OPTION_NAMES)
# Advice for folders in which subtitles in JSON are taken for scenes.
JSON_SUBTITLES = "subtitles in JSON have the name of their picture and sound"


def is_scene_file(name: str) -> bool:
    """Return whether the ending of a name is that of a scene file."""
    return file_suffix(name) in _READERS


def read_scene_file(folder: SceneFolder, name: str) -> list[SceneDict]:
    """Return the scenes of a scene file, with absolute paths or URLs.

    Raises `ConfigurationError` for a file that cannot be read, or has no scenes or too many, and
    `InvalidScenesError` for scenes that are no mappings, or name files that they must not name.
    """
    path = folder.locate(name)
    if (read := _READERS.get(file_suffix(name))) is None:
        suffix = PurePosixPath(name).suffix
        found = f"a file ending in {suffix!r}" if suffix else "a file without an ending"
        raise ConfigurationError(f"{path}: {found}; expected .json, .yaml, .yml or .csv")
    file = _SceneFile(folder, path)
    text = _text(path, folder.read(name, limit=MAX_SCENE_FILE_BYTES))
    scenes = read(file, text) if text.strip() else []
    if not scenes:
        raise ConfigurationError(f"{path}: no scenes in it; expected at least one")
    if len(scenes) > MAX_SCENES:
        raise _too_many(file)
    return _with_locations(scenes, folder)


def file_suffix(name: str) -> str:
    """Return the suffix of a file in lower case, such as ``.csv``."""
    return PurePosixPath(name).suffix.lower()


class _SceneFile(NamedTuple):
    folder: SceneFolder
    location: str

    def __str__(self) -> str:
        return self.location


def _text(location: str, data: bytes) -> str:
    """Return the text of a file in UTF-8 or GB 18030, the encoding of Chinese spreadsheets."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigurationError(f"{location}: not text; expected UTF-8")


def _read_json(file: _SceneFile, text: str) -> list[SceneDict]:
    return _listed(file, parse_json(file.location, text))


def _read_yaml(file: _SceneFile, text: str) -> list[SceneDict]:
    try:
        from cloudburst.inputs.yaml_strings import parse_yaml  # noqa: PLC0415 - needs PyYAML
    except ImportError as exc:
        msg = f"{file}: YAML needs PyYAML: pip install 'cloudburst-sdk[cli]'"
        raise ConfigurationError(msg) from exc
    return _listed(file, parse_yaml(file.location, text, max_nodes=MAX_SCENES * _NODES_PER_SCENE))


def _read_csv(file: _SceneFile, text: str) -> list[SceneDict]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    scenes: list[SceneDict] = []
    try:
        columns = [cell.strip().lower() for cell in next(rows, ())]
        for column in columns:
            if column not in _CSV_COLUMNS or columns.count(column) > 1:
                known, shown = column in _CSV_COLUMNS, short_repr(column)
                found = f"the column {shown} twice" if known else f"an unknown column {shown}"
                expected = (
                    "name, image or title_card, audio or duration, optionally subtitle, transition "
                    "and render options"
                )
                raise ConfigurationError(f"{file}, line 1: {found}; expected {expected}")
        for cells in rows:
            if len(cells) > len(columns):
                found = f"line {rows.line_num}: {len(cells)} cells under {len(columns)} columns"
                raise ConfigurationError(f"{file}, {found}; expected quotes around {delimiter!r}")
            if any(cell.strip() for cell in cells):
                if len(scenes) == MAX_SCENES:
                    raise _too_many(file)
                pairs = zip(columns, (cell.strip() for cell in cells), strict=False)
                scenes.append(_scene_of_cells({column: cell for column, cell in pairs if cell}))
    except csv.Error as exc:
        raise ConfigurationError(f"{file}, line {rows.line_num}: invalid CSV: {exc}") from exc
    return scenes


def _scene_of_cells(cells: Mapping[str, str]) -> SceneDict:
    scene: SceneDict = {name: cell for name, cell in cells.items() if name in _SCENE_COLUMNS}
    options = {name: cell for name, cell in cells.items() if name not in _SCENE_COLUMNS}
    return scene | {"options": options} if options else scene


_READERS: Mapping[str, Callable[[_SceneFile, str], list[SceneDict]]] = {
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".csv": _read_csv,
}


def _listed(file: _SceneFile, data: object) -> list[SceneDict]:
    expected = f'a list of scenes, or {{"scenes": [...]}}; {JSON_SUBTITLES}'
    found = cast("SceneDict", data).get("scenes", data) if isinstance(data, dict) else data
    if not isinstance(found, list):
        raise ConfigurationError(f"{file}: {short_repr(found)}; expected {expected}")
    items = cast("list[object]", found)
    if len(items) <= MAX_SCENES and not all(isinstance(item, dict) for item in items):
        raise InvalidScenesError(faults=_faults(file, items))
    return cast("list[SceneDict]", found)


def _faults(file: _SceneFile, items: Sequence[object]) -> list[SceneFault]:
    from cloudburst.inputs.preflight import check_scenes  # noqa: PLC0415 - loads Pillow

    mappings = [cast("SceneDict", item) for item in items if isinstance(item, dict)]
    located = iter(_with_locations(mappings, file.folder))
    scenes: list[Any] = [next(located) if isinstance(item, dict) else item for item in items]
    try:
        check_scenes(scenes, RenderOptions(), Limits())
    except InvalidScenesError as exc:
        return [
            fault._replace(scene=f"{file}, {fault.scene}")
            if fault.scene.startswith("scenes[")
            else fault
            for fault in exc.faults
        ]
    raise AssertionError("unreachable: an item is not a mapping")


def _too_many(file: _SceneFile) -> ConfigurationError:
    msg = f"{file}: more than {MAX_SCENES:,} scenes; split the file and render one part at a time"
    return ConfigurationError(msg)


def _with_locations(scenes: Sequence[SceneDict], folder: SceneFolder) -> list[SceneDict]:
    faults: list[SceneFault] = []

    def locate(fields: SceneDict, scene: str) -> SceneDict:
        located: SceneDict = {}
        for key, value in fields.items():
            if key == "options" and isinstance(value, dict):
                located[key] = locate(cast("SceneDict", value), scene)
                continue
            try:
                if key == "font":  # a list, as the folder's own name may have a comma
                    located[key] = [_resolved(folder, key, font) for font in split_fonts(value)]
                else:
                    located[key] = _resolved(folder, key, value)
            except InvalidInputError as exc:
                faults.append(SceneFault(scene, key, exc.found, exc.expected, exc.code))
        return located

    located = [locate(scene, _name_of(scene, number)) for number, scene in enumerate(scenes)]
    if faults:
        raise InvalidScenesError(faults=faults)
    return located


def _resolved(folder: SceneFolder, key: str, value: object) -> object:
    """Return a value of a scene, with a location in place of the name of a file."""
    if not isinstance(value, str) or not value:
        return value
    is_file = key in _PATH_FIELDS or is_option_file(key, value)
    return folder.resolve(value) if is_file else value


def _name_of(scene: SceneDict, number: int) -> str:
    name: object = scene.get("name") or scene.get("scene_name")
    return printable_line(name, 100) if isinstance(name, str) else f"scenes[{number}]"

"""Finds scenes in files and folders: JSON, YAML, CSV, or pictures and sounds of the same name.

What is found are mappings that ``Client.render_all`` takes as they are; whether they can be
rendered is for the check before a run to say.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from cloudburst.errors import ConfigurationError

SceneDict: TypeAlias = dict[str, Any]

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
SOUNDS = (".mp3", ".wav", ".m4a", ".ogg", ".flac")
_PATHS = ("image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path")
_COLUMNS = ("name", "scene_name", *_PATHS)
_LAYOUTS = (
    "a file of scenes (JSON, YAML or CSV), images/scene_*.png with audio/scene_*.mp3, "
    "or NAME.png with NAME.mp3 side by side"
)


def read_scenes(path: Path | str) -> list[SceneDict]:
    """The scenes of a file, or of a folder, with absolute paths.

    A file is JSON or YAML (a list of scenes, or ``{"scenes": [...]}``) or CSV with a header row;
    relative paths in it count from its folder. A folder holds ``images/scene_*.png`` and
    ``audio/scene_*.mp3``, or one file of scenes, or pictures and sounds of the same name side by
    side, with subtitles of that name where there are any; a picture without a sound, such as a
    watermark, is no scene. Numbers in names sort as numbers. Blocks while it reads.

    Raises `ConfigurationError` with the file, the place in it and what would be right.
    """
    path = Path(path).absolute()
    try:
        if path.is_dir():
            return _from_folder(path)
        return _from_file(path)
    except OSError as exc:
        raise ConfigurationError(f"{path}: unreadable: {exc.strerror or exc}") from exc


def scan_scenes_from_folder(path: Path | str) -> list[SceneDict]:
    """Scenes of ``images/scene_*.png`` beside ``audio/scene_*.mp3`` and ``audio/scene_*.srt``.

    In the dictionaries that ``cloudburst-fargate`` made; ``subtitle_path`` is ``None`` where
    there is none. Raises `ConfigurationError` when a scene has no sound or no picture, or there
    are none.
    """
    folder = Path(path).absolute()
    pictures = {file.stem: file for file in (folder / "images").glob("scene_*.png")}
    sounds = {file.stem: file for file in (folder / "audio").glob("scene_*.mp3")}
    if not pictures and not sounds:
        msg = f"{folder}: no images/scene_*.png and no audio/scene_*.mp3 in it"
        raise ConfigurationError(msg)
    if silent := _sorted(pictures.keys() - sounds.keys()):
        raise ConfigurationError(f"{folder}: no audio/*.mp3 for {', '.join(silent)}")
    if unseen := _sorted(sounds.keys() - pictures.keys()):
        raise ConfigurationError(f"{folder}: no images/*.png for {', '.join(unseen)}")
    subtitles = {file.stem: str(file) for file in (folder / "audio").glob("scene_*.srt")}
    return [
        {
            "scene_name": name,
            "image_path": str(pictures[name]),
            "audio_path": str(sounds[name]),
            "subtitle_path": subtitles.get(name),
        }
        for name in _sorted(pictures)
    ]


def _from_file(path: Path) -> list[SceneDict]:
    if not path.exists():
        raise ConfigurationError(f"{path}: not found; expected {_LAYOUTS}")
    if (read := _READERS.get(path.suffix.lower())) is None:
        found = f"a file ending in {path.suffix!r}" if path.suffix else "a file without an ending"
        raise ConfigurationError(f"{path}: {found}; expected .json, .yaml, .yml or .csv")
    text = _text(path)
    scenes = read(path, text) if text.strip() else []
    if not scenes:
        raise ConfigurationError(f"{path}: no scenes in it; expected one at least")
    return [_with_paths(scene, path.parent) for scene in scenes]


def _from_folder(folder: Path) -> list[SceneDict]:
    if any((folder / "images").glob("scene_*.png")) or any((folder / "audio").glob("scene_*.mp3")):
        return scan_scenes_from_folder(folder)
    seen = [file for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
    lists = [file.name for file in seen if file.suffix.lower() in _READERS]
    if len(lists) > 1:
        msg = f"{folder}: {len(lists)} files of scenes, {', '.join(_sorted(lists))}; name one"
        raise ConfigurationError(msg)
    if lists:
        return _from_file(folder / lists[0])
    return _side_by_side(folder, seen)


def _side_by_side(folder: Path, seen: Iterable[Path]) -> list[SceneDict]:
    pictures: dict[str, list[Path]] = {}
    sounds: dict[str, list[Path]] = {}
    subtitles: dict[str, Path] = {}
    for file in seen:
        suffix = file.suffix.lower()
        if suffix in PICTURES:
            pictures.setdefault(file.stem, []).append(file)
        elif suffix in SOUNDS:
            sounds.setdefault(file.stem, []).append(file)
        elif suffix == ".srt":
            subtitles[file.stem] = file
    if not sounds:
        what = "pictures, and no sounds," if pictures else "no scenes"
        raise ConfigurationError(f"{folder}: {what} in it; expected {_LAYOUTS}")
    for name in _sorted(sounds):
        found = pictures.get(name, [])
        if not found:
            wanted = f"{name}.png, .jpg or .webp beside it"
            raise ConfigurationError(f"{sounds[name][0]}: no picture for it; expected {wanted}")
        for files in (found, sounds[name]):
            if len(files) > 1:
                names = ", ".join(_sorted(file.name for file in files))
                raise ConfigurationError(f"{folder}: {names} for one scene; expected one of them")
    return [
        {"name": name, "image": str(pictures[name][0]), "audio": str(sounds[name][0])}
        | ({"subtitle": str(subtitles[name])} if name in subtitles else {})
        for name in _sorted(sounds)
    ]


def _text(path: Path) -> str:
    """Text in UTF-8, or in GB 18030, as spreadsheets in China write it."""
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigurationError(f"{path}: bytes that are no text; expected UTF-8")


def _read_json(path: Path, text: str) -> list[SceneDict]:
    try:
        return _listed(path, json.loads(text))
    except json.JSONDecodeError as exc:
        msg = f"{path}, line {exc.lineno}, column {exc.colno}: no JSON: {exc.msg}"
        raise ConfigurationError(msg) from exc


def _read_yaml(path: Path, text: str) -> list[SceneDict]:
    try:
        import yaml  # noqa: PLC0415 - only the command line promises it
    except ImportError as exc:
        msg = f"{path}: YAML needs PyYAML: pip install 'cloudburst-sdk[cli]'"
        raise ConfigurationError(msg) from exc
    try:
        return _listed(path, yaml.safe_load(text))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"{path}{place}: no YAML: {exc.problem}") from exc
    except (yaml.YAMLError, ValueError) as exc:  # ValueError: a date that does not exist
        raise ConfigurationError(f"{path}: no YAML: {exc}") from exc


def _read_csv(path: Path, text: str) -> list[SceneDict]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    scenes: list[SceneDict] = []
    try:
        columns = [cell.strip().lower() for cell in next(rows, ())]
        for column in columns:
            if column not in _COLUMNS or columns.count(column) > 1:
                found = f"{'twice' if column in _COLUMNS else 'an unknown'} column {column!r}"
                msg = f"{path}, line 1: {found}; expected name, image, audio and perhaps subtitle"
                raise ConfigurationError(msg)
        for cells in rows:
            if len(cells) > len(columns):
                found = f"line {rows.line_num}: {len(cells)} cells under {len(columns)} columns"
                raise ConfigurationError(f"{path}, {found}; expected quotes around {delimiter!r}")
            if any(cell.strip() for cell in cells):
                pairs = zip(columns, (cell.strip() for cell in cells), strict=False)
                scenes.append({column: cell for column, cell in pairs if cell})
    except csv.Error as exc:
        raise ConfigurationError(f"{path}, line {rows.line_num}: no CSV: {exc}") from exc
    return scenes


_READERS: Mapping[str, Callable[[Path, str], list[SceneDict]]] = {
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".csv": _read_csv,
}


def _listed(path: Path, data: object) -> list[SceneDict]:
    expected = 'a list of scenes, or {"scenes": [...]}'
    if isinstance(data, dict) and "scenes" in data:
        data = cast("SceneDict", data)["scenes"]
    if not isinstance(data, list):
        raise ConfigurationError(f"{path}: {data!r:.60}; expected {expected}")
    for place, item in enumerate(cast("list[object]", data)):
        if not isinstance(item, dict):
            msg = f"{path}, scenes[{place}]: {item!r:.60}; expected name, image and audio"
            raise ConfigurationError(msg)
    return cast("list[SceneDict]", data)


def _with_paths(scene: SceneDict, folder: Path) -> SceneDict:
    return {
        key: str(folder / value) if key in _PATHS and isinstance(value, str) and value else value
        for key, value in scene.items()
    }


def _sorted(names: Iterable[str]) -> list[str]:
    """Names in order, the numbers in them as numbers: ``scene_2`` before ``scene_10``."""

    def key(name: str) -> tuple[list[str | int], str]:
        parts = re.split(r"(\d+)", name.casefold())
        return [int(part) if place % 2 else part for place, part in enumerate(parts)], name

    return sorted(names, key=key)

"""Readers of scenes in JSON, YAML and CSV files and in folders of pictures and audio files.

The result is a list of dictionaries for ``Client.render_all``, which checks the files of all scenes
before a run.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, cast

from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.models.limits import Limits
from cloudburst.models.options import OPTION_NAMES, RenderOptions, is_option_file
from cloudburst.safe_files import URL, parse_json, read_regular_file
from cloudburst.text import short_repr

SceneDict: TypeAlias = dict[str, Any]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
AUDIO_SUFFIXES = (".mp3", ".wav", ".m4a", ".ogg", ".flac")
MAX_SCENE_FILE_BYTES = 64 * 1024**2
"""Largest size of a scene file in bytes: more than a kilobyte for each of `MAX_SCENES` scenes."""
MAX_SCENES = 50_000
"""Maximum number of scenes in one file. Checking 50,000 small scenes takes about 10 s on one core;
without a limit, a file of a few megabytes could keep a command busy for minutes without output."""
SUBTITLE_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".lrc")
UNSUPPORTED_SUBTITLE_SUFFIXES = frozenset(
    (".sub", ".sbv", ".smi", ".sami", ".ttml", ".dfxp", ".stl", ".scc")
)
"""Suffixes of subtitle files that cannot be read. ``.txt`` is not among them: beside an audio file,
a text file is usually the spoken text."""
_PATH_FIELDS = ("image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path")
_NODES_PER_SCENE = 40
"""Maximum number of YAML nodes per scene, on average: a mapping with five keys and their values,
and one with fourteen options."""
_SCENE_COLUMNS = ("name", "scene_name", "duration", *_PATH_FIELDS)
_CSV_COLUMNS = (*_SCENE_COLUMNS, *OPTION_NAMES)
_LAYOUTS = (
    "a scene file (JSON, YAML or CSV), images/scene_*.png with audio/scene_*.mp3, "
    "or NAME.png with NAME.mp3 side by side"
)


def read_scenes(path: Path | str) -> list[SceneDict]:
    """Return the scenes of a file or folder, with absolute paths.

    A file is JSON or YAML (a list of scenes, or ``{"scenes": [...]}``) or CSV with a header row;
    relative paths in it are relative to its folder, and ``~`` is the home folder. In JSON and YAML
    a scene may have a mapping ``options``, in CSV a column for each option. A folder has
    ``images/scene_*.png`` and ``audio/scene_*.mp3``, or one scene file, or pictures and audio files
    of the same name with optional subtitles of that name (`SUBTITLE_SUFFIXES`). A picture without
    audio, such as a watermark, is ignored (`pictures_without_audio` lists them), and so are text
    files (``.txt``). Numbers in names are sorted as numbers. Blocks while it reads.

    A file may have 64 MB and 50,000 scenes. In YAML every value is text, as in CSV (``001`` is not
    a number, ``no`` is not false); an empty value, ``~`` and ``null`` mean no value.

    Raises `ConfigurationError` with the file, the position in it and the expected content.
    """
    path = Path(path).absolute()
    try:
        if path.is_dir():
            return _from_folder(path)
        return _from_file(path)
    except OSError as exc:
        raise ConfigurationError(f"{path}: unreadable: {exc.strerror or exc}") from exc


def pictures_without_audio(path: Path | str) -> list[Path]:
    """Return the pictures of a folder that `read_scenes` ignores, sorted by name.

    The list is empty unless the folder has pictures and audio files side by side.
    """
    folder = Path(path).absolute()
    if not folder.is_dir() or any((folder / "images").glob("scene_*.png")):
        return []
    seen = [file for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
    if any(file.suffix.lower() in _READERS for file in seen):
        return []
    audio_files = {file.stem for file in seen if file.suffix.lower() in AUDIO_SUFFIXES}
    lone = {
        f.name for f in seen if f.suffix.lower() in PICTURE_SUFFIXES and f.stem not in audio_files
    }
    return [folder / name for name in _sorted(lone)]


def scan_scenes_from_folder(path: Path | str) -> list[SceneDict]:
    """Return the scenes in ``images/scene_*.png`` and ``audio/scene_*.mp3`` of a folder.

    The dictionaries have the keys of ``cloudburst-fargate``; ``subtitle_path`` is ``None`` without
    a file ``audio/scene_*.srt`` (or another of `SUBTITLE_SUFFIXES`). Raises `ConfigurationError` if
    there are no scenes, or a scene has no audio, no picture, or subtitles in another format.
    """
    folder = Path(path).absolute()
    pictures = {file.stem: file for file in (folder / "images").glob("scene_*.png")}
    audio_files = {file.stem: file for file in (folder / "audio").glob("scene_*.mp3")}
    if not pictures and not audio_files:
        msg = f"{folder}: no images/scene_*.png and no audio/scene_*.mp3 in it"
        raise ConfigurationError(msg)
    faults: list[str] = []
    if without_audio := _sorted(pictures.keys() - audio_files.keys()):
        faults.append(f"{folder}: no audio/*.mp3 for {', '.join(without_audio)}")
    if without_picture := _sorted(audio_files.keys() - pictures.keys()):
        faults.append(f"{folder}: no images/*.png for {', '.join(without_picture)}")
    subtitles = _subtitles((folder / "audio").glob("scene_*"), audio_files, faults)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return [
        {
            "scene_name": name,
            "image_path": str(pictures[name]),
            "audio_path": str(audio_files[name]),
            "subtitle_path": str(subtitles[name]) if name in subtitles else None,
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
        raise ConfigurationError(f"{path}: no scenes in it; expected at least one")
    if len(scenes) > MAX_SCENES:
        raise _too_many(path)
    return [_with_paths(scene, path.parent) for scene in scenes]


def _from_folder(folder: Path) -> list[SceneDict]:
    if any((folder / "images").glob("scene_*.png")) or any((folder / "audio").glob("scene_*.mp3")):
        return scan_scenes_from_folder(folder)
    seen = [file for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
    lists = [file.name for file in seen if file.suffix.lower() in _READERS]
    if len(lists) > 1:
        msg = f"{folder}: {len(lists)} scene files, {', '.join(_sorted(lists))}; name one of them"
        raise ConfigurationError(msg)
    if lists:
        return _from_file(folder / lists[0])
    return _side_by_side(folder, seen)


def _side_by_side(folder: Path, seen: Collection[Path]) -> list[SceneDict]:
    pictures: dict[str, list[Path]] = {}
    audio_files: dict[str, list[Path]] = {}
    for file in seen:
        suffix = file.suffix.lower()
        if suffix in PICTURE_SUFFIXES:
            pictures.setdefault(file.stem, []).append(file)
        elif suffix in AUDIO_SUFFIXES:
            audio_files.setdefault(file.stem, []).append(file)
    if not audio_files:
        what = "pictures but no audio files" if pictures else "no scenes"
        raise ConfigurationError(f"{folder}: {what} in it; expected {_LAYOUTS}")
    faults: list[str] = []
    for name in _sorted(audio_files):
        found = pictures.get(name, [])
        if not found:
            wanted = f"{name}.png, .jpg or .webp beside it"
            faults.append(f"{audio_files[name][0]}: no picture for it; expected {wanted}")
        for files in (found, audio_files[name]):
            if len(files) > 1:
                names = ", ".join(_sorted(file.name for file in files))
                faults.append(f"{folder}: {names} for one scene; expected one of them")
    subtitles = _subtitles(seen, audio_files, faults)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return [
        {"name": name, "image": str(pictures[name][0]), "audio": str(audio_files[name][0])}
        | ({"subtitle": str(subtitles[name])} if name in subtitles else {})
        for name in _sorted(audio_files)
    ]


def _subtitles(seen: Iterable[Path], scenes: Collection[str], faults: list[str]) -> dict[str, Path]:
    """Return the subtitle file of each scene that has one.

    An error is added to ``faults`` for each subtitle file that would otherwise be ignored: a file
    in an unsupported format, a second file for a scene, or a file with a longer name like
    ``NAME.en.srt``.
    """
    expected = f"one of {', '.join(SUBTITLE_SUFFIXES)}"
    found: dict[str, Path] = {}
    for file in sorted(seen):
        suffix, scene = file.suffix.lower(), _scene_of(file.stem, scenes)
        if scene is None or suffix not in UNSUPPORTED_SUBTITLE_SUFFIXES.union(SUBTITLE_SUFFIXES):
            continue
        if suffix in UNSUPPORTED_SUBTITLE_SUFFIXES:
            msg = f"{file}: subtitles in an unsupported format ({suffix}); expected {expected}"
            faults.append(msg)
        elif file.stem != scene:
            msg = f"{file}: subtitles of {scene} with another name; expected {scene}{suffix}"
            faults.append(msg)
        elif other := found.get(scene):
            msg = f"{file.parent}: {other.name}, {file.name} for one scene; expected one of them"
            faults.append(msg)
        else:
            found[scene] = file
    return found


def _scene_of(stem: str, scenes: Collection[str]) -> str | None:
    """Return the scene of a file: ``NAME`` for ``NAME``, ``NAME.en`` and ``NAME.zh-CN``.

    Return ``None`` if no scene has this name.
    """
    while stem not in scenes:
        stem, dot, _ = stem.rpartition(".")
        if not dot:
            return None
    return stem


def _text(path: Path) -> str:
    """Return the text of a file in UTF-8 or GB 18030, the encoding of Chinese spreadsheets."""
    data = read_regular_file(path, limit=MAX_SCENE_FILE_BYTES)
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigurationError(f"{path}: not text; expected UTF-8")


def _read_json(path: Path, text: str) -> list[SceneDict]:
    return _listed(path, parse_json(path, text))


def _read_yaml(path: Path, text: str) -> list[SceneDict]:
    try:
        from cloudburst.yaml_strings import parse_yaml  # noqa: PLC0415 - needs PyYAML
    except ImportError as exc:
        msg = f"{path}: YAML needs PyYAML: pip install 'cloudburst-sdk[cli]'"
        raise ConfigurationError(msg) from exc
    return _listed(path, parse_yaml(path, text, max_nodes=MAX_SCENES * _NODES_PER_SCENE))


def _read_csv(path: Path, text: str) -> list[SceneDict]:
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
                expected = "name, image, audio or duration, optionally subtitle and render options"
                raise ConfigurationError(f"{path}, line 1: {found}; expected {expected}")
        for cells in rows:
            if len(cells) > len(columns):
                found = f"line {rows.line_num}: {len(cells)} cells under {len(columns)} columns"
                raise ConfigurationError(f"{path}, {found}; expected quotes around {delimiter!r}")
            if any(cell.strip() for cell in cells):
                if len(scenes) == MAX_SCENES:
                    raise _too_many(path)
                pairs = zip(columns, (cell.strip() for cell in cells), strict=False)
                scenes.append(_scene_of_cells({column: cell for column, cell in pairs if cell}))
    except csv.Error as exc:
        raise ConfigurationError(f"{path}, line {rows.line_num}: invalid CSV: {exc}") from exc
    return scenes


def _scene_of_cells(cells: Mapping[str, str]) -> SceneDict:
    scene: SceneDict = {name: cell for name, cell in cells.items() if name in _SCENE_COLUMNS}
    options = {name: cell for name, cell in cells.items() if name not in _SCENE_COLUMNS}
    return scene | {"options": options} if options else scene


_READERS: Mapping[str, Callable[[Path, str], list[SceneDict]]] = {
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".csv": _read_csv,
}


def _listed(path: Path, data: object) -> list[SceneDict]:
    expected = 'a list of scenes, or {"scenes": [...]}'
    found = cast("SceneDict", data).get("scenes", data) if isinstance(data, dict) else data
    if not isinstance(found, list):
        raise ConfigurationError(f"{path}: {short_repr(found)}; expected {expected}")
    items = cast("list[object]", found)
    if len(items) <= MAX_SCENES and not all(isinstance(item, dict) for item in items):
        raise InvalidScenesError(faults=_faults(path, items))
    return cast("list[SceneDict]", found)


def _faults(path: Path, items: Sequence[object]) -> list[SceneFault]:
    """Return the faults of all scenes of a file in which some are not mappings."""
    from cloudburst.preflight import check_scenes  # noqa: PLC0415 - loads Pillow

    scenes: list[Any] = [
        _with_paths(cast("SceneDict", item), path.parent) if isinstance(item, dict) else item
        for item in items
    ]
    try:
        check_scenes(scenes, RenderOptions(), Limits())
    except InvalidScenesError as exc:
        return [
            fault._replace(scene=f"{path}, {fault.scene}")
            if fault.scene.startswith("scenes[")
            else fault
            for fault in exc.faults
        ]
    raise AssertionError("unreachable: an item is not a mapping")


def _too_many(path: Path) -> ConfigurationError:
    msg = f"{path}: more than {MAX_SCENES:,} scenes; split the file and render one part at a time"
    return ConfigurationError(msg)


def _with_paths(scene: SceneDict, folder: Path) -> SceneDict:
    """Return the fields of a scene, or its options, with absolute paths."""
    return {key: _with_path(key, value, folder) for key, value in scene.items()}


def _with_path(key: str, value: object, folder: Path) -> object:
    if key == "options" and isinstance(value, dict):
        return _with_paths(cast("SceneDict", value), folder)
    is_path = key in _PATH_FIELDS or is_option_file(key, value)
    return _path(value, folder) if is_path and isinstance(value, str) and value else value


def _path(text: str, folder: Path) -> str:
    """Return an absolute path; leave a URL unchanged, because a later check rejects it."""
    if URL.match(text):
        return text
    with suppress(RuntimeError):  # ~NAME of an unknown user
        return str(folder / Path(text).expanduser())
    return str(folder / text)


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=natural_key)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a key for sorting with numbers as numbers: ``scene_2`` before ``scene_10``."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name

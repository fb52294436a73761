"""Readers of scenes in JSON, YAML and CSV files and in folders of pictures and audio files.

Files and folders are on this machine or in S3.

The result is a list of dictionaries for ``Client.render_all``, which checks the files of all scenes
before a run.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias, cast

from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.limits import Limits
from cloudburst.models.locations import (
    S3Prefix,
    is_s3,
    is_url,
    parse_s3_object,
    parse_s3_prefix,
)
from cloudburst.models.options import OPTION_NAMES, RenderOptions, is_option_file
from cloudburst.remote_inputs import RemoteInputs, open_remote_inputs
from cloudburst.safe_files import parse_json
from cloudburst.scene_folders import LocalFolder, S3Folder, SceneFolder
from cloudburst.text import printable_line, short_repr

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


def read_scenes(path: Path | str, *, remote: RemoteInputs | None = None) -> list[SceneDict]:
    """Return the scenes of a file or folder, with absolute paths or URLs.

    A file is JSON or YAML (a list of scenes, or ``{"scenes": [...]}``) or CSV with a header row;
    relative paths in it are relative to its folder, and ``~`` is the home folder. In JSON and YAML
    a scene may have a mapping ``options``, in CSV a column for each option. A folder has
    ``images/scene_*.png`` and ``audio/scene_*.mp3``, or one scene file, or pictures and audio files
    of the same name with optional subtitles of that name (`SUBTITLE_SUFFIXES`). A picture without
    audio, such as a watermark, is ignored (`pictures_without_audio` lists them), and so are text
    files (``.txt``). Numbers in names are sorted as numbers.

    The file or folder may be in S3: ``s3://bucket/scenes.json`` or ``s3://bucket/folder/``.

    Blocks while it reads, with S3 also while it waits for the network: asynchronous code calls it
    in a thread.

    A file may have 64 MB and 50,000 scenes. In YAML every value is text, as in CSV (``001`` is not
    a number, ``no`` is not false); an empty value, ``~`` and ``null`` mean no value.

    Args:
        path: Path, or URL of S3 as text.
        remote: Access to S3; ``None``: access with the settings in the environment variables.

    Raises:
        ConfigurationError: The scenes cannot be read. The message has the file, the position in it
            and the expected content.
        CredentialsError: There are no valid credentials for S3.
    """
    with _opened(path, remote) as (folder, name):
        return _from_folder(folder) if name is None else _from_file(folder, name)


def pictures_without_audio(path: Path | str, *, remote: RemoteInputs | None = None) -> list[str]:
    """Return the pictures of a folder that `read_scenes` ignores, sorted by name.

    The list is empty unless the folder has pictures and audio files side by side.
    """
    with _opened(path, remote) as (folder, name):
        if name is not None or any(map(_is_scene_picture, folder.names("images"))):
            return []
        seen = folder.names()
        if any(_suffix(file) in _READERS for file in seen):
            return []
        audio_files = {_stem(file) for file in seen if _suffix(file) in AUDIO_SUFFIXES}
        lone = {
            file
            for file in seen
            if _suffix(file) in PICTURE_SUFFIXES and _stem(file) not in audio_files
        }
        return [folder.locate(file) for file in _sorted(lone)]


def scan_scenes_from_folder(
    path: Path | str, *, remote: RemoteInputs | None = None
) -> list[SceneDict]:
    """Return the scenes in ``images/scene_*.png`` and ``audio/scene_*.mp3`` of a folder.

    The folder may be in S3: ``s3://bucket/folder/``. The dictionaries have the keys of
    ``cloudburst-fargate``; ``subtitle_path`` is ``None`` without a file ``audio/scene_*.srt`` (or
    another of `SUBTITLE_SUFFIXES`). ``remote`` is the access to S3; ``None``: access with the
    settings in the environment variables. Raises `ConfigurationError` if there are no scenes, or a
    scene has no audio, no picture, or subtitles in another format.
    """
    with _opened(path, remote) as (folder, _):
        return _scan(folder)


@contextmanager
def _opened(
    path: Path | str, remote: RemoteInputs | None
) -> Generator[tuple[SceneFolder, str | None]]:
    """Yield a folder, and ``None``; or the folder of a scene file, and the name of the file."""
    if isinstance(path, str) and is_url(path):
        if not is_s3(path):
            raise ConfigurationError(f"{path.partition('?')[0]}: a URL; expected a path or s3://")
        try:
            prefix, name = _in_s3(path)
        except ValueError as exc:
            raise ConfigurationError(str(exc)) from exc
        with nullcontext(remote) if remote else open_remote_inputs() as opened:
            yield S3Folder(prefix, opened), name
        return
    path = Path(path).absolute()
    try:
        if path.is_dir():
            yield LocalFolder(path), None
        else:
            yield LocalFolder(path.parent), path.name
    except OSError as exc:
        raise ConfigurationError(f"{path}: unreadable: {exc.strerror or exc}") from exc


def _in_s3(text: str) -> tuple[S3Prefix, str | None]:
    """Return a folder, and ``None``; or the folder of a scene file, and the name of the file."""
    if _suffix(text) in _READERS:
        file = parse_s3_object(text)
        return file.folder, file.name
    return parse_s3_prefix(text), None


def _scan(folder: SceneFolder) -> list[SceneDict]:
    in_images, in_audio = folder.names("images"), folder.names("audio")
    pictures = {_stem(name): name for name in in_images if _is_scene_picture(name)}
    audio_files = {_stem(name): name for name in in_audio if _is_scene_audio(name)}
    if not pictures and not audio_files:
        msg = f"{folder}: no images/scene_*.png and no audio/scene_*.mp3 in it"
        raise ConfigurationError(msg)
    faults: list[str] = []
    if without_audio := _sorted(pictures.keys() - audio_files.keys()):
        faults.append(f"{folder}: no audio/*.mp3 for {', '.join(without_audio)}")
    if without_picture := _sorted(audio_files.keys() - pictures.keys()):
        faults.append(f"{folder}: no images/*.png for {', '.join(without_picture)}")
    of_scenes = [f"audio/{name}" for name in in_audio if name.startswith("scene_")]
    subtitles = _subtitles(folder, of_scenes, audio_files, faults)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return [
        {
            "scene_name": name,
            "image_path": folder.locate(f"images/{pictures[name]}"),
            "audio_path": folder.locate(f"audio/{audio_files[name]}"),
            "subtitle_path": folder.locate(subtitles[name]) if name in subtitles else None,
        }
        for name in _sorted(pictures)
    ]


def _is_scene_picture(name: str) -> bool:
    return name.startswith("scene_") and name.endswith(".png")


def _is_scene_audio(name: str) -> bool:
    return name.startswith("scene_") and name.endswith(".mp3")


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _from_file(folder: SceneFolder, name: str) -> list[SceneDict]:
    path = folder.locate(name)
    if isinstance(folder, LocalFolder) and not Path(path).exists():
        raise ConfigurationError(f"{path}: not found; expected {_LAYOUTS}")
    if (read := _READERS.get(_suffix(name))) is None:
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


def _from_folder(folder: SceneFolder) -> list[SceneDict]:
    if any(map(_is_scene_picture, folder.names("images"))) or any(
        map(_is_scene_audio, folder.names("audio"))
    ):
        return _scan(folder)
    seen = folder.names()
    lists = [name for name in seen if _suffix(name) in _READERS]
    if len(lists) > 1:
        msg = f"{folder}: {len(lists)} scene files, {', '.join(_sorted(lists))}; name one of them"
        raise ConfigurationError(msg)
    if lists:
        return _from_file(folder, lists[0])
    return _side_by_side(folder, seen)


def _side_by_side(folder: SceneFolder, seen: Collection[str]) -> list[SceneDict]:
    pictures: dict[str, list[str]] = {}
    audio_files: dict[str, list[str]] = {}
    for file in seen:
        suffix = _suffix(file)
        if suffix in PICTURE_SUFFIXES:
            pictures.setdefault(_stem(file), []).append(file)
        elif suffix in AUDIO_SUFFIXES:
            audio_files.setdefault(_stem(file), []).append(file)
    if not audio_files:
        what = "pictures but no audio files" if pictures else "no scenes"
        raise ConfigurationError(f"{folder}: {what} in it; expected {_LAYOUTS}")
    faults: list[str] = []
    for name in _sorted(audio_files):
        found = pictures.get(name, [])
        if not found:
            wanted = f"{name}.png, .jpg or .webp beside it"
            audio = folder.locate(audio_files[name][0])
            faults.append(f"{audio}: no picture for it; expected {wanted}")
        for files in (found, audio_files[name]):
            if len(files) > 1:
                names = ", ".join(_sorted(files))
                faults.append(f"{folder}: {names} for one scene; expected one of them")
    subtitles = _subtitles(folder, seen, audio_files, faults)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return [
        {
            "name": name,
            "image": folder.locate(pictures[name][0]),
            "audio": folder.locate(audio_files[name][0]),
        }
        | ({"subtitle": folder.locate(subtitles[name])} if name in subtitles else {})
        for name in _sorted(audio_files)
    ]


def _subtitles(
    folder: SceneFolder, seen: Iterable[str], scenes: Collection[str], faults: list[str]
) -> dict[str, str]:
    """Return the subtitle file of each scene that has one, as its name in the folder.

    An error is added to ``faults`` for each subtitle file that would otherwise be ignored: a file
    in an unsupported format, a second file for a scene, or a file with a longer name like
    ``NAME.en.srt``.
    """
    expected = f"one of {', '.join(SUBTITLE_SUFFIXES)}"
    found: dict[str, str] = {}
    for file in sorted(seen):
        stem, suffix = _stem(file), _suffix(file)
        scene = _scene_of(stem, scenes)
        if scene is None or suffix not in UNSUPPORTED_SUBTITLE_SUFFIXES.union(SUBTITLE_SUFFIXES):
            continue
        location = folder.locate(file)
        if suffix in UNSUPPORTED_SUBTITLE_SUFFIXES:
            msg = f"{location}: subtitles in an unsupported format ({suffix}); expected {expected}"
            faults.append(msg)
        elif stem != scene:
            msg = f"{location}: subtitles of {scene} with another name; expected {scene}{suffix}"
            faults.append(msg)
        elif other := found.get(scene):
            names = f"{PurePosixPath(other).name}, {PurePosixPath(file).name}"
            place = location.removesuffix(f"/{PurePosixPath(file).name}")
            faults.append(f"{place}: {names} for one scene; expected one of them")
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


class _SceneFile(NamedTuple):
    """Scene file; as text, its location."""

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
        from cloudburst.yaml_strings import parse_yaml  # noqa: PLC0415 - needs PyYAML
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
                expected = "name, image, audio or duration, optionally subtitle and render options"
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
    expected = 'a list of scenes, or {"scenes": [...]}'
    found = cast("SceneDict", data).get("scenes", data) if isinstance(data, dict) else data
    if not isinstance(found, list):
        raise ConfigurationError(f"{file}: {short_repr(found)}; expected {expected}")
    items = cast("list[object]", found)
    if len(items) <= MAX_SCENES and not all(isinstance(item, dict) for item in items):
        raise InvalidScenesError(faults=_faults(file, items))
    return cast("list[SceneDict]", found)


def _faults(file: _SceneFile, items: Sequence[object]) -> list[SceneFault]:
    """Return the faults of all scenes of a file in which some are not mappings."""
    from cloudburst.preflight import check_scenes  # noqa: PLC0415 - loads Pillow

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
    """Return scenes with locations that need no folder.

    Raises:
        InvalidScenesError: Scenes name files that a scene file of this folder must not name.
    """
    faults: list[SceneFault] = []

    def locate(fields: SceneDict, scene: str) -> SceneDict:
        located: SceneDict = {}
        for key, value in fields.items():
            if key == "options" and isinstance(value, dict):
                located[key] = locate(cast("SceneDict", value), scene)
            elif isinstance(value, str) and value and _is_file(key, value):
                try:
                    located[key] = folder.resolve(value)
                except InvalidInputError as exc:
                    faults.append(SceneFault(scene, key, exc.found, exc.expected))
            else:
                located[key] = value
        return located

    located = [locate(scene, _name_of(scene, number)) for number, scene in enumerate(scenes)]
    if faults:
        raise InvalidScenesError(faults=faults)
    return located


def _is_file(key: str, value: str) -> bool:
    return key in _PATH_FIELDS or is_option_file(key, value)


def _name_of(scene: SceneDict, number: int) -> str:
    """Return the name of a scene for messages."""
    name: object = scene.get("name") or scene.get("scene_name")
    return printable_line(name, 100) if isinstance(name, str) else f"scenes[{number}]"


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=natural_key)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a key for sorting with numbers as numbers: ``scene_2`` before ``scene_10``."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name

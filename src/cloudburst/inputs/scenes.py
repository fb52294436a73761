"""Readers of the scenes in a scene file, or in a folder of pictures and audio files.

Files and folders are on this machine or in S3.

The result is a list of dictionaries for ``Client.render_all``, which checks the files of all scenes
before a run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath

from cloudburst.errors import ConfigurationError
from cloudburst.inputs.remote_inputs import RemoteInputs, open_remote_inputs
from cloudburst.inputs.scene_files import (
    JSON_SUBTITLES,
    file_suffix,
    is_scene_file,
    read_scene_file,
)
from cloudburst.inputs.scene_folders import LocalFolder, S3Folder, SceneFolder
from cloudburst.models.locations import (
    S3Prefix,
    is_path_of_s3,
    is_s3,
    is_url,
    parse_s3_object,
    parse_s3_prefix,
)
from cloudburst.models.scene import SceneDict

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".heic", ".heif", ".avif")
AUDIO_SUFFIXES = (".mp3", ".wav", ".m4a", ".ogg", ".flac", ".aiff", ".aif", ".caf")
SUBTITLE_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".lrc", ".json")
UNSUPPORTED_SUBTITLE_SUFFIXES = frozenset(
    (".sub", ".sbv", ".smi", ".sami", ".ttml", ".dfxp", ".stl", ".scc")
)
"""Suffixes of subtitle files that cannot be read. ``.txt`` is not among them: beside an audio file,
a text file is usually the spoken text."""
EXPECTED_LAYOUTS = (
    "a scene file (JSON, YAML or CSV), images/scene_*.png with audio/scene_*.mp3, "
    "or NAME.png with NAME.mp3 side by side"
)


def read_scenes(path: Path | str, *, remote: RemoteInputs | None = None) -> list[SceneDict]:
    """Return the scenes of a file or folder, with absolute paths or URLs.

    A file is JSON or YAML (a list of scenes, or ``{"scenes": [...]}``) or CSV with a header row;
    relative paths in it are relative to its folder, and ``~`` is the home folder. In JSON and YAML
    a scene may have a mapping ``options``, in CSV a column for each option. A folder has
    ``images/scene_*.png`` and ``audio/scene_*.mp3``, or one scene file, or pictures and audio files
    of the same name with optional subtitles of that name (``.srt``, ``.vtt``, ``.ass``, ``.ssa``,
    ``.lrc``, or ``.json`` with times of words). A ``.json`` with the name of a picture or an audio
    file is no scene file. A picture without audio, such as a watermark, is ignored
    (`pictures_without_audio` lists them), and so are text files (``.txt``). Numbers in names are
    sorted as numbers.

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
        if name is not None or _has_numbered_scenes(folder):
            return []
        seen = folder.names()
        return [] if _scene_files(seen) else _lone_pictures(folder, seen)


def scan_scenes_from_folder(
    path: Path | str, *, remote: RemoteInputs | None = None
) -> list[SceneDict]:
    """Return the scenes in ``images/scene_*.png`` and ``audio/scene_*.mp3`` of a folder.

    The folder may be in S3: ``s3://bucket/folder/``. The dictionaries have the keys of
    ``cloudburst-fargate``; ``subtitle_path`` is ``None`` without a file ``audio/scene_*.srt`` (or
    another ending that `read_scenes` accepts). ``remote`` is the access to S3; ``None``: access
    with the settings in the environment variables. Raises `ConfigurationError` if there are no
    scenes, or a scene has no audio, no picture, or subtitles in another format.
    """
    with _opened(path, remote) as (folder, _):
        return _read_numbered_scenes(folder)


@contextmanager
def _opened(
    path: Path | str, remote: RemoteInputs | None
) -> Generator[tuple[SceneFolder, str | None]]:
    if isinstance(path, str) and is_url(path):
        if not is_s3(path):
            expected = "s3:// in lower case" if is_s3(path.lower()) else "a path or s3://"
            raise ConfigurationError(f"{path.partition('?')[0]}: a URL; expected {expected}")
        try:
            prefix, name = _in_s3(path)
        except ValueError as exc:
            raise ConfigurationError(str(exc)) from exc
        with nullcontext(remote) if remote else open_remote_inputs() as opened:
            yield S3Folder(prefix, opened), name
        return
    if is_path_of_s3(path):
        expected = "the text s3://bucket/folder/, with two slashes"
        raise ConfigurationError(f"{path}: a path; expected {expected}")
    path = Path(path).absolute()
    try:
        if path.is_dir():
            yield LocalFolder(path), None
        else:
            yield LocalFolder(path.parent), path.name
    except OSError as exc:
        raise ConfigurationError(f"{path}: unreadable: {exc.strerror or exc}") from exc


def _in_s3(text: str) -> tuple[S3Prefix, str | None]:
    if is_scene_file(text):
        file = parse_s3_object(text)
        return file.folder, file.name
    return parse_s3_prefix(text), None


def _from_file(folder: SceneFolder, name: str) -> list[SceneDict]:
    path = folder.locate(name)
    if isinstance(folder, LocalFolder) and not Path(path).exists():
        raise ConfigurationError(f"{path}: not found; expected {EXPECTED_LAYOUTS}")
    return read_scene_file(folder, name)


def _from_folder(folder: SceneFolder) -> list[SceneDict]:
    if _has_numbered_scenes(folder):
        return _read_numbered_scenes(folder)
    seen = folder.names()
    files = _scene_files(seen)
    if len(files) > 1:
        found = f"{len(files)} scene files, {', '.join(files)}"
        raise ConfigurationError(f"{folder}: {found}; name one of them ({JSON_SUBTITLES})")
    if files:
        return read_scene_file(folder, files[0])
    return _read_side_by_side(folder, seen)


def _scene_files(seen: Collection[str]) -> list[str]:
    """Return the scene files among files side by side: others are subtitles of their scene."""
    media = (*PICTURE_SUFFIXES, *AUDIO_SUFFIXES)
    scenes = {_stem(file) for file in seen if file_suffix(file) in media}
    return _sorted(
        file
        for file in seen
        if is_scene_file(file) and (file_suffix(file) != ".json" or _stem(file) not in scenes)
    )


def _has_numbered_scenes(folder: SceneFolder) -> bool:
    return any(map(_is_scene_picture, folder.names("images"))) or any(
        map(_is_scene_audio, folder.names("audio"))
    )


def _read_numbered_scenes(folder: SceneFolder) -> list[SceneDict]:
    """Return the scenes in ``images/scene_*.png`` and ``audio/scene_*.mp3`` of a folder."""
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


def _read_side_by_side(folder: SceneFolder, seen: Collection[str]) -> list[SceneDict]:
    pictures: dict[str, list[str]] = {}
    audio_files: dict[str, list[str]] = {}
    for file in seen:
        suffix = file_suffix(file)
        if suffix in PICTURE_SUFFIXES:
            pictures.setdefault(_stem(file), []).append(file)
        elif suffix in AUDIO_SUFFIXES:
            audio_files.setdefault(_stem(file), []).append(file)
    if not audio_files:
        what = "pictures but no audio files" if pictures else "no scenes"
        raise ConfigurationError(f"{folder}: {what} in it; expected {EXPECTED_LAYOUTS}")
    faults: list[str] = []
    for name in _sorted(audio_files):
        found = pictures.get(name, [])
        if not found:
            wanted = f"{name}.png, .jpg, .webp, .heic or .avif beside it"
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


def _lone_pictures(folder: SceneFolder, seen: Collection[str]) -> list[str]:
    audio_files = {_stem(file) for file in seen if file_suffix(file) in AUDIO_SUFFIXES}
    lone = {
        file
        for file in seen
        if file_suffix(file) in PICTURE_SUFFIXES and _stem(file) not in audio_files
    }
    return [folder.locate(file) for file in _sorted(lone)]


def _subtitles(
    folder: SceneFolder, seen: Iterable[str], scenes: Collection[str], faults: list[str]
) -> dict[str, str]:
    expected = f"one of {', '.join(SUBTITLE_SUFFIXES)}"
    found: dict[str, str] = {}
    for file in sorted(seen):
        stem, suffix = _stem(file), file_suffix(file)
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


def _is_scene_picture(name: str) -> bool:
    return name.startswith("scene_") and name.endswith(".png")


def _is_scene_audio(name: str) -> bool:
    return name.startswith("scene_") and name.endswith(".mp3")


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=natural_key)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a key for sorting with numbers as numbers: ``scene_2`` before ``scene_10``."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name

"""Layouts of folders with scenes: which picture, audio file and subtitles belong together.

There are two layouts: ``images/scene_*.png`` with ``audio/scene_*.mp3``, and ``NAME.png`` with
``NAME.mp3`` side by side.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from cloudburst.errors import ConfigurationError
from cloudburst.inputs.scene_folders import SceneFolder
from cloudburst.models.scene import SceneDict

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
AUDIO_SUFFIXES = (".mp3", ".wav", ".m4a", ".ogg", ".flac")
SUBTITLE_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".lrc")
UNSUPPORTED_SUBTITLE_SUFFIXES = frozenset(
    (".sub", ".sbv", ".smi", ".sami", ".ttml", ".dfxp", ".stl", ".scc")
)
"""Suffixes of subtitle files that cannot be read. ``.txt`` is not among them: beside an audio file,
a text file is usually the spoken text."""
EXPECTED_LAYOUTS = (
    "a scene file (JSON, YAML or CSV), images/scene_*.png with audio/scene_*.mp3, "
    "or NAME.png with NAME.mp3 side by side"
)


def has_numbered_scenes(folder: SceneFolder) -> bool:
    """Return whether a folder has ``images/scene_*.png`` or ``audio/scene_*.mp3``."""
    return any(map(_is_scene_picture, folder.names("images"))) or any(
        map(_is_scene_audio, folder.names("audio"))
    )


def read_numbered_scenes(folder: SceneFolder) -> list[SceneDict]:
    """Return the scenes in ``images/scene_*.png`` and ``audio/scene_*.mp3`` of a folder.

    The dictionaries have the keys of ``cloudburst-fargate``.

    Raises:
        ConfigurationError: There are no scenes, a scene has no audio or no picture, or its
            subtitles cannot be used.
    """
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


def read_side_by_side(folder: SceneFolder, seen: Collection[str]) -> list[SceneDict]:
    """Return the scenes of a folder with pictures and audio files of the same names.

    Args:
        folder: The folder.
        seen: Names of the files in the folder.

    Raises:
        ConfigurationError: There are no scenes, a scene has no picture or several ones, or its
            subtitles cannot be used.
    """
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
        raise ConfigurationError(f"{folder}: {what} in it; expected {EXPECTED_LAYOUTS}")
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


def lone_pictures(folder: SceneFolder, seen: Collection[str]) -> list[str]:
    """Return the pictures that have no audio file beside them, sorted by name.

    Args:
        folder: Folder with pictures and audio files side by side.
        seen: Names of the files in the folder.
    """
    audio_files = {_stem(file) for file in seen if _suffix(file) in AUDIO_SUFFIXES}
    lone = {
        file
        for file in seen
        if _suffix(file) in PICTURE_SUFFIXES and _stem(file) not in audio_files
    }
    return [folder.locate(file) for file in _sorted(lone)]


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


def _is_scene_picture(name: str) -> bool:
    return name.startswith("scene_") and name.endswith(".png")


def _is_scene_audio(name: str) -> bool:
    return name.startswith("scene_") and name.endswith(".mp3")


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=natural_key)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a key for sorting with numbers as numbers: ``scene_2`` before ``scene_10``."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name

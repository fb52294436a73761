"""Readers of the scenes in a scene file, or in a folder of pictures and audio files.

Files and folders are on this machine or in S3.

The result is a list of dictionaries for ``Client.render_all``, which checks the files of all scenes
before a run.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from cloudburst.errors import ConfigurationError
from cloudburst.inputs.remote_inputs import RemoteInputs, open_remote_inputs
from cloudburst.inputs.scene_files import is_scene_file, read_scene_file
from cloudburst.inputs.scene_folders import LocalFolder, S3Folder, SceneFolder
from cloudburst.inputs.scene_layouts import (
    EXPECTED_LAYOUTS,
    has_numbered_scenes,
    lone_pictures,
    natural_key,
    read_numbered_scenes,
    read_side_by_side,
)
from cloudburst.models.locations import (
    S3Prefix,
    is_path_of_s3,
    is_s3,
    is_url,
    parse_s3_object,
    parse_s3_prefix,
)
from cloudburst.models.scene import SceneDict


def read_scenes(path: Path | str, *, remote: RemoteInputs | None = None) -> list[SceneDict]:
    """Return the scenes of a file or folder, with absolute paths or URLs.

    A file is JSON or YAML (a list of scenes, or ``{"scenes": [...]}``) or CSV with a header row;
    relative paths in it are relative to its folder, and ``~`` is the home folder. In JSON and YAML
    a scene may have a mapping ``options``, in CSV a column for each option. A folder has
    ``images/scene_*.png`` and ``audio/scene_*.mp3``, or one scene file, or pictures and audio files
    of the same name with optional subtitles of that name (``.srt``, ``.vtt``, ``.ass``, ``.ssa`` or
    ``.lrc``). A picture without audio, such as a watermark, is ignored (`pictures_without_audio`
    lists them), and so are text files (``.txt``). Numbers in names are sorted as numbers.

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
        if name is not None or has_numbered_scenes(folder):
            return []
        seen = folder.names()
        return [] if any(map(is_scene_file, seen)) else lone_pictures(folder, seen)


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
        return read_numbered_scenes(folder)


@contextmanager
def _opened(
    path: Path | str, remote: RemoteInputs | None
) -> Generator[tuple[SceneFolder, str | None]]:
    """Yield a folder, and ``None``; or the folder of a scene file, and the name of the file."""
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
    """Return a folder, and ``None``; or the folder of a scene file, and the name of the file."""
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
    if has_numbered_scenes(folder):
        return read_numbered_scenes(folder)
    seen = folder.names()
    files = sorted(filter(is_scene_file, seen), key=natural_key)
    if len(files) > 1:
        msg = f"{folder}: {len(files)} scene files, {', '.join(files)}; name one of them"
        raise ConfigurationError(msg)
    if files:
        return read_scene_file(folder, files[0])
    return read_side_by_side(folder, seen)

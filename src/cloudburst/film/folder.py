"""Finished videos of a folder, in the order in which a film shows them. Every function blocks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cloudburst.errors import ConfigurationError
from cloudburst.files import open_regular_file
from cloudburst.film.folder_film import ChapterSource
from cloudburst.film.plan import read_fingerprint
from cloudburst.inputs.scenes import SUBTITLE_SUFFIXES, natural_key
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.locations import require_path
from cloudburst.models.scene import Video
from cloudburst.outputs.earlier_runs import runs_in

# Maximum number of videos of a film.
MAX_VIDEOS = 10_000


class FolderVideo(NamedTuple):
    """Finished video in a folder."""

    source: ChapterSource
    video: Video


def videos_in(folder: Path, film: Path) -> list[FolderVideo]:
    """Return the videos (``.mp4``) of a folder in the order of the film, without earlier films.

    The order is that of the newest run that has all of these videos, else that of names, with
    numbers as numbers. Subtitles are those of the scene in this run, if the file still exists, or a
    file of the same name beside the video.

    Raises:
        ConfigurationError: There are no videos, a file cannot be read, or the film would replace
            one of the videos.
    """
    film = film.absolute()
    try:
        found = {
            path.stem: path
            for path in folder.absolute().iterdir()
            if path.suffix.lower() == ".mp4" and path.name[0] != "." and not read_fingerprint(path)
        }
    except OSError as exc:
        raise ConfigurationError(f"{folder}: unreadable: {exc.strerror or exc}") from exc
    if film in found.values():
        raise ConfigurationError(f"{film}: a video, not a film; expected another name for the film")
    if not found:
        raise ConfigurationError(f"{folder}: no videos in it; expected files that end in .mp4")
    if len(found) > MAX_VIDEOS:
        raise ConfigurationError(
            f"{folder}: {len(found):,} videos; expected at most {MAX_VIDEOS:,}"
        )
    run = _run_with(folder, found)
    names = sorted(found, key=natural_key) if run is None else [n for n in run.scenes if n in found]
    return [FolderVideo(_source(found[name], run), _video(found[name])) for name in names]


def _run_with(folder: Path, names: Iterable[str]) -> JournalState | None:
    wanted = set(names)
    for _, run in runs_in(folder):
        if wanted <= run.scenes.keys():
            return run
    return None


def _source(video: Path, run: JournalState | None) -> ChapterSource:
    if run is not None:
        source = ChapterSource.of(run.scenes[video.stem].scene)
        if source.subtitle is None:
            return source
        exists = require_path(source.subtitle, f"film: subtitles of {source.name}").is_file()
        return source if exists else source._replace(subtitle=None)
    beside = (video.with_suffix(suffix) for suffix in SUBTITLE_SUFFIXES)
    subtitle = next((path for path in beside if path.is_file()), None)
    return ChapterSource(video.stem, video.stem, subtitle)


def _video(path: Path) -> Video:
    try:
        with open_regular_file(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise ConfigurationError(f"{path}: unreadable: {exc.strerror or exc}") from exc
    return Video(scene=path.stem, path=path, task="", size=size, sha256=digest, seconds=0.0)

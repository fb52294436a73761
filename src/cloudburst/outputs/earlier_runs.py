"""Earlier runs of a folder: which can be resumed, and which of their videos are still valid.

Every function that is not asynchronous blocks.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cloudburst.concurrency import Steps
from cloudburst.engine.records import RecoveredState
from cloudburst.errors import JournalError, OutputExistsError, UploadError
from cloudburst.files import open_regular_file
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import JournalState, ResultEntry
from cloudburst.models.locations import OutputFolder
from cloudburst.models.report import Status
from cloudburst.models.scene import CheckedScene, Video, cover_path, fold_name
from cloudburst.outputs.journal.reader import journal_folder, journal_paths, read_journal
from cloudburst.text import list_some

logger = logging.getLogger(__name__)

# Number of videos that are hashed at once.
_HASH_THREADS = 2
# Bytes that are hashed between two checks for cancellation.
_BLOCK = 1024**2


def runs_in(folder: Path) -> list[tuple[str, JournalState]]:
    """Return name and journal state of each run with a journal in a folder, the newest first.

    Journals that cannot be read are logged and left out.
    """
    found = list[tuple[str, JournalState]]()
    for path in journal_paths(folder):
        try:
            past = read_journal(path)
        except JournalError as exc:
            logger.warning("%s", exc)
            continue
        if past.processes:
            found.append((path.stem, past))
    return sorted(found, key=lambda pair: pair[1].processes[0].started_at, reverse=True)


def newest_run_with(folder: Path, names: Collection[str] | None) -> str | None:
    """Return the name of the newest run that has a scene with one of these names, or ``None``.

    ``names=None`` stands for the newest run whose scenes come from a source.
    """
    wanted = {fold_name(name) for name in names or ()}
    for run, past in runs_in(folder):
        from_source = names is None and past.source_ended is not None
        if from_source or wanted & {fold_name(name) for name in past.scenes}:
            return run
    return None


def is_complete(past: JournalState) -> bool:
    """Return whether the run ended normally with every video."""
    return past.end is not None and past.end.status is Status.COMPLETE


def successor(past: JournalState, others: Iterable[tuple[str, JournalState]]) -> str | None:
    """Return the name of a later complete run with videos of all scenes of this run, or ``None``.

    If there is such a run, nothing is left to resume. ``others`` are the names and states of
    the runs in the same folder. The result is also ``None`` if this run is itself complete.
    """
    if not past.processes or is_complete(past):
        return None
    scenes = {fold_name(name) for name in past.scenes}
    for run, other in others:
        later = (
            bool(other.processes) and other.processes[0].started_at > past.processes[-1].started_at
        )
        if later and is_complete(other) and scenes <= {fold_name(name) for name in other.results}:
            return run
    return None


def unfinished_run_with(to: OutputFolder, names: Collection[str]) -> str | None:
    """Return the name of the newest resumable run that made videos of these names, or ``None``."""
    found = runs_in(journal_folder(to))
    for run, past in found:
        if (
            not past.results.keys().isdisjoint(names)
            and not is_complete(past)
            and not successor(past, found)
        ):
            return run
    return None


def missing_videos(past: JournalState, folder: Path) -> list[str]:
    """Return the names of scenes whose finished videos were removed from the folder or changed.

    The cover of a video counts as a part of it.
    """
    entries = list(past.results.values())
    paths = [folder / entry.video.path.name for entry in entries]
    stop = threading.Event()
    with ThreadPoolExecutor(_HASH_THREADS, "cloudburst-hash") as threads:
        try:
            matches = partial(_is_same_video, stop=stop)
            there = list(threads.map(matches, paths, [entry.video for entry in entries]))
        finally:
            stop.set()  # otherwise Ctrl-C would wait until a large file is hashed
    return [
        entry.video.scene for entry, is_there in zip(entries, there, strict=True) if not is_there
    ]


def recover_outputs(
    past: JournalState,
    scenes: Sequence[CheckedScene],
    paths: Mapping[str, Path],
    *,
    overwrite: bool,
) -> dict[str, ResultEntry]:
    """Return the results of scenes whose videos are as the run has written them, by scene name.

    The caller must have claimed the videos. Videos and covers that were downloaded but not renamed
    when a process ended get their final name; other partial files are removed. Raises
    `OutputExistsError` for files that the run did not write, unless ``overwrite`` is set.
    """
    entries = [past.results.get(scene.scene.name) for scene in scenes]
    outputs = [
        _outputs(paths[scene.scene.name], entry, cover=scene.options.cover)
        for scene, entry in zip(scenes, entries, strict=True)
    ]
    finals = [output for of_scene in outputs for output in of_scene.items()]
    with ThreadPoolExecutor(_HASH_THREADS, "cloudburst-hash") as threads:
        mine = dict(threads.map(_recover_output, finals))
    ours = [all(mine[path] for path in of_scene) for of_scene in outputs]
    foreign = [
        path
        for path, is_mine in mine.items()
        if not is_mine and os.path.lexists(path) and (not overwrite or path.is_dir())
    ]
    if foreign:
        reason = _reason(foreign, past)
        message = _message(foreign, past, reason)
        raise OutputExistsError(message, paths=foreign, reason=reason)
    return {
        scene.scene.name: replace(entry, video=entry.video.moved_to(paths[scene.scene.name]))
        for scene, entry, all_mine in zip(scenes, entries, ours, strict=True)
        if entry is not None and all_mine
    }


async def recovered_state(
    past: JournalState,
    scenes: Sequence[CheckedScene],
    results: Mapping[str, ResultEntry],
    hash_inputs: HashInputs,
) -> RecoveredState:
    """Return the state that earlier processes of a run left.

    Only the files of scenes with a result, whose video is there, or with failed attempts are
    compared.
    """
    fingerprints = dict[str, str]()
    failures = past.scene_failures
    async for scene in Steps(scenes):
        name = scene.scene.name
        if name in results or name in failures:
            with suppress(UploadError):  # the scene is rendered again, and has this error then
                fingerprints[name] = (await hash_inputs(scene)).fingerprint
    answered = {task.token for task in past.tasks.values()}
    return RecoveredState(
        finished={
            name: entry
            for name, entry in results.items()
            if entry.fingerprint == fingerprints.get(name)
        },
        results=tuple(past.results.values()),
        failures={
            name: failure
            for name, failure in failures.items()
            if failure.fingerprint in {"", fingerprints.get(name)}
        },
        fingerprints=fingerprints,
        tasks=tuple(past.tasks.values()),
        unanswered_launches=tuple(e for token, e in past.launches.items() if token not in answered),
    )


def _message(foreign: Sequence[Path], past: JournalState, reason: str) -> str:
    head = "not as the run left them" if past.processes else "videos already exist"
    return (
        f"{head}: {list_some(foreign)} ({reason}); pass overwrite=True to render and replace them, "
        "or move them away"
    )


def _reason(foreign: Sequence[Path], past: JournalState) -> str:
    for run, other in runs_in(foreign[0].parent):
        entries = [other.results.get(path.stem) for path in foreign]
        if all(
            entry is not None and _is_same_video(path.with_suffix(".mp4"), entry.video)
            for path, entry in zip(foreign, entries, strict=True)
        ):
            state = "complete" if is_complete(other) else "not complete"
            it = "this video is" if len(foreign) == 1 else "these videos are"
            return f"{it} from run {run}, which is {state}"
    if not past.processes:
        return (
            "the folder has no journal of a run with these scenes: it was removed, or another "
            "program wrote the files"
        )
    known = {f"{name}{suffix}" for name in past.results for suffix in (".mp4", ".jpg")}
    if all(path.name in known for path in foreign):
        return "changed since the run made them"
    return (
        "the journal of the run does not mention them: its last entries were lost, for example on "
        "a full disk, or another program wrote the files"
    )


class _Expected(NamedTuple):
    sha256: str
    # Size of the file in bytes; ``None`` if it is not known.
    size: int | None = None


def _outputs(path: Path, entry: ResultEntry | None, *, cover: bool) -> dict[Path, _Expected | None]:
    """Return the output files of a scene, with what the run has written of them."""
    files = [path, cover_path(path)] if cover else [path]
    return {file: None if entry is None else _expected(file, entry.video) for file in files}


def _expected(path: Path, video: Video) -> _Expected | None:
    if path.suffix == video.path.suffix:
        return _Expected(video.sha256, video.size)
    return None if video.cover_sha256 is None else _Expected(video.cover_sha256)


def _recover_output(output: tuple[Path, _Expected | None]) -> tuple[Path, bool]:
    """Return the path of an output, and whether the file is the run's own.

    A complete ``.part`` file first gets its final name; an incomplete one is removed.
    """
    path, expected = output
    part = path.with_name(f"{path.name}.part")
    mine = _is_same_file(path, expected)
    # The entry is written before the file is renamed: the process may have ended in between.
    if not mine and _is_same_file(part, expected) and not path.is_dir():
        part.replace(path)
        return path, True
    if part.is_file() or part.is_symlink():
        part.unlink()
    return path, mine


def _is_same_video(path: Path, video: Video, *, stop: threading.Event | None = None) -> bool:
    files = [path] if video.cover is None else [path, cover_path(path)]
    return all(_is_same_file(file, _expected(file, video), stop=stop) for file in files)


def _is_same_file(
    path: Path, expected: _Expected | None, *, stop: threading.Event | None = None
) -> bool:
    if expected is None:
        return False
    digest = hashlib.sha256()
    try:
        with open_regular_file(path, follow_links=False) as file:
            if expected.size not in {None, os.fstat(file.fileno()).st_size}:
                return False
            while block := file.read(_BLOCK):
                if stop is not None and stop.is_set():
                    return False
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == expected.sha256

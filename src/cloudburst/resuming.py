"""What is there of a run that another process has begun. Everything here blocks."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from cloudburst.engine.earlier import Earlier
from cloudburst.errors import JournalError, OutputExistsError
from cloudburst.journal import Past, journals, read_past
from cloudburst.models.entries import ResultEntry
from cloudburst.models.report import Status
from cloudburst.models.scene import CheckedScene, Video, folded

logger = logging.getLogger(__name__)

_THREADS = 2
"""Videos that are hashed at once."""


def pasts(folder: Path) -> list[tuple[str, Past]]:
    """Name and past of each run of a folder that has begun, the newest first."""
    found = list[tuple[str, Past]]()
    for path in journals(folder):
        try:
            past = read_past(path)
        except JournalError as exc:
            logger.warning("%s", exc)
            continue
        if past.lives:
            found.append((path.stem, past))
    return sorted(found, key=lambda pair: pair[1].lives[0].began, reverse=True)


def run_of(folder: Path, names: Collection[str]) -> str | None:
    """The newest run of a folder with a scene of these names."""
    wanted = {folded(name) for name in names}
    for run, past in pasts(folder):
        if wanted & {folded(name) for name in past.scenes}:
            return run
    return None


def is_complete(past: Past) -> bool:
    """Whether it ended in order with every video made."""
    return past.end is not None and past.end.status is Status.COMPLETE


def missing(past: Past, folder: Path) -> list[str]:
    """Scenes whose videos are no longer in this folder as the run has left them."""
    entries = list(past.results.values())
    paths = [folder / entry.video.path.name for entry in entries]
    with ThreadPoolExecutor(_THREADS, "cloudburst-stock") as threads:
        there = list(threads.map(_is, paths, [entry.video for entry in entries]))
    return [
        entry.video.scene for entry, is_there in zip(entries, there, strict=True) if not is_there
    ]


def taken_stock(
    past: Past, scenes: Sequence[CheckedScene], paths: Mapping[str, Path], *, overwrite: bool
) -> Earlier:
    """What need not be done again. Call it while the scenes' names are claimed.

    Videos that had arrived when the process died get their names; what had not is removed. Raises
    `OutputExistsError` for files of these names that the run has not made.
    """
    with ThreadPoolExecutor(_THREADS, "cloudburst-stock") as threads:
        entries = [past.results.get(scene.scene.name) for scene in scenes]
        finals = [paths[scene.scene.name] for scene in scenes]
        ours = list(threads.map(_settle, finals, entries))
    foreign = [
        path
        for path, mine in zip(finals, ours, strict=True)
        if not mine and os.path.lexists(path) and (not overwrite or path.is_dir())
    ]
    if foreign:
        told = ", ".join(map(str, foreign[:5]))
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        why = "not as the run has left it" if past.lives else "there already"
        msg = f"{why}: {told}{more}; overwrite=True replaces what is there"
        raise OutputExistsError(msg, paths=foreign)
    done = {
        scene.scene.name: replace(
            entry, video=entry.video.model_copy(update={"path": paths[scene.scene.name]})
        )
        for scene, entry, mine in zip(scenes, entries, ours, strict=True)
        if entry is not None and mine and entry.fingerprint == scene.fingerprint
    }
    same = {
        scene.scene.name
        for scene in scenes
        if (known := past.scenes.get(scene.scene.name)) is not None
        and known.fingerprint == scene.fingerprint
    }
    answered = {task.token for task in past.tasks.values()}
    return Earlier(
        done=done,
        results=tuple(past.results.values()),
        faults={name: fault for name, fault in past.faults.items() if name in same},
        tasks=tuple(past.tasks.values()),
        unanswered=tuple(e for token, e in past.launches.items() if token not in answered),
    )


def _settle(path: Path, entry: ResultEntry | None) -> bool:
    """Whether the file is the run's own video."""
    part = path.with_name(f"{path.name}.part")
    mine = entry is not None and _is(path, entry.video)
    # Written down before it gets its name: the process may have died in between.
    if entry is not None and not mine and _is(part, entry.video) and not path.is_dir():
        part.replace(path)
        return True
    if part.is_file() or part.is_symlink():
        part.unlink()
    return mine


def _is(path: Path, video: Video) -> bool:
    try:
        if path.is_symlink() or path.stat().st_size != video.size:
            return False
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == video.sha256
    except OSError:
        return False

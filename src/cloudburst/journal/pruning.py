"""Removal of journals: the oldest ones of complete runs, and those of runs that were deleted."""

from __future__ import annotations

import logging
import random
import shutil
import threading
from pathlib import Path

from cloudburst.errors import ConfigurationError
from cloudburst.journal.reader import completed_at, journal_files, journal_path, journal_paths
from cloudburst.outputs import lock_inactive_runs

logger = logging.getLogger(__name__)

MAX_COMPLETE_JOURNALS = 100
"""Maximum number of journals of complete runs that are kept in a folder."""
MAX_OPENED_JOURNALS = 200
"""Maximum number of journals that one call opens; to open one takes 0.4 ms. A limit is needed
because all journals of failed runs are kept."""

_MAX_CACHED = 10_000
"""Maximum number of entries in the cache of completion times, one entry per journal."""
_completion_cache: dict[Path, tuple[tuple[int, int], float | None]] = {}
"""Cached completion times by path of the journal. A value consists of the state of the file when it
was read (see `_file_state`), and of the time at which the run was completed, in seconds since the
epoch; this time is ``None`` if the journal must be kept."""
_cache_lock = threading.Lock()


def prune_journals(folder: Path, *, kept: int = MAX_COMPLETE_JOURNALS) -> None:
    """Remove all but the newest ``kept`` journals of complete runs; keep those of other runs.

    A journal that cannot be removed stays. In a folder with more than `MAX_OPENED_JOURNALS`
    journals, only a random selection is checked; later calls check others.
    """
    try:
        paths = journal_paths(folder)
    except ConfigurationError as exc:
        logger.debug("old journals in %s stay: %s", folder, exc)
        return
    if len(paths) <= kept:
        return
    not_cached = [path for path in paths if not _is_cached(path)]
    # What is not among the newest of the selection is not among the newest of the folder either.
    skipped = set(random.sample(not_cached, max(len(not_cached) - MAX_OPENED_JOURNALS, 0)))
    selected = [path for path in paths if path not in skipped]
    ends = {path: ended for path in selected if (ended := _completed(path)) is not None}
    newest_first = sorted(ends, key=lambda path: ends[path], reverse=True)
    runs = [path.stem for path in newest_first[kept:]]
    try:
        with lock_inactive_runs(folder, runs) as ours:
            for path in newest_first[kept:]:
                if path.stem in ours:
                    _remove(path)
    except OSError as exc:
        logger.debug("old journals in %s stay: %s", folder, exc)


def remove_journal(folder: Path, run: str) -> None:
    """Remove the journal of a run, with the files beside it. Blocks.

    What cannot be removed stays. No process may work on the run.
    """
    path = journal_path(folder, run)
    if path.parent.is_symlink():
        return
    try:
        _remove(path)
    except OSError as exc:
        logger.debug("the journal %s stays: %s", path, exc)


def _completed(path: Path) -> float | None:
    """Return the result of `completed_at`, from the cache if the journal has not changed."""
    state = _file_state(path)
    if state is None:
        return None
    with _cache_lock:
        known = _completion_cache.get(path)
    if known is not None and known[0] == state:
        return known[1]
    ended = completed_at(path)
    with _cache_lock:
        if len(_completion_cache) >= _MAX_CACHED:
            _completion_cache.clear()
        _completion_cache[path] = state, ended
    return ended


def _is_cached(path: Path) -> bool:
    state = _file_state(path)
    with _cache_lock:
        known = _completion_cache.get(path)
    return known is not None and known[0] == state


def _file_state(path: Path) -> tuple[int, int] | None:
    """Return a file's modification time in nanoseconds and size in bytes; ``None`` if missing."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _remove(path: Path) -> None:
    kept_files = path.with_suffix("")
    if kept_files.is_symlink():
        kept_files.unlink()
    elif kept_files.is_dir():
        shutil.rmtree(kept_files)
    for part in journal_files(path):
        part.unlink(missing_ok=True)

"""Removal of journals: the oldest ones of complete runs, and those of runs that were deleted."""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path

from cloudburst.errors import ConfigurationError
from cloudburst.outputs.folder import lock_inactive_runs
from cloudburst.outputs.journal.file import journal_files
from cloudburst.outputs.journal.reader import is_completed, journal_path, journal_paths

logger = logging.getLogger(__name__)

# Number of the newest journals in a folder that are kept in any case.
KEPT_JOURNALS = 100
# Maximum number of journals that one call opens; to open one takes 0.4 ms. A limit is needed
# because all journals of failed runs are kept.
MAX_OPENED_JOURNALS = 200


def prune_journals(folder: Path, *, kept: int = KEPT_JOURNALS) -> None:
    """Remove journals of complete runs, except for the newest ``kept`` journals of the folder.

    A journal that cannot be removed stays. Of more than `MAX_OPENED_JOURNALS` older journals, only
    a random selection is checked; later calls check others.
    """
    try:
        newest_first = sorted(journal_paths(folder), key=_modified_at, reverse=True)
        older = newest_first[kept:]
        selected = random.sample(older, min(len(older), MAX_OPENED_JOURNALS))
        complete = [path for path in selected if is_completed(path)]
        if not complete:
            return
        with lock_inactive_runs(folder, [path.stem for path in complete]) as ours:
            for path in complete:
                if path.stem in ours:
                    _remove(path)
    except (ConfigurationError, OSError) as exc:
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


def _modified_at(path: Path) -> int:
    return path.lstat().st_mtime_ns


def _remove(path: Path) -> None:
    kept_files = path.with_suffix("")
    if kept_files.is_symlink():
        kept_files.unlink()
    elif kept_files.is_dir():
        shutil.rmtree(kept_files)
    for part in journal_files(path):
        part.unlink(missing_ok=True)

"""Removes the oldest journals of runs that are complete. Blocks."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from cloudburst.journal.reading import completed, journals, parts
from cloudburst.outputs import unclaimed

logger = logging.getLogger(__name__)

KEPT = 100
"""Journals of complete runs in a folder."""


def prune(folder: Path, *, kept: int = KEPT) -> None:
    """Keep the newest journals of complete runs, and all others.

    What cannot be removed stays: it is in nobody's way.
    """
    paths = journals(folder)
    if len(paths) <= kept:
        return
    ends = {path: ended for path in paths if (ended := completed(path)) is not None}
    newest_first = sorted(ends, key=lambda path: ends[path], reverse=True)
    runs = [path.stem for path in newest_first[kept:]]
    try:
        with unclaimed(folder, runs) as ours:
            for path in newest_first[kept:]:
                if path.stem in ours:
                    _remove(path)
    except OSError as exc:
        logger.debug("old journals in %s stay: %s", folder, exc)


def _remove(path: Path) -> None:
    kept_files = path.with_suffix("")
    if kept_files.is_dir():
        shutil.rmtree(kept_files)
    for part in parts(path):
        part.unlink(missing_ok=True)

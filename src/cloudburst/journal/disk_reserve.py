"""Reservation of disk space for the last entries of a journal, in case the disk becomes full."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

RESERVED = 512 * 1024
"""Size in bytes to which SQLite's write-ahead log (WAL) is extended: about thirty commits, each of
a few pages of 4 kB."""
_FREE_SPACE_DIVISOR = 8
"""Divisor of the free disk space: at most one eighth is reserved, because videos need the rest."""


def reserve_disk_space(wal: Path) -> None:
    """Extend the write-ahead log (WAL) of an open journal to the reserved size. Blocks.

    The log grows by at most a fraction of the free disk space. SQLite overwrites a WAL from its
    start after each checkpoint, does not shorten it while it is open, and ignores what follows the
    last valid frame (https://sqlite.org/fileformat.html, "The Write-Ahead Log"). Commits therefore
    need no more space when videos have filled the disk.
    """
    try:
        with wal.open("r+b") as file:
            size = file.seek(0, 2)
            free = shutil.disk_usage(wal.parent).free
            target = min(RESERVED, size + free // _FREE_SPACE_DIVISOR)
            try:
                file.write(bytes(max(target - size, 0)))
                file.flush()
            except OSError:
                file.truncate(size)
                raise
    except OSError as exc:
        logger.debug("no space was reserved in %s: %s", wal, exc)

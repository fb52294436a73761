"""Room for the files that arrive, within the limits of the folder and of each owner."""

from __future__ import annotations

import shutil
from pathlib import Path
from sqlite3 import Connection

from cloudburst.errors import JobLimitError
from cloudburst.jobs.admission import check_bytes
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.models import JobLimits

BYTES_PER_CHECK = 16_000_000
"""Number of bytes after which files that arrive are compared with the limits again."""


FREE_BYTES, FREE_SHARE = 1_000_000_000, 0.05
"""Bytes of the disk that files which arrive and jobs that begin leave free, for the events and the
videos of jobs that run: the smaller one of this number and this part of the disk."""


def has_free_disk(folder: Path) -> bool:
    """Return whether the disk of a folder has room for more files."""
    disk = shutil.disk_usage(folder)
    return disk.free >= min(FREE_BYTES, FREE_SHARE * disk.total)


class Room:
    """Room for the files that arrive in this process.

    The database has the size of a file only when all of it has arrived. Until then its size is
    noted here, so that many files that arrive at once do not exceed the limits together.
    """

    def __init__(self, database: JobDatabase, limits: JobLimits) -> None:
        self._database = database
        self._limits = limits
        self._incoming = dict[object, tuple[str, int]]()

    async def check(self, transfer: object, owner: str, size: int) -> None:
        """Note the size of a transfer, in bytes, and raise `JobLimitError` if it does not fit.

        A size that is less than `BYTES_PER_CHECK` above the one that is noted changes nothing.
        """
        _, noted = self._incoming.get(transfer, ("", -BYTES_PER_CHECK))
        if size < noted + BYTES_PER_CHECK:
            return
        self._incoming[transfer] = owner, size
        others = [each for key, each in self._incoming.items() if key is not transfer]
        of_owner = sum(size for each, size in others if each == owner)
        of_all = sum(size for _, size in others)

        def check(connection: Connection) -> None:
            check_bytes(
                connection,
                owner,
                size,
                self._limits,
                incoming=of_all,
                incoming_of_owner=of_owner,
            )
            if not has_free_disk(self._database.path.parent):
                raise JobLimitError("the disk of the server is almost full", of_owner=False)

        await self._database.read(check)

    def release(self, transfer: object) -> None:
        """Forget a transfer: it has ended, and the database has its size if it is kept."""
        self._incoming.pop(transfer, None)

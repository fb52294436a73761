"""SQLite databases: opening, transactions, and where a write-ahead log works. All block."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

_MOUNTINFO = Path("/proc/self/mountinfo")
# Types of file systems that several machines can mount at once. SQLite's write-ahead log (WAL) does
# not work on them, because all processes that use the log must share memory
# (https://sqlite.org/wal.html, "Overview").
_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "coda"),
    *("ceph", "lustre", "glusterfs", "beegfs", "gpfs", "ocfs2", "gfs2", "orangefs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"),
    *("fuse.mount-s3", "fuse.juicefs", "fuse.davfs", "davfs"),
}
_ESCAPED = re.compile(r"\\([0-7]{3})")


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open an existing database for one thread at a time; transactions are begun by hand.

    ``busy_timeout`` is the maximum number of seconds to wait while another process writes.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def create_private_file(path: Path) -> None:
    """Create an empty file that only this user can read, and its folder, if they do not exist."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An existing file is not opened: closing it would drop the locks that SQLite holds in this
    # process ("How To Corrupt An SQLite Database File", 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Generator[None]:
    """Commit what the block writes, or nothing of it if the block raises an error."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors roll back by themselves
            connection.execute("ROLLBACK")
        raise


def schema_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database's format; 0 for an empty database."""
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return int(schema)


def network_file_system(folder: Path) -> str | None:
    """Return the type of the network file system that contains an existing folder. Blocks.

    Return ``None`` for a local file system, and on other systems than Linux.
    """
    try:
        # Undecodable names use the same escapes as in paths.
        mountinfo = _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None  # not Linux
    kind = file_system(mountinfo, PurePosixPath(folder.resolve()))
    return kind if kind in _NETWORK else None


def file_system(mountinfo: str, path: PurePosixPath) -> str:
    """Return the file system of an absolute path in the text of ``/proc/self/mountinfo``."""
    best, found = -1, ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        columns = fields.split(" ")
        if len(columns) < 5 or not rest:
            continue
        point = PurePosixPath(_ESCAPED.sub(lambda m: chr(int(m[1], 8)), columns[4]))
        # A later mount on the same point hides the earlier one.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), rest.split(" ")[0]
    return found

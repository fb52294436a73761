"""Detection of network file systems."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

_MOUNTINFO = Path("/proc/self/mountinfo")
_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "coda"),
    *("ceph", "lustre", "glusterfs", "beegfs", "gpfs", "ocfs2", "gfs2", "orangefs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"),
    *("fuse.mount-s3", "fuse.juicefs", "fuse.davfs", "davfs"),
}
"""Types of file systems that several machines can mount at once. SQLite's write-ahead log (WAL)
does not work on them, because all processes that use the log must share memory
(https://sqlite.org/wal.html, "Overview")."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


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
    """Return the type of the file system that contains a path, or an empty text if none does.

    ``path`` is absolute and without symbolic links. ``mountinfo`` is the text of
    ``/proc/self/mountinfo``, which proc_pid_mountinfo(5) describes.
    """
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

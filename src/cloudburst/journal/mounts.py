"""On what kind of file system a folder lies."""

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
"""File systems that other machines may have mounted too, whose memory is not ours: SQLite's WAL
needs one memory for all who open a file (https://sqlite.org/wal.html, "Overview")."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


def network_file_system(folder: Path) -> str | None:
    """The kind of network file system that an existing folder lies on. Blocks.

    ``None``: it lies on none, as far as this system can tell.
    """
    try:
        # Undecodable names are as they are in paths.
        mountinfo = _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None  # not Linux
    kind = file_system(mountinfo, PurePosixPath(folder.resolve()))
    return kind if kind in _NETWORK else None


def file_system(mountinfo: str, path: PurePosixPath) -> str:
    """The kind of file system that holds an absolute path without links; ``""``: not told.

    ``mountinfo`` is the text of ``/proc/self/mountinfo``, see proc_pid_mountinfo(5).
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

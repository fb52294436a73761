"""Child processes, and the containers to which processes belong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MARK = "CLOUDBURST_EMULATOR_CONTAINER"
"""Name of the environment variable that holds the container's name in each of its processes."""


def children_of(own: int) -> list[int]:
    """Return the process ids of the child processes of a process, including adopted orphans."""
    found = list[int]()
    with suppress(OSError):  # not every kernel has this file
        return [int(word) for word in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1]) == own:
                    found.append(int(entry.name))
    return found


def mark_of(pid: int) -> str:
    """Return the name of a process's container, from its environment; empty if unknown."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == MARK.encode():
                return value.decode()
    return ""

"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Whole cores, at least one: the least of affinity and the quotas of all our cgroups.

    Containers see every core of the machine they lie on; what they were given is in ``cpu.max``
    (cgroup v2) or ``cpu.cfs_quota_us`` (v1), at their own level or at one above it.
    """
    shares = [float(_affinity())]
    for folder in _folders(root, membership):
        shares.extend(quota for quota in (_quota_v2(folder), _quota_v1(folder)) if quota)
    return max(1, int(min(shares)))


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _folders(root: Path, membership: Path) -> list[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        inside = top / path.lstrip("/")
        # A container with its own view of the tree finds its quota at the top of it.
        folders += [inside, *(up for up in inside.parents if up.is_relative_to(top))]
    return folders


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return float(quota) / float(period)
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None

"""Number of processor cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the number of whole cores that this process may use, at least 1."""
    # It is the minimum of the CPU affinity and all cgroup quotas. A container sees every core of
    # its host; its own share is in ``cpu.max`` (cgroup v2) or ``cpu.cfs_quota_us`` (v1), in its
    # own cgroup or in a parent.
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
        # In a container with its own cgroup namespace the quota is at the top of the tree.
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

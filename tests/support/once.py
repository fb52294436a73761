"""Values that the first of several test processes makes for all of them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]
) -> tuple[Path, T]:
    """Return a folder, and what ``make(folder)`` has returned in the process that called it first.

    The value must be one that ``pickle`` can write.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each process has a folder of its own below it
    folder, kept = base / name, base / f"{name}.pickle"
    with FileLock(base / f"{name}.lock"):
        if not kept.exists():
            folder.mkdir(exist_ok=True)
            kept.write_bytes(pickle.dumps(make(folder)))
        return folder, pickle.loads(kept.read_bytes())

"""Temporary folders, which no cancellation leaves behind."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from cloudburst.concurrency import opened_in_thread


def temporary_folder() -> AbstractAsyncContextManager[Path]:
    """Return a context manager that makes a folder, and removes it with its files at the end.

    On entry, it raises `OSError` if the folder cannot be made.
    """
    return opened_in_thread(
        lambda: Path(tempfile.mkdtemp(prefix="cloudburst-")),
        lambda folder: shutil.rmtree(folder, ignore_errors=True),
    )

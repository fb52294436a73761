"""File that remembers unfinished uploads, so that a later process continues them."""

from __future__ import annotations

from pathlib import Path


class UploadSessions:
    """Unfinished uploads of blobs, in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path

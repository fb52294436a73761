"""File that remembers unfinished uploads, so that a later process continues them."""

from __future__ import annotations

import json
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

MAX_FILE_BYTES = 1024**2
MAX_SESSIONS = 100
"""Maximum number of remembered uploads; the oldest ones are forgotten."""
MAX_LOCATION_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class UploadSession:
    """Unfinished upload of a blob."""

    location: str = field(repr=False)
    """URL to which the next chunk is sent. It may authorize uploads, like a password."""
    offset: int
    """Number of bytes that the registry is known to have."""


class UploadSessions:
    """Unfinished uploads of blobs, in a JSON file that only the current user can read.

    Every method blocks. A file that cannot be read or written counts as empty: uploads then begin
    again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def find(self, registry: str, repository: str, digest: str) -> UploadSession | None:
        """Return the unfinished upload of a blob; ``None`` if there is none."""
        with self._lock:
            return self._read().get(_key(registry, repository, digest))

    def remember(
        self, registry: str, repository: str, digest: str, session: UploadSession | None
    ) -> None:
        """Record the state of an upload; ``None``: it has ended."""
        key = _key(registry, repository, digest)
        with self._lock:
            sessions = self._read()
            if sessions.pop(key, None) is None and session is None:
                return
            if session is not None:
                sessions[key] = session
            self._write(sessions)

    def _read(self) -> dict[str, UploadSession]:
        with suppress(OSError, ValueError, RecursionError):
            with self._path.open("rb") as file:
                document: object = json.loads(file.read(MAX_FILE_BYTES))
            if isinstance(document, dict):
                entries = cast("dict[str, object]", document)
                found = {key: _parse(value) for key, value in entries.items()}
                return {key: session for key, session in found.items() if session is not None}
        return {}

    def _write(self, sessions: dict[str, UploadSession]) -> None:
        latest = list(sessions.items())[-MAX_SESSIONS:]
        text = json.dumps({key: [one.location, one.offset] for key, one in latest})
        temporary = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}.part")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                temporary.replace(self._path)
            finally:
                temporary.unlink(missing_ok=True)


def _key(registry: str, repository: str, digest: str) -> str:
    return f"{registry} {repository} {digest}"


def _parse(value: object) -> UploadSession | None:
    match value:
        case [str(location), int(offset)] if len(location) <= MAX_LOCATION_LENGTH and offset >= 0:
            return UploadSession(location, offset)
        case _:
            return None

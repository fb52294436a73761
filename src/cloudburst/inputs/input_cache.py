"""Cache of the checks and hashes of input files, in the state folder.

A result belongs to one version of a file: a file that has changed is checked again. Every function
blocks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from cloudburst.databases import StateDatabase
from cloudburst.models.file_versions import KNOWN_HASHES, FileVersion
from cloudburst.models.input_file import CHECK_RULES, InputFacts

MAX_FILES = 50_000
"""Maximum number of files in the state folder: about 25 MB. The results that were saved first are
dropped first."""
MIN_AGE_NS = 2_000_000_000
"""Age in nanoseconds that the last change of a file must have when the file is read, for its result
to be kept. A change shortly afterwards could leave the same time: file systems store times in steps
of up to two seconds (FAT; "Racy Git" in the documentation of Git describes the problem)."""
_CREATE = """\
CREATE TABLE IF NOT EXISTS inputs (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL,
    facts TEXT NOT NULL,
    sha256 TEXT NOT NULL
)"""
_DATABASE = StateDatabase(name=f"inputs-{CHECK_RULES}.sqlite", create=_CREATE)
_INSERT = "INSERT OR REPLACE INTO inputs (path, version, facts, sha256) VALUES (?, ?, ?, ?)"
_SELECT = "SELECT version, facts, sha256 FROM inputs WHERE path = ?"
_DELETE_OLD = "DELETE FROM inputs WHERE id <= (SELECT max(id) FROM inputs) - ?"


@dataclass(frozen=True, slots=True)
class KnownInput:
    """What is known about a version of an input file."""

    facts: InputFacts
    sha256: str | None
    """SHA-256 of the content, in hexadecimal; ``None`` if the file was not read to its end."""


class InputCache:
    """Results of checks and hashes of the input files of one run, for use by several threads.

    Each of its dictionaries is read or written by one operation of Python at a time.
    """

    def __init__(self) -> None:
        self._known: dict[FileVersion, KnownInput] = {}
        self._checked: dict[Path, FileVersion] = {}
        self._unsaved: dict[Path, tuple[FileVersion, InputFacts, str]] = {}

    def load(self, paths: Iterable[Path]) -> None:
        """Load the results for these files from the state folder."""
        keys = {path: _key(path) for path in paths}

        def read(connection: sqlite3.Connection) -> None:
            for path, key in keys.items():
                if row := connection.execute(_SELECT, (key,)).fetchone():
                    version = FileVersion(path, *json.loads(row[0]))
                    self._known[version] = KnownInput(InputFacts(**json.loads(row[1])), row[2])
                    KNOWN_HASHES.add(version, row[2])

        _DATABASE.read(read, default=None)

    def find(self, version: FileVersion) -> KnownInput | None:
        """Return what is known about a version of a file; ``None`` if it was not checked."""
        return self._known.get(version)

    def checked_version(self, path: Path) -> FileVersion | None:
        """Return the version of a file that was checked for this run, or ``None``."""
        return self._checked.get(path)

    def note_checked(self, version: FileVersion, facts: InputFacts) -> None:
        """Record that this version of a file is valid for this run, as far as its header shows."""
        self._checked[version.path] = version
        known = self._known.get(version)
        if known is None or known.facts != facts:
            self._known[version] = KnownInput(facts, None)

    def note_read(
        self, version: FileVersion, facts: InputFacts, sha256: str, *, began_ns: int
    ) -> None:
        """Record the hash of a checked file that was read to its end.

        Args:
            version: Version of the file.
            facts: What the check has found out about the file.
            sha256: SHA-256 of the content, in hexadecimal.
            began_ns: Time at which the reading began, in nanoseconds since the Unix epoch.
        """
        KNOWN_HASHES.add(version, sha256)
        self._checked[version.path] = version
        self._known[version] = KnownInput(facts, sha256)
        # A time in the future proves nothing: the clocks of machines differ.
        if began_ns - version.mtime_ns >= MIN_AGE_NS:
            self._unsaved[version.path] = version, facts, sha256

    def save(self) -> None:
        """Save new results in the state folder."""
        unsaved, self._unsaved = self._unsaved, {}
        rows = [
            (_key(path), json.dumps(version[1:]), json.dumps(asdict(facts)), sha256)
            for path, (version, facts, sha256) in unsaved.items()
        ]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_INSERT, rows)
            connection.execute(_DELETE_OLD, (MAX_FILES,))

        if rows:
            _DATABASE.write(write)


def _key(path: Path) -> str:
    return json.dumps(str(path))  # paths need not be UTF-8, and json.dumps escapes such paths

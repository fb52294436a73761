"""Cache of the checks and hashes of input files, in the state folder and in the journals of runs.

A result belongs to one version of a file: a file that has changed is checked again. Every function
blocks.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from cloudburst.file_versions import KNOWN_HASHES, FileVersion
from cloudburst.models.input_file import (
    CHECK_RULES,
    MAX_PATH_CHARS,
    InputFacts,
    InputFileEntry,
)
from cloudburst.state_database import StateDatabase

MAX_FILES = 50_000
"""Maximum number of files in the state folder: about 25 MB. The results that were saved first are
dropped first."""
MIN_AGE_NS = 2_000_000_000
"""Age in nanoseconds that the last change of a file must have when the file is read, for its result
to be kept. A change shortly afterwards could leave the same time: file systems store times in steps
of up to two seconds (FAT; "Racy Git" in the documentation of Git describes the problem)."""
_CREATE = """\
CREATE TABLE inputs (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    entry TEXT NOT NULL
)"""
_DATABASE = StateDatabase(name="inputs.sqlite", create=_CREATE, schema=2)
_INSERT = "INSERT OR REPLACE INTO inputs (path, entry) VALUES (?, ?)"
_SELECT = "SELECT entry FROM inputs WHERE path = ?"
_DELETE_OLD = "DELETE FROM inputs WHERE id <= (SELECT max(id) FROM inputs) - ?"
_ENTRY = TypeAdapter(InputFileEntry)


@dataclass(frozen=True, slots=True)
class KnownInput:
    """What is known about a version of an input file."""

    facts: InputFacts
    sha256: str | None
    """SHA-256 of the content, in hexadecimal; ``None`` if the file was not read to its end."""


class InputCache:
    """Results of checks and hashes of the input files of one run, for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[FileVersion, KnownInput] = {}
        self._checked: dict[Path, FileVersion] = {}
        self._lasting: set[FileVersion] = set()
        """Versions whose results may be kept for other processes."""
        self._unsaved: set[FileVersion] = set()

    def load(self, paths: Iterable[Path]) -> None:
        """Load the results for these files from the state folder."""
        keys = [_key(path) for path in paths]
        entries: list[InputFileEntry] = _DATABASE.read(
            lambda connection: _read(connection, keys), default=[]
        )
        for version, sha256 in self.add_entries(entries):
            KNOWN_HASHES.add(version, sha256)

    def add_entries(self, entries: Iterable[InputFileEntry]) -> list[tuple[FileVersion, str]]:
        """Add results that an earlier process has kept; return the hashes that were added.

        Hashes from the journal of a run count for this run only. Uploads, also those of other runs,
        do not use them: others may be able to write to the folder of the videos.
        """
        added = list[tuple[FileVersion, str]]()
        for entry in entries:
            if entry.rules != CHECK_RULES:
                continue
            version = FileVersion(
                entry.path, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode
            )
            with self._lock:
                self._known[version] = KnownInput(entry.facts, entry.sha256)
                self._lasting.add(version)
            added.append((version, entry.sha256))
        return added

    def find(self, version: FileVersion) -> KnownInput | None:
        """Return what is known about a version of a file; ``None`` if it was not checked."""
        with self._lock:
            return self._known.get(version)

    def checked_version(self, path: Path) -> FileVersion | None:
        """Return the version of a file that was checked for this run, or ``None``."""
        with self._lock:
            return self._checked.get(path)

    def note_checked(self, version: FileVersion, facts: InputFacts) -> None:
        """Record that this version of a file is valid for this run, as far as its header shows."""
        with self._lock:
            self._checked[version.path] = version
            known = self._known.get(version)
            sha256 = known.sha256 if known is not None and known.facts == facts else None
            self._known[version] = KnownInput(facts, sha256)

    def note_read(
        self, version: FileVersion, facts: InputFacts, sha256: str, *, began_ns: int
    ) -> None:
        """Record the hash of a checked file that was read to its end and is valid.

        Args:
            version: Version of the file.
            facts: What the check has found out about the file.
            sha256: SHA-256 of the content, in hexadecimal.
            began_ns: Time at which the reading began, in nanoseconds since the Unix epoch.
        """
        KNOWN_HASHES.add(version, sha256)
        with self._lock:
            self._checked[version.path] = version
            self._known[version] = KnownInput(facts, sha256)
            # A time in the future proves nothing: the clocks of machines differ.
            if began_ns - version.mtime_ns >= MIN_AGE_NS:
                self._lasting.add(version)
                self._unsaved.add(version)

    def entries(self) -> Iterator[InputFileEntry]:
        """Yield the results for the files of this run that may be kept for other processes."""
        with self._lock:
            versions = [each for each in self._checked.values() if each in self._lasting]
        yield from self._entries(versions)

    def save(self) -> None:
        """Save new results in the state folder."""
        with self._lock:
            versions, self._unsaved = list(self._unsaved), set()
        rows = [_row(entry) for entry in self._entries(versions)]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_INSERT, rows)
            connection.execute(_DELETE_OLD, (MAX_FILES,))

        if rows:
            _DATABASE.write(write)

    def _entries(self, versions: Collection[FileVersion]) -> Iterator[InputFileEntry]:
        for version in versions:
            known = self.find(version)
            if known is None or known.sha256 is None or len(str(version.path)) > MAX_PATH_CHARS:
                continue
            yield InputFileEntry(
                path=version.path,
                size=version.size,
                mtime_ns=version.mtime_ns,
                ctime_ns=version.ctime_ns,
                inode=version.inode,
                sha256=known.sha256,
                facts=known.facts,
            )


def _read(connection: sqlite3.Connection, keys: Sequence[str]) -> list[InputFileEntry]:
    entries = list[InputFileEntry]()
    for key in keys:
        row = connection.execute(_SELECT, (key,)).fetchone()
        if row is not None:
            with suppress(ValueError):  # another version has written it
                entries.append(_ENTRY.validate_python(json.loads(row[0])))
    return entries


def _row(entry: InputFileEntry) -> tuple[str, str]:
    # Not dump_json: paths need not be UTF-8, and json.dumps escapes such paths.
    text = json.dumps(_ENTRY.dump_python(entry, mode="json"), separators=(",", ":"))
    return _key(entry.path), text


def _key(path: Path) -> str:
    return json.dumps(str(path))

"""Tables of a journal, one for each class of entry, and functions that write and read rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter

from cloudburst.models.journal_entries import (
    Entry,
    JournalState,
    LaunchEntry,
    ProcessEndEntry,
    ProcessEntry,
    ResultEntry,
    SceneEntry,
    SceneFailureEntry,
    TaskEntry,
)

# Application id of journals, ``ClDB``, which distinguishes them from other SQLite files.
APPLICATION_ID = 0x436C6442
# Version of the format; only journals of the same version can be read.
SCHEMA_VERSION = 5

_E = TypeVar("_E")
_LAST_PROCESS = "(SELECT coalesce(max(id), 0) FROM processes)"


class DamagedRowError(Exception):
    """Error for a row that cannot be read; callers get a `JournalError` instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    name: str
    kind: type[Any]
    # Name of the column that holds the key of a row.
    key: str
    key_of: Callable[[Any], str | float | None]
    key_sql: str = "?"
    adapter: TypeAdapter[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", TypeAdapter(self.kind))

    @property
    def created(self) -> str:
        return (
            f"CREATE TABLE {self.name} (id INTEGER PRIMARY KEY, {self.key} NOT NULL UNIQUE, "
            "entry TEXT NOT NULL)"
        )

    @property
    def written(self) -> str:
        return (
            f"INSERT INTO {self.name} ({self.key}, entry) "  # noqa: S608 - our own names
            f"VALUES ({self.key_sql}, ?) ON CONFLICT ({self.key}) "
            "DO UPDATE SET entry = excluded.entry"
        )


_TABLES = (
    _Table(name="processes", kind=ProcessEntry, key="started_at", key_of=lambda e: e.started_at),
    _Table(name="scenes", kind=SceneEntry, key="scene", key_of=lambda e: e.scene.name),
    _Table(name="launches", kind=LaunchEntry, key="token", key_of=lambda e: e.token),
    _Table(name="tasks", kind=TaskEntry, key="task", key_of=lambda e: e.task),
    _Table(name="results", kind=ResultEntry, key="scene", key_of=lambda e: e.video.scene),
    _Table(name="scene_failures", kind=SceneFailureEntry, key="scene", key_of=lambda e: e.scene),
    # The key is the process that was the last one when the end was written.
    _Table(
        name="process_ends",
        kind=ProcessEndEntry,
        key="process",
        key_of=lambda _: None,
        key_sql=_LAST_PROCESS,
    ),
)
_BY_KIND = {table.kind: table for table in _TABLES}


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of an empty file, within the caller's transaction."""
    for table in _TABLES:
        connection.execute(table.created)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def insert(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Write entries in the given order, within the caller's transaction."""
    for entry in entries:
        table = _BY_KIND[type(entry)]
        # Not dump_json: file names need not be UTF-8, and json.dumps escapes such names.
        text = json.dumps(table.adapter.dump_python(entry, mode="json"), separators=(",", ":"))
        key = table.key_of(entry)
        connection.execute(table.written, (text,) if key is None else (key, text))


def select(connection: sqlite3.Connection) -> JournalState:
    """Return the state of a run from all tables, read within the caller's transaction.

    Raises `DamagedRowError`, and the errors of sqlite3.
    """
    processes = tuple(_rows(connection, ProcessEntry))
    return JournalState(
        processes=processes,
        scenes={entry.scene.name: entry for entry in _rows(connection, SceneEntry)},
        launches={entry.token: entry for entry in _rows(connection, LaunchEntry)},
        tasks={entry.task: entry for entry in _rows(connection, TaskEntry)},
        results={entry.video.scene: entry for entry in _rows(connection, ResultEntry)},
        scene_failures={entry.scene: entry for entry in _rows(connection, SceneFailureEntry)},
        end=select_end(connection),
    )


def select_end(connection: sqlite3.Connection) -> ProcessEndEntry | None:
    """Return the entry with which the last process of the run ended; ``None`` if there is none.

    Raises the same errors as `select`.
    """
    return next(_rows(connection, ProcessEndEntry, f"WHERE process = {_LAST_PROCESS}"), None)


def select_last_process(connection: sqlite3.Connection) -> ProcessEntry | None:
    """Return the entry of the last process of the run; ``None`` if there is none.

    Raises the same errors as `select`.
    """
    return next(_rows(connection, ProcessEntry, f"WHERE id = {_LAST_PROCESS}"), None)


def _rows(connection: sqlite3.Connection, kind: type[_E], where: str = "") -> Iterator[_E]:
    table = _BY_KIND[kind]
    query = f"SELECT entry FROM {table.name} {where} ORDER BY id"  # noqa: S608 - our own names
    for (text,) in connection.execute(query):
        try:
            yield table.adapter.validate_python(json.loads(text))
        except (ValueError, TypeError, RecursionError) as exc:
            msg = f"a row of {table.name} cannot be read"
            raise DamagedRowError(msg) from exc

"""One table for each kind of entry: what its rows are, and how they are written and read."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from cloudburst.models.entries import (
    EndEntry,
    Entry,
    FaultEntry,
    LaunchEntry,
    ResultEntry,
    RunEntry,
    SceneEntry,
    TaskEntry,
)
from cloudburst.models.past import Past

APPLICATION = 0x436C6442
"""``ClDB``: tells a journal from any other file of SQLite."""
SCHEMA = 1
"""Another number means that this version cannot read what is there."""

_E = TypeVar("_E")
_LIFE = "(SELECT coalesce(max(id), 0) FROM lives)"


class DamagedError(Exception):
    """A row is not what was written. Never leaves this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Entries of one kind, one row for each thing that they are about."""

    name: str
    kind: type[Any]
    key: str
    """The column that names that thing."""
    key_of: Callable[[Any], str | float | None]
    key_sql: str = "?"
    adapter: TypeAdapter[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", TypeAdapter(self.kind))

    @property
    def created(self) -> str:
        return (
            f"CREATE TABLE {self.name} (id INTEGER PRIMARY KEY, {self.key} NOT NULL UNIQUE, "
            "entry TEXT NOT NULL, checksum INTEGER NOT NULL)"
        )

    @property
    def written(self) -> str:
        return (
            f"INSERT INTO {self.name} ({self.key}, entry, checksum) "  # noqa: S608 - our own names
            f"VALUES ({self.key_sql}, ?, ?) ON CONFLICT ({self.key}) "
            "DO UPDATE SET entry = excluded.entry, checksum = excluded.checksum"
        )


_TABLES = (
    _Table(name="lives", kind=RunEntry, key="began", key_of=lambda e: e.began),
    _Table(name="scenes", kind=SceneEntry, key="scene", key_of=lambda e: e.scene.name),
    _Table(name="launches", kind=LaunchEntry, key="token", key_of=lambda e: e.token),
    _Table(name="tasks", kind=TaskEntry, key="task", key_of=lambda e: e.task),
    _Table(name="results", kind=ResultEntry, key="scene", key_of=lambda e: e.video.scene),
    _Table(name="faults", kind=FaultEntry, key="scene", key_of=lambda e: e.scene),
    # An end is that of the life which was the last one when it was written.
    _Table(name="ends", kind=EndEntry, key="life", key_of=lambda _: None, key_sql=_LIFE),
)
_BY_KIND = {table.kind: table for table in _TABLES}


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file; within a transaction of the caller's."""
    for table in _TABLES:
        connection.execute(table.created)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def insert(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Write entries in their order; within a transaction of the caller's."""
    for entry in entries:
        table = _BY_KIND[type(entry)]
        # Not dump_json: names of files need not be UTF-8, and JSON can escape what is not.
        text = json.dumps(table.adapter.dump_python(entry, mode="json"), separators=(",", ":"))
        key = table.key_of(entry)
        row = (text, _checksum(text)) if key is None else (key, text, _checksum(text))
        connection.execute(table.written, row)


def select(connection: sqlite3.Connection) -> Past:
    """All of it; within a transaction of the caller's.

    Raises `DamagedError` and what sqlite3 raises.
    """
    lives = tuple(_rows(connection, RunEntry))
    return Past(
        lives=lives,
        scenes={entry.scene.name: entry for entry in _rows(connection, SceneEntry)},
        launches={entry.token: entry for entry in _rows(connection, LaunchEntry)},
        tasks={entry.task: entry for entry in _rows(connection, TaskEntry)},
        results={entry.video.scene: entry for entry in _rows(connection, ResultEntry)},
        faults={entry.scene: entry for entry in _rows(connection, FaultEntry)},
        end=select_end(connection),
    )


def select_end(connection: sqlite3.Connection) -> EndEntry | None:
    """That of the last life. Raises as `select` does."""
    return next(_rows(connection, EndEntry, f"WHERE life = {_LIFE}"), None)


def _rows(connection: sqlite3.Connection, kind: type[_E], where: str = "") -> Iterator[_E]:
    table = _BY_KIND[kind]
    columns = f"{table.key}, entry, checksum FROM {table.name} {where} ORDER BY id"
    for key, text, checksum in connection.execute(f"SELECT {columns}"):
        try:
            if _checksum(text) != checksum:
                msg = f"a row of {table.name} is not what was written"
                raise DamagedError(msg)
            entry = table.adapter.validate_python(json.loads(text))
        except (ValueError, TypeError, ValidationError, AttributeError) as exc:
            msg = f"a row of {table.name} cannot be read"
            raise DamagedError(msg) from exc
        if table.key_of(entry) not in {key, None}:
            msg = f"a row of {table.name} has another's name"
            raise DamagedError(msg)
        yield entry


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())

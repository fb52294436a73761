"""Uploads in the database. Every function uses the caller's transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

BYTES_OF_ENTRY = 4_096
"""Number of bytes for which each upload, job and scene counts in addition to its files: for a block
of the file system, and for rows, events and reports in the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """File that an owner has uploaded for a later job."""

    id: str
    """Identifier, 32 hexadecimal digits."""
    owner: str
    name: str
    """Name of the file in the folder of the uploads."""
    bytes: int
    created_at: float
    """Time in seconds since the epoch."""


def insert_upload(connection: sqlite3.Connection, upload: Upload) -> None:
    """Write an upload."""
    connection.execute(
        "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)",
        (upload.id, upload.owner, upload.name, upload.bytes, upload.created_at),
    )


def find_upload(connection: sqlite3.Connection, owner: str, upload: str) -> Upload | None:
    """Return an upload of an owner; ``None`` if the owner has no such upload."""
    row = connection.execute(
        "SELECT id, owner, name, bytes, created_at FROM uploads WHERE id = ? AND owner = ?",
        (upload, owner),
    ).fetchone()
    return None if row is None else _upload(*row)


def delete_upload(connection: sqlite3.Connection, upload: str) -> None:
    """Delete an upload."""
    connection.execute("DELETE FROM uploads WHERE id = ?", [upload])


def uploads_before(connection: sqlite3.Connection, time: float) -> list[Upload]:
    """Return the uploads that were made before a time in seconds since the epoch."""
    rows = connection.execute(
        "SELECT id, owner, name, bytes, created_at FROM uploads WHERE created_at < ?", [time]
    )
    return [_upload(*row) for row in rows]


def upload_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the files of all uploads."""
    return [name for (name,) in connection.execute("SELECT name FROM uploads")]


def bytes_stored(connection: sqlite3.Connection, owner: str | None = None) -> int:
    """Return the size of all uploads, inputs and videos, or of those of one owner, in bytes.

    `BYTES_OF_ENTRY` is added for each, so that many small ones are limited as well.
    """
    where, values = ("", []) if owner is None else ("WHERE owner = ?", [owner])
    total = 0
    for table in ("uploads", "jobs"):
        columns = f"coalesce(sum(bytes + {BYTES_OF_ENTRY}), 0)"
        query = f"SELECT {columns} FROM {table} {where}"  # noqa: S608 - our own names
        (size,) = connection.execute(query, values).fetchone()
        total += size
    return total


def _upload(upload: str, owner: str, name: str, size: int, created_at: float) -> Upload:
    return Upload(id=upload, owner=owner, name=name, bytes=size, created_at=created_at)

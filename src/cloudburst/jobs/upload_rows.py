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
    """Identifier, 32 hexadecimal digits; also the name of its file."""
    owner: str
    bytes: int
    created_at: float
    """Time in seconds since the epoch."""


def insert_upload(connection: sqlite3.Connection, upload: Upload) -> None:
    """Write an upload."""
    connection.execute(
        "INSERT INTO uploads (id, owner, name, bytes, created_at) VALUES (?, ?, ?, ?, ?)",
        (upload.id, upload.owner, upload.id, upload.bytes, upload.created_at),
    )


def find_upload(connection: sqlite3.Connection, owner: str, upload: str) -> Upload | None:
    """Return an upload of an owner; ``None`` if the owner has no such upload."""
    row = connection.execute(
        "SELECT id, bytes, created_at FROM uploads WHERE id = ? AND owner = ?",
        (upload, owner),
    ).fetchone()
    if row is None:
        return None
    identifier, size, created_at = row
    return Upload(id=identifier, owner=owner, bytes=size, created_at=created_at)


def delete_upload(connection: sqlite3.Connection, upload: str) -> None:
    """Delete an upload."""
    connection.execute("DELETE FROM uploads WHERE id = ?", [upload])


def uploads_before(connection: sqlite3.Connection, time: float) -> list[str]:
    """Return the uploads that were made before a time in seconds since the epoch."""
    rows = connection.execute("SELECT id FROM uploads WHERE created_at < ?", [time])
    return [upload for (upload,) in rows]


def upload_ids(connection: sqlite3.Connection) -> list[str]:
    """Return the identifiers of all uploads."""
    return [upload for (upload,) in connection.execute("SELECT id FROM uploads")]


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

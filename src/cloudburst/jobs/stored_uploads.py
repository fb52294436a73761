"""Files that owners have uploaded for later jobs."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import anyio.to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.jobs.admission import check_bytes
from cloudburst.jobs.folder import storage_errors
from cloudburst.jobs.open_queue import OpenQueue
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits

if TYPE_CHECKING:
    from cloudburst.inputs.media_checks import InputFacts

UNLINK_TIMEOUT = 60.0
"""Maximum number of seconds for removing a file."""


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
        "INSERT INTO uploads (id, owner, bytes, created_at) VALUES (?, ?, ?, ?)",
        (upload.id, upload.owner, upload.bytes, upload.created_at),
    )


def has_upload(connection: sqlite3.Connection, owner: str, upload: str) -> bool:
    """Return whether an owner has an upload."""
    query = "SELECT 1 FROM uploads WHERE id = ? AND owner = ?"
    return connection.execute(query, (upload, owner)).fetchone() is not None


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


class StoredUploads:
    """Files that owners have uploaded for later jobs."""

    def __init__(self, queue: OpenQueue) -> None:
        self._queue = queue

    async def store(self, body: AsyncIterator[bytes], *, owner: str = "") -> Upload:
        """Store a file, and return its upload.

        Args:
            body: Content of the file.
            owner: Owner of the upload; empty if there is only one.

        Raises:
            JobLimitError: The file would exceed a limit; nothing is kept.
            JobStorageError: The file cannot be written; nothing is kept.
        """
        identifier = uuid4().hex
        path = self._queue.folder.upload(identifier)
        stored = list[Upload]()
        try:
            size = await self._receive(body, path, owner)
            upload = Upload(id=identifier, owner=owner, bytes=size, created_at=time.time())
            await self._queue.database.write(lambda c: self._insert(c, upload, stored))
        finally:
            try:
                if not stored:
                    await _unlink(path)
            finally:
                self._queue.room.release(path)
        return upload

    async def _receive(self, body: AsyncIterator[bytes], path: Path, owner: str) -> int:
        size = 0
        await self._queue.room.check(path, owner, 0)
        with storage_errors(path):
            async with await anyio.open_file(path, "xb") as file:
                async for chunk in body:
                    size += len(chunk)
                    await self._queue.room.check(path, owner, size)
                    await file.write(chunk)
        return size

    def _insert(self, connection: Connection, upload: Upload, stored: list[Upload]) -> None:
        check_bytes(connection, upload.owner, upload.bytes, self._queue.limits)
        insert_upload(connection, upload)
        # Here, because a cancellation may hide that the transaction is complete. If it fails, only
        # the file is left, which is removed later.
        stored.append(upload)

    async def find(self, upload: str, *, owner: str = "") -> Path | None:
        """Return the file of an upload; ``None`` if the owner has no such upload."""
        found = await self._queue.database.read(lambda c: has_upload(c, owner, upload))
        return self._queue.folder.upload(upload) if found else None

    async def check(self, upload: Upload) -> tuple[str, InputFacts, InvalidInputError | None]:
        """Return what an uploaded file can be in a scene: see `check_unknown_file`.

        Raises `JobStorageError` if it cannot be read, for example because it was removed.
        """
        path = self._queue.folder.upload(upload.id)
        return await anyio.to_thread.run_sync(_check, path, self._queue.client.limits)

    async def link(
        self, uploads: Collection[str], folder: Path, *, owner: str = ""
    ) -> dict[str, Path]:
        """Link uploads into a folder; return the links by the identifiers of the uploads.

        The links stay if the uploads are removed. Identifiers that the owner does not have are left
        out. Raises `JobStorageError` if a link cannot be made.
        """
        found = await self._queue.database.read(
            lambda c: [upload for upload in uploads if has_upload(c, owner, upload)]
        )
        return await anyio.to_thread.run_sync(self._link, found, folder)

    def _link(self, found: Sequence[str], folder: Path) -> dict[str, Path]:
        links = dict[str, Path]()
        for upload in found:
            link = folder / f"upload-{upload}"
            with storage_errors(folder), suppress(FileNotFoundError):  # removed meanwhile
                os.link(self._queue.folder.upload(upload), link)
                links[upload] = link
        return links

    async def remove(self, upload: str, *, owner: str = "") -> bool:
        """Remove an upload; return false if the owner has no such upload.

        Jobs that were submitted with it keep the file.
        """

        def delete(connection: Connection) -> bool:
            found = has_upload(connection, owner, upload)
            if found:
                delete_upload(connection, upload)
            return found

        found = await self._queue.database.write(delete)
        if found:
            await _unlink(self._queue.folder.upload(upload))
        return found


def _check(path: Path, limits: Limits) -> tuple[str, InputFacts, InvalidInputError | None]:
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.file_checks import check_unknown_file  # noqa: PLC0415

    with storage_errors(path):
        return check_unknown_file(path, limits)


async def _unlink(path: Path) -> None:
    with suppress(OSError, TimeoutError):  # a file that is left is removed later
        await finish_despite_cancel(
            lambda: anyio.to_thread.run_sync(path.unlink, True),
            seconds=UNLINK_TIMEOUT,
        )

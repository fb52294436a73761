"""Files that owners have uploaded for later jobs."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from sqlite3 import Connection
from uuid import uuid4

import anyio
import anyio.to_thread

from cloudburst.errors import JobStorageError
from cloudburst.jobs.admission import check_bytes
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.models import JobLimits
from cloudburst.jobs.upload_rows import Upload, delete_upload, find_upload, insert_upload

BYTES_PER_CHECK = 16_000_000
"""Number of bytes after which a file that arrives is compared with the limits again."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


class StoredUploads:
    """Files that owners have uploaded for later jobs."""

    def __init__(self, database: JobDatabase, folder: Path, limits: JobLimits) -> None:
        self._database = database
        self._folder = folder
        self._limits = limits

    async def check(self, owner: str, size: int) -> None:
        """Raise `JobLimitError` if further files of this size, in bytes, would exceed a limit."""
        await self._database.read(lambda c: check_bytes(c, owner, size, self._limits))

    async def store(
        self, body: AsyncIterator[bytes], *, owner: str = "", suffix: str = ""
    ) -> Upload:
        """Store a file, and return its upload.

        Args:
            body: Content of the file.
            owner: Owner of the upload; empty if there is only one.
            suffix: File name extension, such as ``.png``; ignored if it is an unusual one.

        Raises:
            JobLimitError: The file would exceed a limit; nothing is kept.
            JobStorageError: The file cannot be written; nothing is kept.
        """
        identifier = uuid4().hex
        name = identifier + (suffix.lower() if _SUFFIX.fullmatch(suffix.lower()) else "")
        path = self._folder / name
        size, checked = 0, 0
        await self.check(owner, 0)
        try:
            async with await anyio.open_file(path, "xb") as file:
                async for chunk in body:
                    size += len(chunk)
                    if size >= checked + BYTES_PER_CHECK:
                        await self.check(owner, size)
                        checked = size
                    await file.write(chunk)
            upload = Upload(
                id=identifier, owner=owner, name=name, bytes=size, created_at=time.time()
            )
            await self._database.write(lambda c: self._insert(c, upload))
        except OSError as exc:
            await self._unlink(path)
            raise JobStorageError(f"{path} cannot be written: {exc}") from exc
        except BaseException:
            await self._unlink(path)
            raise
        return upload

    def _insert(self, connection: Connection, upload: Upload) -> None:
        check_bytes(connection, upload.owner, upload.bytes, self._limits)
        insert_upload(connection, upload)

    async def find(self, upload: str, *, owner: str = "") -> Path | None:
        """Return the file of an upload; ``None`` if the owner has no such upload."""
        found = await self._database.read(lambda c: find_upload(c, owner, upload))
        return None if found is None else self._folder / found.name

    async def remove(self, upload: str, *, owner: str = "") -> bool:
        """Remove an upload; return false if the owner has no such upload.

        Jobs that were submitted with it keep the file.
        """

        def delete(connection: Connection) -> Upload | None:
            found = find_upload(connection, owner, upload)
            if found is not None:
                delete_upload(connection, upload)
            return found

        found = await self._database.write(delete)
        if found is not None:
            await self._unlink(self._folder / found.name)
        return found is not None

    async def _unlink(self, path: Path) -> None:
        with anyio.CancelScope(shield=True):  # takes milliseconds
            await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))

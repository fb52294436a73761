"""Conditional writes and deletions of claims and of the lock."""

from __future__ import annotations

import logging
from functools import partial

from cloudburst.aws.s3.object_store import NOT_IMPLEMENTED, ObjectStore
from cloudburst.aws.s3.uncancelled import finish_delete
from cloudburst.errors import AWSError
from cloudburst.models.locations import S3Object, S3Prefix

logger = logging.getLogger(__name__)

WRITE_TIMEOUT = 60.0
"""Maximum seconds to write a claim or the lock."""

_NO_CONDITIONS = (
    "%s: this store does not support conditional writes (If-None-Match), so that nothing prevents "
    "two runs from writing the same video at the same time"
)
_NOT_DELETED = "%s could not be deleted; it expires by itself: %s"


class ClaimWriter:
    """Writer of claims in one folder, under conditions as far as the store supports them."""

    def __init__(self, store: ObjectStore, prefix: S3Prefix) -> None:
        self._store = store
        self._prefix = prefix
        self.conditional = True
        """False once the store was found not to support conditional writes."""

    def give_up_conditions(self) -> None:
        """Write without conditions from now on."""
        self.conditional = False
        logger.warning(_NO_CONDITIONS, self._prefix)

    async def put(self, location: S3Object, data: bytes, *, etag: str) -> str:
        """Write an object in place of the one with an ETag, and return its new ETag.

        If the ETag is empty, the object must not exist yet.
        """
        if not self.conditional:
            return await self._store.put_small(location, data)
        if etag:
            return await self._store.put_small(location, data, etag=etag)
        return await self._store.put_small(location, data, new=True)

    async def delete(self, location: S3Object, etag: str) -> None:
        """Delete an object if it has this ETag; otherwise it belongs to another process.

        If the store has no conditional deletions, its ETag is read just before.
        A failed deletion is logged, because the object expires by itself.
        """
        await finish_delete(
            partial(self._delete_if_match, location, etag),
            location,
            warn=partial(logger.warning, _NOT_DELETED, location),
        )

    async def _delete_if_match(self, location: S3Object, etag: str) -> None:
        try:
            await self._store.delete(location, etag=etag)
        except AWSError as exc:
            if exc.code != NOT_IMPLEMENTED:
                raise
            info = await self._store.find(location)
            if info is not None and info.etag == etag:
                await self._store.delete(location)

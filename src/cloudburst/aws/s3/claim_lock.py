"""Lock object that serializes the checks and claims of several runs in a folder in S3.

For correctness it is not needed, because a run checks the other claims again after it has written
its own.
"""

from __future__ import annotations

import anyio

from cloudburst.aws.s3.claim_file import METADATA_FOLDER, Claim, FoundClaim, read_claim
from cloudburst.aws.s3.claim_writes import WRITE_TIMEOUT, ClaimWriter
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.s3.uncancelled import finish_write, is_precondition_failed
from cloudburst.errors import (
    AWSError,
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Prefix

LOCK_SECONDS = 30
"""Time to live of the lock, in seconds."""
LOCK_TIMEOUT = 90.0
"""Maximum seconds to wait for the lock."""
LOCK_BACKOFF = Backoff(first=0.2, factor=2.0, cap=3.0)


class ClaimLock:
    """Lock of a folder, which one process holds at a time."""

    def __init__(
        self, store: ObjectStore, writer: ClaimWriter, prefix: S3Prefix, claim: Claim
    ) -> None:
        self._store = store
        self._writer = writer
        self._object = prefix.object(f"{METADATA_FOLDER}lock")
        self._owner = claim.owner
        content = claim.model_copy(update={"names": (), "ttl": LOCK_SECONDS})
        self._data = content.model_dump_json().encode()
        self._etag = ""
        """ETag of the lock if this process holds it; otherwise empty."""
        self._failure: CloudburstError | None = None
        """Error of the last write that S3 did not answer; ``None`` if another process holds the
        lock."""

    async def take(self) -> None:
        """Wait for the lock and take it.

        Raises:
            ConfigurationError: Other processes have held the lock for `LOCK_TIMEOUT`.
            CloudburstError: S3 refuses a request.
        """
        with anyio.move_on_after(LOCK_TIMEOUT):
            for delay in LOCK_BACKOFF.delays():
                await finish_write(self._try_to_take, self._object, seconds=WRITE_TIMEOUT)
                if self._etag:
                    return await self._check_conditions()
                await anyio.sleep(delay)
        if self._failure is not None:
            raise self._failure
        msg = (
            f"{self._object} has been locked by other processes for {LOCK_TIMEOUT:g} s: end them, "
            "or choose another folder"
        )
        raise ConfigurationError(msg)

    async def release(self) -> None:
        """Delete the lock if this process holds it."""
        if self._etag:
            etag, self._etag = self._etag, ""
            await self._writer.delete(self._object, etag)

    async def _try_to_take(self) -> None:
        """Take the lock if it is free, has expired or is not a lock."""
        replaced = ""
        for _ in range(2):
            try:
                self._etag = await self._writer.put(self._object, self._data, etag=replaced)
            except (NoAnswerError, ThrottledError) as exc:
                self._failure = exc  # perhaps the lock was written
            except (AWSError, ResourceMissingError) as exc:
                # The lock to be replaced may be gone; without one, the bucket is missing.
                gone = isinstance(exc, ResourceMissingError) and replaced
                if not gone and not is_precondition_failed(exc):
                    raise
            else:
                return
            found = await read_claim(self._store, self._object)
            if found is None:
                return
            self._failure = None
            if isinstance(found, FoundClaim):
                if found.claim.owner == self._owner:  # the answer was lost
                    self._etag = found.etag
                    return
                if not found.expired:
                    return
            replaced = found.etag

    async def _check_conditions(self) -> None:
        """Find out whether the store supports conditional writes: this one must be refused."""
        if not self._writer.conditional:
            return
        try:
            await self._store.put_small(self._object, self._data, new=True)
        except (AWSError, NoAnswerError, ThrottledError) as exc:
            if isinstance(exc, AWSError) and not is_precondition_failed(exc):
                raise
        else:
            self._writer.give_up_conditions()

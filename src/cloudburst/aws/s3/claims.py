"""Claims of the videos that a run writes to S3, so that no other run writes the same ones.

Each run has a claim object with its names, which it renews while it runs. A claim that was not
renewed for its time to live counts as abandoned. All times are by the clock of S3. A lock object
serializes checks and claims of several runs; for correctness it is not needed, because a run checks
the other claims again after it has written its own.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloudburst.aws.s3.object_store import PRECONDITION_FAILED, ObjectStore
from cloudburst.concurrency import collapse_single, finish_despite_cancel
from cloudburst.errors import (
    AWSError,
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    OutputClaimedError,
    OutputExistsError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import MAX_KEY_BYTES, S3Object, S3Prefix
from cloudburst.text import list_some, printable_line

logger = logging.getLogger(__name__)

METADATA_FOLDER = ".cloudburst/"
"""Folder in the folder of the videos that contains the claims and the lock."""
CLAIM_SECONDS = 600
"""Time to live of a claim, in seconds."""
RENEWAL_INTERVAL = 150.0
"""Seconds between two renewals of a claim: three of them may fail."""
RENEWAL_RETRY = 15.0
"""Seconds after which a renewal is repeated that got no answer."""
LOCK_SECONDS = 30
"""Time to live of the lock, in seconds."""
LOCK_TIMEOUT = 90.0
"""Maximum seconds to wait for the lock."""
LOCK_BACKOFF = Backoff(first=0.2, factor=2.0, cap=3.0)
WRITE_TIMEOUT = 60.0
"""Maximum seconds to write a claim or the lock."""
RELEASE_TIMEOUT = 20.0
"""Maximum seconds to delete a claim or the lock."""
MAX_CLAIM_BYTES = 8 * 1024**2
"""Maximum size of a claim, in bytes: the names of some 40,000 scenes."""
DATE_RESOLUTION = timedelta(seconds=2)
"""Inaccuracy of the difference between two times of S3, which have whole seconds."""

_NO_CONDITIONS = (
    "%s: this store does not support conditional writes (If-None-Match), so that nothing prevents "
    "two runs from writing the same video at the same time"
)
_NOT_IMPLEMENTED = "NotImplemented"
_NOT_DELETED = "%s could not be deleted; it expires by itself: %s"


class _Claim(BaseModel):
    """Content of a claim object, or of the lock."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run: str = Field(max_length=300)
    owner: str = Field(max_length=100)
    """Random text that identifies the process."""
    host: str = Field(max_length=300)
    pid: int
    names: tuple[str, ...] = ()
    """Names of the scenes whose videos and covers are claimed."""
    ttl: int = Field(ge=0, le=86_400)
    """Seconds after the last renewal for which the claim is valid."""


class _FoundClaim:
    """Claim object as it was read."""

    def __init__(
        self, location: S3Object, claim: _Claim, etag: str, expires: datetime, now: datetime
    ) -> None:
        self.location = location
        self.claim = claim
        self.etag = etag
        self.expires = expires
        self.expired = now > expires

    @property
    def holder(self) -> str:
        """Description of the process that holds the claim."""
        claim = self.claim
        host = printable_line(claim.host)
        return f"run {printable_line(claim.run)} (process {claim.pid} on {host})"

    @property
    def until(self) -> str:
        """Time at which the claim expires, as text."""
        return f"{self.expires:%Y-%m-%d %H:%M:%S} UTC"


@asynccontextmanager
async def claim_objects(
    store: ObjectStore,
    prefix: S3Prefix,
    names: Sequence[str],
    *,
    run: str,
    overwrite: bool,
    resume: bool = False,
    covers: Collection[str] = (),
    on_lost: Callable[[OutputClaimedError], None],
) -> AsyncGenerator[dict[str, S3Object]]:
    """Claim ``<prefix><name>.mp4`` for every name, and yield the objects by name.

    Args:
        store: Objects in S3.
        prefix: Folder of the videos.
        names: Names of the scenes.
        run: Name of the run.
        overwrite: True if existing videos may be replaced.
        resume: True if the run continues one of the same name, whose claim is taken over at once;
            existing videos are left to the caller.
        covers: Names of the scenes whose videos have a cover, which is claimed as well.
        on_lost: Function that is called once if another process has taken the claim over, or has
            claimed the videos after this claim had expired; the run has to end with the error.

    Raises:
        OutputClaimedError: Another process writes one of the videos, or works on this run.
        OutputExistsError: A video or cover exists, and ``overwrite`` is false.
        ConfigurationError: The key of a video would be too long.
        CloudburstError: S3 refuses a request.
    """
    keeper = _ClaimKeeper(store, prefix, names, covers, run=run, on_lost=on_lost)
    _check_keys(keeper.videos.values())
    try:
        await keeper.take(overwrite=overwrite, resume=resume)
        with collapse_single():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keeper.renew_forever)
                try:
                    yield keeper.videos
                finally:
                    tasks.cancel_scope.cancel()
    finally:
        await keeper.release()


def _check_keys(videos: Iterable[S3Object]) -> None:
    """Check the length of keys, which S3 would otherwise refuse when the videos are encoded."""
    if too_long := [each for each in videos if len(each.key.encode()) > MAX_KEY_BYTES]:
        msg = (
            f"keys of more than {MAX_KEY_BYTES} bytes: {list_some(too_long)}; choose a folder "
            "with a shorter name"
        )
        raise ConfigurationError(msg)


class _ClaimKeeper:
    """Claim of one run, from its first check to its release."""

    def __init__(
        self,
        store: ObjectStore,
        prefix: S3Prefix,
        names: Sequence[str],
        covers: Collection[str],
        *,
        run: str,
        on_lost: Callable[[OutputClaimedError], None],
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._on_lost = on_lost
        self._lost = False
        self._was_deleted = False
        """True if the claim was deleted, and those of other runs were not checked since."""
        self._folder = S3Prefix(prefix.bucket, f"{prefix.prefix}{METADATA_FOLDER}claims/")
        self._lock = prefix.object(f"{METADATA_FOLDER}lock")
        self._object = self._folder.object(f"{run}.json")
        self._claim = _Claim(
            run=run,
            owner=secrets.token_hex(16),
            host=socket.gethostname(),
            pid=os.getpid(),
            names=tuple(names),
            ttl=CLAIM_SECONDS,
        )
        self._conditional = True
        self._etag = ""
        """ETag of our claim object; empty while there is none."""
        self._renewing = False
        """True from the start of a renewal until its answer, which may have another ETag."""
        self._lock_etag = ""
        """ETag of the lock if we hold it; otherwise empty."""
        self.videos = {name: prefix.object(f"{name}.mp4") for name in names}
        covers_of = (self.videos[name].with_suffix(".jpg") for name in covers)
        self._outputs = [*self.videos.values(), *covers_of]

    async def take(self, *, overwrite: bool, resume: bool) -> None:
        """Check the claims of other runs and the existing videos, and write the claim."""
        try:
            await self._take_lock()
            ours = await self._refuse_claimed(resume=resume)
            if not resume and not overwrite:
                await self._refuse_existing()
            await self._finish(lambda: self._write_claim(ours), self._object)
            # Another run may have taken an expired lock over, and claimed the same names meanwhile.
            await self._refuse_claimed(resume=True)
        finally:
            if self._lock_etag:
                await _release(self._store, self._lock, self._lock_etag)

    async def release(self) -> None:
        """Delete the claim object, unless another process has taken it over."""
        if not self._etag or self._lost:
            return
        try:
            if self._renewing:
                with suppress(TimeoutError):
                    await finish_despite_cancel(self._read_etag, seconds=RELEASE_TIMEOUT)
        finally:
            await _release(self._store, self._object, self._etag)

    async def _read_etag(self) -> None:
        """Read the ETag of our claim object, which a renewal without an answer may have changed."""
        # No error leaves this function: it would replace a cancellation.
        with suppress(CloudburstError):
            found = await self._read(self._object)
            if found is not None and found.claim.owner == self._claim.owner:
                self._etag = found.etag

    async def renew_forever(self) -> None:
        """Renew the claim at intervals, until it is lost."""
        delay = RENEWAL_INTERVAL
        while not self._lost:
            await anyio.sleep(delay)
            self._renewing = True
            try:
                await self._renew()
                delay, self._renewing = RENEWAL_INTERVAL, False
            except CloudburstError as exc:
                delay = RENEWAL_RETRY
                logger.warning("the claim %s could not be renewed: %s", self._object, exc)

    async def _renew(self) -> None:
        try:
            await self._put_claim(self._etag)
        except (AWSError, ResourceMissingError) as exc:
            if isinstance(exc, AWSError) and exc.code != PRECONDITION_FAILED:
                raise
            found = await self._read(self._object)
            if found is None:
                # Perhaps it had expired while this machine slept, and another run has deleted it.
                self._was_deleted = True
                await self._put_claim("")
            elif found.claim.owner == self._claim.owner:  # the answer to a renewal was lost
                self._etag = found.etag
            else:
                msg = (
                    f"{found.holder} has taken over the videos of this run in {self._prefix}: "
                    "wait for its end, or write to another folder"
                )
                return self._lose(OutputClaimedError(msg, holder=found.holder))
        if self._was_deleted:
            try:
                await self._refuse_claimed(resume=True)
            except OutputClaimedError as exc:
                return self._lose(exc)
            self._was_deleted = False
        return None

    def _lose(self, error: OutputClaimedError) -> None:
        self._lost = True
        self._on_lost(error)

    async def _put_claim(self, etag: str) -> None:
        """Write the claim object in place of the one with an ETag; empty: of none."""
        data = self._claim.model_dump_json().encode()
        self._etag = await _put(
            self._store, self._object, data, etag=etag, conditional=self._conditional
        )

    async def _write_claim(self, ours: _FoundClaim | None) -> None:
        """Write the claim for the first time, in place of an older one of the same run."""
        try:
            await self._put_claim(ours.etag if ours else "")
        except (AWSError, NoAnswerError) as exc:
            if isinstance(exc, AWSError) and exc.code != PRECONDITION_FAILED:
                raise
            found = await self._read(self._object)
            if found is None or found.claim.owner != self._claim.owner:
                raise
            self._etag = found.etag

    async def _refuse_claimed(self, *, resume: bool) -> _FoundClaim | None:
        """Raise `OutputClaimedError` if a video is claimed; return an older claim of this run."""
        ours, names = None, set(self._claim.names)
        async for page in self._store.list_pages(self._folder):
            for location in page:
                found = await self._read(location)
                if found is None or found.claim.owner == self._claim.owner:
                    continue
                if found.location == self._object:
                    if not found.expired and not resume:
                        msg = (
                            f"{found.holder} already works on this run in {self._prefix}; its "
                            f"claim expires at {found.until} unless it is renewed"
                        )
                        raise OutputClaimedError(msg, holder=found.holder)
                    ours = found
                elif found.expired:
                    await _release(self._store, found.location, found.etag)
                elif shared := sorted(names.intersection(found.claim.names)):
                    await self.release()
                    videos = list_some([self.videos[name] for name in shared])
                    msg = (
                        f"{found.holder} is writing {videos}; its claim expires at {found.until} "
                        "unless it is renewed"
                    )
                    raise OutputClaimedError(msg, holder=found.holder)
        return ours

    async def _refuse_existing(self) -> None:
        wanted = set(self._outputs)
        keys = sorted((output.key for output in wanted), key=str.encode)
        there: list[S3Object] = []
        # A list begins after a key; this one precedes the first.
        before = keys[0][:-1]
        async for page in self._store.list_pages(self._prefix, start_after=before, flat=True):
            there += [location for location in page if location in wanted]
            if page and page[-1].key.encode() > keys[-1].encode():
                break
        if there:
            msg = f"videos already exist: {list_some(there)}; overwrite=True replaces them"
            raise OutputExistsError(msg, objects=[*map(str, there)])

    async def _read(self, location: S3Object) -> _FoundClaim | None:
        """Read a claim; return ``None`` if there is none, or the object is not a claim."""
        try:
            answer = await self._store.read(location, max_bytes=MAX_CLAIM_BYTES)
        except ResourceMissingError:
            return None
        info = answer.info
        try:
            claim = _Claim.model_validate_json(answer.data)
            modified = parsedate_to_datetime(info.modified or "")
            expires = modified + timedelta(seconds=claim.ttl) + DATE_RESOLUTION
            return _FoundClaim(location, claim, info.etag, expires, info.answered)
        except (ValidationError, ValueError, TypeError, OverflowError):
            # A date without a time zone cannot be compared, and one in the year 9999 has no end.
            logger.warning("%s is not a claim and is ignored", location)
            return None

    async def _finish(self, write: Callable[[], Awaitable[object]], location: S3Object) -> None:
        """Finish a write despite a cancellation: afterwards it must be known what was written."""
        try:
            await finish_despite_cancel(write, seconds=WRITE_TIMEOUT)
        except TimeoutError:
            msg = f"{location}: no answer within {WRITE_TIMEOUT:g} s"
            raise NoAnswerError(msg) from None

    async def _take_lock(self) -> None:
        """Wait for the lock and take it."""
        lock = self._claim.model_copy(update={"names": (), "ttl": LOCK_SECONDS})
        data = lock.model_dump_json().encode()
        with anyio.move_on_after(LOCK_TIMEOUT):
            for delay in LOCK_BACKOFF.delays():
                await self._finish(lambda: self._try_lock(data), self._lock)
                if self._lock_etag:
                    return await self._check_conditions(data)
                await anyio.sleep(delay)
        msg = (
            f"{self._lock} has been locked by other processes for {LOCK_TIMEOUT:g} s: end them, or "
            "choose another folder"
        )
        raise ConfigurationError(msg)

    async def _try_lock(self, data: bytes) -> None:
        """Take the lock if it is free or has expired."""
        replaced = ""
        for _ in range(2):
            try:
                self._lock_etag = await _put(
                    self._store, self._lock, data, etag=replaced, conditional=self._conditional
                )
            except (AWSError, NoAnswerError, ThrottledError, ResourceMissingError) as exc:
                if isinstance(exc, AWSError) and exc.code == _NOT_IMPLEMENTED:
                    self._give_up_conditions()
                    continue
                if isinstance(exc, AWSError) and exc.code != PRECONDITION_FAILED:
                    raise
            else:
                return
            found = await self._read(self._lock)
            if found is None:
                return
            if found.claim.owner == self._claim.owner:  # the answer was lost
                self._lock_etag = found.etag
                return
            if not found.expired:
                return
            replaced = found.etag

    async def _check_conditions(self, data: bytes) -> None:
        """Find out whether the store supports conditional writes: this one must be refused."""
        if not self._conditional:
            return
        try:
            await self._store.put_small(self._lock, data, new=True)
        except (AWSError, NoAnswerError, ThrottledError) as exc:
            if isinstance(exc, AWSError) and exc.code != PRECONDITION_FAILED:
                raise
        else:
            self._give_up_conditions()

    def _give_up_conditions(self) -> None:
        self._conditional = False
        logger.warning(_NO_CONDITIONS, self._prefix)


async def _put(
    store: ObjectStore, location: S3Object, data: bytes, *, etag: str, conditional: bool
) -> str:
    """Write an object in place of the one with an ETag, empty: of none; return its new ETag."""
    if not conditional:
        return await store.put_small(location, data)
    if etag:
        return await store.put_small(location, data, etag=etag)
    return await store.put_small(location, data, new=True)


async def _release(store: ObjectStore, location: S3Object, etag: str) -> None:
    """Delete a claim or lock if it has this ETag; otherwise it belongs to another process."""

    async def delete() -> None:
        # No error leaves this function: it would replace a cancellation.
        for delay in LOCK_BACKOFF.delays():
            try:
                await store.delete(location, etag=etag)
            except (NoAnswerError, ThrottledError) as exc:
                logger.debug("%s: repeating the deletion: %s", location, exc)
            except ResourceMissingError:
                return
            except CloudburstError as exc:
                if not (isinstance(exc, AWSError) and exc.code == PRECONDITION_FAILED):
                    logger.warning(_NOT_DELETED, location, exc)
                return
            else:
                return
            await anyio.sleep(delay)

    try:
        await finish_despite_cancel(delete, seconds=RELEASE_TIMEOUT)
    except TimeoutError:
        logger.warning(_NOT_DELETED, location, f"no answer within {RELEASE_TIMEOUT:g} s")

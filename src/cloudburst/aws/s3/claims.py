"""Claims of the videos that a run writes to S3, so that no other run writes the same ones.

Each run has a claim object with its names, which it renews while it runs. A claim that was not
renewed for its time to live counts as abandoned. All times are by the clock of S3.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import anyio

from cloudburst.aws.s3.claim_checks import (
    ClaimChecks,
    already_works,
    check_keys,
    refuse_existing,
)
from cloudburst.aws.s3.claim_file import (
    MAX_CLAIM_BYTES,
    MAX_CLAIM_COMMAS,
    METADATA_FOLDER,
    Claim,
    FoundClaim,
    UnreadableClaim,
    is_claim_of,
    is_same_claim,
    is_within_limits,
    read_claim,
)
from cloudburst.aws.s3.claim_lock import ClaimLock
from cloudburst.aws.s3.claim_writes import WRITE_TIMEOUT, ClaimWriter
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.s3.request_waits import repeat_while_busy
from cloudburst.aws.s3.stopwatch import Stopwatch
from cloudburst.aws.s3.uncancelled import finish_write, is_precondition_failed
from cloudburst.concurrency import collapse_single, finish_despite_cancel
from cloudburst.errors import (
    AWSError,
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    OutputClaimedError,
    ResourceMissingError,
)
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.ports.remote_files import ConfirmClaim

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 600
"""Time to live of a claim, in seconds."""
RENEWAL_INTERVAL = 150.0
"""Seconds between two renewals of a claim: three of them may fail."""
RENEWAL_RETRY = 15.0
"""Seconds after which a renewal is repeated that got no answer."""
CONFIRMED_SHARE = 0.9
"""Part of the time to live after a renewal for which a claim counts as valid. The rest is for the
requests that depend on it."""
READ_TIMEOUT = 20.0
"""Maximum seconds to read the ETag of our claim before it is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldClaim:
    """Claim of a run while it is held."""

    videos: Mapping[str, S3Object]
    """Claimed videos, by the names of their scenes."""
    confirm: ConfirmClaim
    """Function that returns if the claim is valid, and renews it before if it may have expired."""


@asynccontextmanager
async def claim_objects(
    store: ObjectStore,
    prefix: S3Prefix,
    names: Sequence[str],
    *,
    run: str,
    suffix: str = "",
    overwrite: bool,
    resume: bool = False,
    covers: Collection[str] = (),
    on_lost: Callable[[OutputClaimedError], None],
) -> AsyncGenerator[HeldClaim]:
    """Claim ``<prefix><name>.mp4`` for every name, and yield the claim.

    Args:
        store: Objects in S3.
        prefix: Folder of the videos.
        names: Names of the scenes.
        run: Name of the run.
        suffix: End of the claim object's name, if the run has another claim in the same folder.
        overwrite: True if existing videos may be replaced.
        resume: True if the run continues one of the same name, whose claim is taken over at once;
            existing videos are left to the caller.
        covers: Names of the scenes whose videos have a cover, which is claimed as well.
        on_lost: Function that is called once if another process has taken the claim over, or has
            claimed the videos after this claim had expired; the run has to end with the error.

    Raises:
        OutputClaimedError: Another process writes one of the videos, or works on this run.
        OutputExistsError: A video or cover exists, and ``overwrite`` is false.
        ConfigurationError: The key of a video or the list of all names would be too long, or there
            are too many claims.
        CloudburstError: S3 refuses a request.
    """
    keeper = _ClaimKeeper(store, prefix, names, covers, run=run, suffix=suffix, on_lost=on_lost)
    try:
        await repeat_while_busy(partial(keeper.take, overwrite=overwrite, resume=resume))
        with collapse_single():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keeper.renew_forever)
                try:
                    yield HeldClaim(videos=keeper.videos, confirm=keeper.confirm)
                finally:
                    tasks.cancel_scope.cancel()
    finally:
        await keeper.release()


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
        suffix: str,
        on_lost: Callable[[OutputClaimedError], None],
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._on_lost = on_lost
        self._loss: OutputClaimedError | None = None
        """Error with which the claim was lost; ``None`` while it is held."""
        self._renewed = Stopwatch()
        """Time since the start of the last renewal that succeeded."""
        self._renewal = anyio.Lock()
        self._was_overwritten = False
        """True if the claim was overwritten, and those of other runs were not checked since."""
        self._object = prefix.object(f"{METADATA_FOLDER}claims/{run}{suffix}.json")
        self._claim = claim = Claim(
            run=run,
            owner=secrets.token_hex(16),
            host=socket.gethostname(),
            pid=os.getpid(),
            names=tuple(names),
            ttl=CLAIM_SECONDS,
        )
        self._owner = claim.owner
        self._data = claim.model_dump_json().encode()
        self._writer = ClaimWriter(store, prefix)
        self.videos = {name: prefix.object(f"{name}.mp4") for name in names}
        self._checks = ClaimChecks(
            store,
            self._writer,
            prefix,
            claim=self._object,
            owner=self._owner,
            videos=self.videos,
        )
        self._lock = ClaimLock(store, self._writer, prefix, claim)
        self._etag = ""
        """ETag of our claim object; empty while there is none."""
        self._renewing = False
        """True from the start of a renewal until its answer, which may have another ETag."""
        covers_of = (self.videos[name].with_suffix(".jpg") for name in covers)
        self._outputs = [*self.videos.values(), *covers_of]

    async def take(self, *, overwrite: bool, resume: bool) -> None:
        """Check the claims of other runs and the existing videos, and write the claim."""
        check_keys(self.videos.values())
        if not is_within_limits(self._data):
            msg = (
                f"the names of {len(self.videos):,} scenes are too long for a claim in "
                f"{self._prefix}, which may have {MAX_CLAIM_BYTES:,} bytes and "
                f"{MAX_CLAIM_COMMAS:,} commas: divide the scenes among several runs"
            )
            raise ConfigurationError(msg)
        try:
            await self._lock.take()
            ours = await self._checks.refuse_claimed(resume=resume)
            if not resume and not overwrite:
                await refuse_existing(self._store, self._prefix, self._outputs)
            self._renewed = Stopwatch()
            write = partial(self._write_claim, ours, resume=resume)
            await finish_write(write, self._object, seconds=WRITE_TIMEOUT)
            # Another run may have taken an expired lock over, and claimed the same names meanwhile.
            await self._checks.refuse_claimed(resume=True, remove_expired=True)
        finally:
            await self._lock.release()

    async def release(self) -> None:
        """Delete the claim object, unless another process has taken it over."""
        if not self._etag or self._loss is not None:
            return
        try:
            if self._renewing:
                with suppress(TimeoutError):
                    await finish_despite_cancel(self._read_etag, seconds=READ_TIMEOUT)
        finally:
            await self._writer.delete(self._object, self._etag)

    async def _read_etag(self) -> None:
        """Read the ETag of our claim object, which a renewal without an answer may have changed."""
        # No error leaves this function: it would replace a cancellation.
        with suppress(CloudburstError):
            found = await read_claim(self._store, self._object)
            if is_claim_of(found, self._owner):
                self._etag = found.etag

    async def confirm(self, *, fresh: bool = False) -> None:
        """Return if the claim is valid, and renew it before if it may have expired.

        It may have expired while this machine slept, or while S3 was out of reach. With ``fresh``,
        it is also read, because another process may have resumed the run: see `ConfirmClaim`.

        Raises:
            OutputClaimedError: The claim is lost.
            CloudburstError: S3 refuses a request, or does not answer.
        """
        taken = False
        if fresh and self._is_confirmed():
            found = await read_claim(self._store, self._object)
            taken = not is_claim_of(found, self._owner)
        if taken or not self._is_confirmed():
            async with self._renewal:
                if taken or not self._is_confirmed():
                    await self._renew()
        if self._loss is not None:
            raise self._loss

    def _is_confirmed(self) -> bool:
        return self._renewed.seconds < CONFIRMED_SHARE * self._claim.ttl

    async def renew_forever(self) -> None:
        """Renew the claim at intervals, until it is lost."""
        attempted, delay = self._renewed, RENEWAL_INTERVAL
        while self._loss is None:
            await attempted.wait(delay)
            attempted = Stopwatch()
            try:
                async with self._renewal:
                    await self._renew()
                delay = RENEWAL_INTERVAL
            except CloudburstError as exc:
                delay = RENEWAL_RETRY
                logger.warning("the claim %s could not be renewed: %s", self._object, exc)

    async def _renew(self) -> None:
        """Renew the claim, unless it is lost."""
        if self._loss is not None:
            return
        stopwatch = Stopwatch()
        self._renewing = True
        # With other content, the object has another ETag: a process that has found an expired claim
        # cannot delete the renewed one.
        self._claim = self._claim.model_copy(update={"renewals": self._claim.renewals + 1})
        self._data = self._claim.model_dump_json().encode()
        try:
            await self._write_renewed()
        except OutputClaimedError as exc:
            self._loss = exc
            self._on_lost(exc)
            return
        self._renewed, self._renewing = stopwatch, False

    async def _write_renewed(self) -> None:
        """Write the claim object again, and check other claims if it had been overwritten.

        A claim that was deleted is lost: another process may have written the videos, and ended.

        Raises:
            OutputClaimedError: Another process has taken the run over, or has claimed its videos.
            CloudburstError: S3 refuses a request, or does not answer.
        """
        try:
            await self._put_claim(self._etag)
        except (AWSError, ResourceMissingError) as exc:
            if isinstance(exc, AWSError) and not is_precondition_failed(exc):
                raise
            found = await read_claim(self._store, self._object)
            if isinstance(found, FoundClaim) and not is_claim_of(found, self._owner):
                msg = (
                    f"{found.holder} has taken over the videos of this run in {self._prefix}: "
                    "wait for its end, or write to another folder"
                )
                raise OutputClaimedError(msg, holder=found.holder) from None
            if found is None:
                await self._checks.refuse_claimed(resume=True)
                msg = (
                    f"{self._object} is gone: another process has taken over the videos of this "
                    "run, or the object was deleted by hand; resume the run, or write to another "
                    "folder"
                )
                raise OutputClaimedError(msg) from None
            # Otherwise the answer to a renewal was lost.
            self._was_overwritten |= not is_claim_of(found, self._owner)
            await self._put_claim(found.etag)
        if self._was_overwritten:
            try:
                await self._checks.refuse_claimed(resume=True)
            except OutputClaimedError:
                await self.release()
                raise
            self._was_overwritten = False

    async def _put_claim(self, etag: str) -> None:
        """Write the claim object in place of the one with an ETag; empty: of none."""
        self._etag = await self._writer.put(self._object, self._data, etag=etag)

    async def _write_claim(
        self, replaced: FoundClaim | UnreadableClaim | None, *, resume: bool
    ) -> None:
        """Write the claim for the first time, in place of what was found there."""
        try:
            await self._replace_claim(replaced)
        except (AWSError, NoAnswerError) as exc:
            if isinstance(exc, AWSError) and not is_precondition_failed(exc):
                raise
            found = await read_claim(self._store, self._object)
            if is_claim_of(found, self._owner):
                self._etag = found.etag
            elif resume and is_same_claim(found, replaced):
                await self._write_claim(found, resume=True)
            elif isinstance(found, FoundClaim):
                raise already_works(found, self._prefix) from exc
            else:
                raise

    async def _replace_claim(self, replaced: FoundClaim | UnreadableClaim | None) -> None:
        try:
            await self._put_claim(replaced.etag if replaced else "")
        except ResourceMissingError:
            if replaced is None:
                raise
            await self._put_claim("")  # its process has ended and deleted it meanwhile

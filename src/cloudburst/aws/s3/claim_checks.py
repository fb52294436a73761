"""Checks before the videos of a run are claimed: claims of other runs, and existing objects."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

import anyio

from cloudburst.aws.s3.claim_file import FoundClaim, UnreadableClaim, is_claim_of, read_claim
from cloudburst.aws.s3.claim_writes import ClaimWriter
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.errors import (
    ConfigurationError,
    NoAnswerError,
    OutputClaimedError,
    OutputExistsError,
)
from cloudburst.models.locations import MAX_KEY_BYTES, S3Object, S3Prefix
from cloudburst.text import list_some, printable_line

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 300.0
"""Maximum seconds to read the claims of all other runs. 1,000 of usual size take a minute."""
MAX_CLAIMS = 1000
"""Maximum number of claims in a folder; objects with other names do not count. Claims of runs that
were killed are deleted by later runs, so that only many runs on one day, or other programs, could
leave more of them."""
CLAIM_RETENTION = timedelta(days=1)
"""Time after its expiry for which the claim of other videos is kept: its run goes on if only its
machine slept. Runs whose claim was deleted end."""


class ClaimChecks:
    """Checks for the claim of one process.

    Args:
        store: Objects in S3.
        writer: Writer that deletes expired claims.
        folder: Folder of the videos.
        claim: Claim object of the process, which is in the folder of all claims.
        owner: Text that identifies the process.
        videos: Videos that are to be claimed, by the names of their scenes.
    """

    def __init__(
        self,
        store: ObjectStore,
        writer: ClaimWriter,
        folder: S3Prefix,
        *,
        claim: S3Object,
        owner: str,
        videos: Mapping[str, S3Object],
    ) -> None:
        self._store = store
        self._writer = writer
        self._folder = folder
        self._object = claim
        self._owner = owner
        self._videos = videos

    async def refuse_claimed(
        self, *, resume: bool, remove_expired: bool = False
    ) -> FoundClaim | UnreadableClaim | None:
        """Raise `OutputClaimedError` if a video is claimed.

        Return what is in the place of our claim: an older claim of this run, an object that is not
        a claim, or ``None``.

        Args:
            resume: True if a valid claim of another process of this run may be taken over.
            remove_expired: True to delete expired claims of the same videos, whose runs end then,
                and those that expired long ago.

        Raises:
            OutputClaimedError: Another process writes one of the videos, or works on this run.
            ConfigurationError: There are too many claims.
            CloudburstError: S3 refuses a request, or does not answer in time.
        """
        try:
            with anyio.fail_after(CHECK_TIMEOUT):
                ours, removed = await self._check_claims(
                    resume=resume, remove_expired=remove_expired
                )
                if removed:  # unless they were renewed just before
                    ours, _ = await self._check_claims(resume=resume, remove_expired=False)
                return ours
        except TimeoutError:
            msg = f"{self._object.folder}: the claims were not read within {CHECK_TIMEOUT:g} s"
            raise NoAnswerError(f"{msg}: try again, or choose another folder") from None

    async def _check_claims(
        self, *, resume: bool, remove_expired: bool
    ) -> tuple[FoundClaim | UnreadableClaim | None, bool]:
        """Return what is in the place of our claim, and whether a claim was to be deleted."""
        removed = False
        ours: FoundClaim | UnreadableClaim | None = None
        count, unreadable = 0, list[S3Object]()
        folder = self._object.folder
        async for page in self._store.list_pages(folder):
            claims = [location for location in page if location.suffix == ".json"]
            count += len(claims)
            if count > MAX_CLAIMS:
                msg = (
                    f"more than {MAX_CLAIMS:,} claims are in {folder}: delete those of runs that "
                    "have ended, or choose another folder"
                )
                raise ConfigurationError(msg)
            for location in claims:
                found = await read_claim(self._store, location)
                if found is None or is_claim_of(found, self._owner):
                    continue
                if isinstance(found, UnreadableClaim):
                    unreadable.append(location)
                elif location != self._object and found.expired:
                    if remove_expired and self._is_in_the_way(found):
                        await self._writer.delete(location, found.etag)
                        removed = True
                else:
                    self._check_valid(found, resume=resume)
                if location == self._object:
                    ours = found
        if unreadable:
            msg = "objects that are not claims are ignored: %s"
            logger.warning(msg, printable_line(list_some(unreadable)))
        return ours, removed

    def _is_in_the_way(self, found: FoundClaim) -> bool:
        """Return whether an expired claim has one of our videos, or expired long ago."""
        return found.expired_for > CLAIM_RETENTION or bool(self._shared(found))

    def _shared(self, found: FoundClaim) -> list[str]:
        return sorted(self._videos.keys() & set(found.claim.names))

    def _check_valid(self, found: FoundClaim, *, resume: bool) -> None:
        """Raise `OutputClaimedError` if a claim that has not expired is in our way."""
        if found.location == self._object:
            if not found.expired and not resume:
                raise already_works(found, self._folder)
        elif shared := self._shared(found):
            videos = list_some([self._videos[name] for name in shared])
            msg = (
                f"{found.holder} is writing {videos}: wait for its end, or choose another folder; "
                f"if it was killed, resume it, or wait until its claim expires at {found.until}"
            )
            raise OutputClaimedError(msg, holder=found.holder)


def already_works(found: FoundClaim, folder: S3Prefix) -> OutputClaimedError:
    """Return the error for a run on which another process works, with videos in a folder."""
    msg = (
        f"{found.holder} already works on this run in {folder}: wait for its end; if it was "
        f"killed, resume the run, or wait until its claim expires at {found.until}"
    )
    return OutputClaimedError(msg, holder=found.holder)


async def refuse_existing(
    store: ObjectStore, folder: S3Prefix, outputs: Collection[S3Object]
) -> None:
    """Raise `OutputExistsError` if one of the outputs, all in one folder, exists."""
    wanted = set(outputs)
    keys = sorted((output.key for output in wanted), key=str.encode)
    there: list[S3Object] = []
    # A list begins after a key; this one precedes the first.
    before = keys[0][:-1]
    async for page in store.list_pages(folder, start_after=before, flat=True):
        there += [location for location in page if location in wanted]
        if page and page[-1].key.encode() > keys[-1].encode():
            break
    if there:
        msg = f"videos already exist: {list_some(there)}; overwrite=True replaces them"
        raise OutputExistsError(msg, objects=[*map(str, there)])


def check_keys(videos: Iterable[S3Object]) -> None:
    """Check the length of keys, which S3 would otherwise refuse when the videos are encoded."""
    if too_long := [each for each in videos if len(each.key.encode()) > MAX_KEY_BYTES]:
        msg = (
            f"keys of more than {MAX_KEY_BYTES} bytes: {list_some(too_long)}; choose a folder "
            "with a shorter name"
        )
        raise ConfigurationError(msg)

"""Claim objects in S3: their content, and how they are read.

Anyone who may write to the folder may have written them, so that every object is limited in size,
and one that is not a claim is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, TypeGuard

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from cloudburst.aws.client.responses import BODY_TOO_LARGE
from cloudburst.aws.s3.answers import ObjectRange
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.errors import AWSError, ResourceMissingError
from cloudburst.models.failures import OBJECT_ARCHIVED
from cloudburst.models.locations import S3Object
from cloudburst.text import printable_line

METADATA_FOLDER = ".cloudburst/"
"""Folder in the folder of the videos that contains the claims and the lock."""
MAX_CLAIM_BYTES = 8 * 1024**2
"""Maximum size of a claim, in bytes: the names of some 40,000 scenes."""
MAX_CLAIM_COMMAS = 200_000
"""Maximum number of commas in a claim. In JSON, they separate the values, so that this bounds the
memory for the values of a claim, to some 20 MB."""
DATE_RESOLUTION = timedelta(seconds=2)
"""Inaccuracy of the difference between two times of S3, which have whole seconds."""


class Claim(BaseModel):
    """Content of a claim object, or of the lock."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run: str = Field(max_length=300)
    owner: str = Field(max_length=100)
    """Random text that identifies the process."""
    host: str = Field(max_length=300)
    pid: int = Field(ge=0, lt=2**63)
    names: Annotated[tuple[str, ...], FailFast()] = ()
    """Names of the scenes whose videos and covers are claimed."""
    ttl: int = Field(ge=0, le=86_400)
    """Seconds after the last renewal for which the claim is valid."""
    renewals: int = Field(default=0, ge=0, lt=2**63)
    """Number of times that the claim was renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundClaim:
    """Claim object as it was read."""

    location: S3Object
    claim: Claim
    etag: str
    expires: datetime
    expired_for: timedelta
    """Time since the claim has expired; negative before."""

    @property
    def expired(self) -> bool:
        """True if the claim was not renewed in time."""
        return self.expired_for > timedelta()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableClaim:
    """Object at the place of a claim that is not a claim."""

    location: S3Object
    etag: str


async def read_claim(store: ObjectStore, location: S3Object) -> FoundClaim | UnreadableClaim | None:
    """Read the object at the place of a claim; return ``None`` if there is none.

    Raises:
        CloudburstError: S3 refuses the request.
    """
    try:
        answer = await store.read(location, max_bytes=MAX_CLAIM_BYTES)
    except ResourceMissingError:
        return None
    except AWSError as exc:
        if exc.code not in {BODY_TOO_LARGE, OBJECT_ARCHIVED}:
            raise
        info = await store.find(location)
        return None if info is None else UnreadableClaim(location=location, etag=info.etag)
    # Megabytes of names would block the event loop.
    found = await to_thread.run_sync(_parse, location, answer)
    return found or UnreadableClaim(location=location, etag=answer.info.etag)


def is_claim_of(found: FoundClaim | UnreadableClaim | None, owner: str) -> TypeGuard[FoundClaim]:
    """Return whether an object is a claim of a process."""
    return isinstance(found, FoundClaim) and found.claim.owner == owner


def is_same_claim(
    found: FoundClaim | UnreadableClaim | None, before: FoundClaim | UnreadableClaim | None
) -> bool:
    """Return whether a claim, which may have been renewed, is the one that was found before."""
    return isinstance(before, FoundClaim) and is_claim_of(found, before.claim.owner)


def is_within_limits(data: bytes) -> bool:
    """Return whether the content of a claim is short enough to be read by other runs."""
    return len(data) <= MAX_CLAIM_BYTES and data.count(b",") <= MAX_CLAIM_COMMAS


def _parse(location: S3Object, answer: ObjectRange) -> FoundClaim | None:
    info = answer.info
    if not is_within_limits(answer.data):
        return None
    try:
        claim = Claim.model_validate_json(answer.data)
        modified = parsedate_to_datetime(info.modified or "")
        # A date without a time zone cannot be compared, and one in the year 9999 has no end.
        expires = modified + timedelta(seconds=claim.ttl) + DATE_RESOLUTION
        return FoundClaim(
            location=location,
            claim=claim,
            etag=info.etag,
            expires=expires,
            expired_for=info.answered - expires,
        )
    except (ValidationError, ValueError, TypeError, OverflowError):
        return None

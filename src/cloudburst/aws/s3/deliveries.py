"""Deliveries of videos and covers to S3: signed requests for a worker, and the verification."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from cloudburst.aws.s3.destination_check import check_accepted
from cloudburst.aws.s3.object_info import RUN, SCENE, ObjectInfo, run_of
from cloudburst.aws.s3.object_store import (
    NO_SUCH_UPLOAD,
    PRECONDITION_FAILED,
    ObjectStore,
    PresignedRequest,
)
from cloudburst.aws.s3.request_waits import RequestWaits, finish_delete, finish_write
from cloudburst.errors import (
    AWSError,
    CloudburstError,
    CredentialsError,
    DownloadError,
    OutputWriteError,
    Remedy,
)
from cloudburst.models.locations import S3Object
from cloudburst.models.transfers import PutPart
from cloudburst.text import printable_line

logger = logging.getLogger(__name__)

CREATE_TIMEOUT = 20.0
"""Maximum seconds to start the upload of a video in parts."""
# Minimum size of a part, in bytes; S3 needs 5 MiB. The size is a choice: a part takes about two
# seconds.
MIN_PART_BYTES = 16 * 1024**2
MAX_PARTS_OF_A_VIDEO = 64
"""Maximum number of parts of a video, so that their URLs fit into one request to a worker."""

# Maximum length of the shown name of another run, in characters.
_MAX_RUN_CHARS = 64
# Codes of S3's errors for parts that were not sent as the worker says.
_WRONG_PARTS = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputObject:
    """Object that is to be written."""

    location: S3Object
    size: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]
    scene: str
    new: bool
    """True if objects that are not of the same scene and run must not be replaced."""

    def is_described_by(self, info: ObjectInfo) -> bool:
        """Return whether an object in S3 was written as this output."""
        found = {name: info.metadata.get(name) for name in self.metadata}
        return info.size == self.size and found == self.metadata

    def is_of_same_scene(self, info: ObjectInfo) -> bool:
        """Return whether an object is a video or cover of the same scene and run."""
        return all(info.metadata.get(name) == self.metadata[name] for name in (RUN, SCENE))

    def error(self, reason: str) -> DownloadError:
        """Return the error for an object that is not this output."""
        return DownloadError(f"{self.location}: {reason}", scene=self.scene)


class _Delivery:
    def __init__(self, store: ObjectStore, output: OutputObject, waits: RequestWaits) -> None:
        self._store = store
        self._output = output
        self._waits = waits

    async def check_accepted(self) -> None:
        """Check that S3 accepts objects: see `ports.Delivery.check_accepted`."""
        with _write_errors(self._output):
            await check_accepted(self._store, self._output.location.folder)

    async def _find(self) -> ObjectInfo | None:
        find = partial(self._store.find, self._output.location)
        return await self._waits.repeat(self._store, find)


class WholeDelivery(_Delivery):
    """Delivery by one request, whose SHA-256 S3 verifies."""

    _signed = False
    """True if a URL was signed."""
    _replaces = False
    """True if another object of the same scene was found. It is replaced if it is unchanged."""

    async def parts(self) -> Sequence[PutPart]:
        """Return the request that writes the object: see `ports.Delivery.parts`."""
        output = self._output

        async def sign() -> PresignedRequest:
            etag = None
            if self._signed or self._waits.refused or self._replaces:
                # Perhaps S3 refuses the credentials of the first URL: then they are renewed here.
                info = await self._store.find(output.location)
                if self._replaces and info is not None and output.is_of_same_scene(info):
                    etag = info.etag
            return await self._store.presign_put(
                output.location,
                sha256=output.sha256,
                content_type=output.content_type,
                metadata=output.metadata,
                new=output.new and etag is None,
                etag=etag,
            )

        with _write_errors(output):
            signed = await self._waits.repeat(self._store, sign)
        self._signed = True
        return [_part(signed, 0, output.size)]

    async def is_written(self) -> bool:
        """Return whether the object is the output: see `ports.Delivery.is_written`."""
        output = self._output
        with _write_errors(output):
            info = await self._find()
        if info is None:
            return False  # it was deleted in the meantime
        if output.is_of_same_scene(info) and not output.is_described_by(info):
            self._replaces = True
            return False
        await self.finish(())
        return True

    async def finish(self, etags: Sequence[str]) -> None:  # noqa: ARG002 - of the port
        """Verify size, SHA-256 and metadata of the object: see `ports.Delivery.finish`."""
        output = self._output
        with _write_errors(output):
            info = await self._find()
        if _check_written(output, info).sha256 != output.sha256:
            raise output.error("S3 does not confirm the SHA-256 of the object")


class PartsDelivery(_Delivery):
    """Delivery by a multipart upload.

    Workers send the MD5 of each part, which S3 verifies. S3 completes the object only if the parts
    have the ETags that the worker has reported.
    """

    _upload_id = ""
    """Id of the upload; empty before it is created."""
    _completed = False
    """True if the upload was completed."""

    async def parts(self) -> Sequence[PutPart]:
        """Return the requests that write the parts: see `ports.Delivery.parts`."""
        store, output = self._store, self._output
        part_bytes = part_size(output.size)
        count = math.ceil(output.size / part_bytes)

        async def create() -> None:
            self._upload_id = await store.create_upload(
                output.location, content_type=output.content_type, metadata=output.metadata
            )

        async def sign() -> list[PresignedRequest]:
            if not self._upload_id:
                # Cancelled before its id is known, the upload could not be aborted.
                await finish_write(create, output.location, seconds=CREATE_TIMEOUT)
            else:
                await store.find(output.location)  # renews credentials that have expired
            return [
                await store.presign_part(output.location, self._upload_id, number)
                for number in range(1, count + 1)
            ]

        with _write_errors(output):
            signed = await self._waits.repeat(store, sign)
        starts = range(0, output.size, part_bytes)
        return [
            _part(request, start, min(part_bytes, output.size - start))
            for request, start in zip(signed, starts, strict=True)
        ]

    async def is_written(self) -> bool:
        """Return whether the object is the output: see `ports.Delivery.is_written`."""
        await self.finish(())  # parts are written under no condition, so nothing is in their way
        return True

    async def finish(self, etags: Sequence[str]) -> None:
        """Complete the object and verify size and metadata: see `ports.Delivery.finish`."""
        store, output = self._store, self._output

        async def complete(*, new: bool, etag: str | None = None) -> bool:
            upload = self._upload_id
            try:
                await store.complete_upload(output.location, upload, etags, new=new, etag=etag)
            except AWSError as exc:
                if exc.code in _WRONG_PARTS:
                    raise output.error(f"the worker has not sent all parts ({exc})") from exc
                # The answer to an earlier request was perhaps lost, or another program was faster.
                if exc.code not in {PRECONDITION_FAILED, NO_SUCH_UPLOAD}:
                    raise
                return False
            self._completed = True
            return True

        with _write_errors(output):
            if etags and not await self._waits.repeat(store, partial(complete, new=output.new)):
                info = await self._find()
                if info and output.is_of_same_scene(info) and not output.is_described_by(info):
                    replace = partial(complete, new=False, etag=info.etag)
                    await self._waits.repeat(store, replace)
            info = await self._find()
        _check_written(output, info)

    async def close(self) -> None:
        """Delete the parts unless the object was completed."""
        if not self._upload_id or self._completed:
            return
        abort = partial(self._store.abort_upload, self._output.location, self._upload_id)
        await finish_delete(abort, warn=self._warn)

    def _warn(self, reason: str) -> None:
        logger.warning(
            "%s: parts of a video that was not delivered stay in the bucket and are billed until "
            "they are deleted, for example by a lifecycle rule: %s",
            self._output.location,
            reason,
        )


@contextmanager
def _write_errors(output: OutputObject) -> Generator[None]:
    """Raise `OutputWriteError` in place of the errors of S3 that concern one video."""
    try:
        yield
    except (DownloadError, CredentialsError):
        raise  # without credentials, no video can be written
    except CloudburstError as exc:
        raise OutputWriteError(str(exc), scene=output.scene) from exc


def _check_written(output: OutputObject, info: ObjectInfo | None) -> ObjectInfo:
    if info is None:
        raise output.error("the object is missing after it was written")
    if not output.is_described_by(info):
        who = "another program"
        if info.metadata.get(RUN) not in {None, output.metadata[RUN]}:
            who = f"run {printable_line(run_of(info), _MAX_RUN_CHARS)}"
        reason = f"{who} has written an object of this name"
        if not output.new:
            raise output.error(reason)
        error = output.error(f"{reason}: choose another folder, or pass overwrite=True")
        error.remedy = Remedy.FIX_SETUP  # it stays there: no other video could be written, either
        raise error
    return info


def _part(signed: PresignedRequest, offset: int, size: int) -> PutPart:
    return PutPart(
        url=SecretStr(signed.url), headers=dict(signed.headers), offset=offset, size=size
    )


def part_size(size: int) -> int:
    """Return the size of the parts of a video, in bytes; a multiple of 1 MiB."""
    megabyte = 1024**2
    return max(MIN_PART_BYTES, math.ceil(size / MAX_PARTS_OF_A_VIDEO / megabyte) * megabyte)

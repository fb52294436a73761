"""Files of one run in S3 and on web servers: requests for its inputs, and deliveries of its videos.

Signed URLs go to workers only: they are not logged, and no error contains them.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import quote, unquote

import anyio
from pydantic import SecretStr

from cloudburst.aws.s3.object_store import (
    NO_SUCH_UPLOAD,
    PRECONDITION_FAILED,
    ObjectInfo,
    ObjectStore,
    SignedRequest,
)
from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import (
    AWSError,
    CloudburstError,
    CredentialsError,
    DownloadError,
    NoAnswerError,
    OutputWriteError,
    Remedy,
    ThrottledError,
    UploadError,
)
from cloudburst.models.limits import Backoff, Limits
from cloudburst.models.locations import HttpsUrl, RemoteLocation, S3Object
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.transfers import MULTIPART_BYTES, FetchRequest, PutPart
from cloudburst.ports import Delivery

logger = logging.getLogger(__name__)

T = TypeVar("T")

CREDENTIALS_TIMEOUT = 600.0
"""Seconds for which a run waits for new credentials after the old ones have expired: long enough to
sign in again, and shorter than the default of ``Timeouts.scene``. The time is a choice."""
BUSY_TIMEOUT = 120.0
"""Seconds for which requests to S3 are repeated while it is busy or does not answer."""
RETRY_BACKOFF = Backoff(first=0.5, factor=2.0, cap=15.0)
"""Delays between these requests."""
CREATE_TIMEOUT = 20.0
"""Maximum seconds to start the upload of a video in parts."""
ABORT_TIMEOUT = 20.0
"""Maximum seconds to delete the parts of a video that is not delivered."""
MIN_PART_BYTES = 16 * 1024**2
"""Minimum size of a part, in bytes; S3 needs 5 MiB. The size is a choice: a part takes about two
seconds."""
MAX_PARTS_OF_A_VIDEO = 64
"""Maximum number of parts of a video, so that their URLs fit into one request to a worker."""

MAX_SCENE_CHARS = 1000
"""Maximum length of a name in the metadata of an object, in characters. All metadata together may
have 2 KB ("Working with object metadata", Amazon S3 User Guide, 2026-11), of which the rest takes
less than 500 bytes."""

_WRONG_PARTS = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
"""Codes of S3's errors for parts that were not sent as the worker says."""
_MD5 = re.compile(r"[0-9a-f]{32}")
RUN, SCENE, FINGERPRINT, SHA256 = (
    "cloudburst-run",
    "cloudburst-scene",
    "cloudburst-fingerprint",
    "cloudburst-sha256",
)
"""Names of the metadata of a video or cover in S3. The scene's name is percent-encoded; in place of
the location of a film that is too long, there is its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedObject:
    """Video or cover in S3 that a run of this package has written."""

    run: str
    scene: str
    fingerprint: str
    """Fingerprint of the scene; empty if it was not known."""
    sha256: str
    size: int
    """Size in bytes."""


def object_metadata(*, run: str, scene: str, fingerprint: str, sha256: str) -> dict[str, str]:
    """Return the metadata of a video or cover."""
    return {
        RUN: quote(run, safe=""),
        SCENE: _in_metadata(scene),
        FINGERPRINT: fingerprint,
        SHA256: sha256,
    }


def _in_metadata(scene: str) -> str:
    """Return the name of a scene, or the location of a film, as it is in metadata."""
    name = quote(scene, safe="")
    if len(name) <= MAX_SCENE_CHARS:
        return name
    return f"sha256-{hashlib.sha256(scene.encode()).hexdigest()}"


async def find_finished(
    store: ObjectStore, location: S3Object, *, run: str, scene: str
) -> FinishedObject | None:
    """Return the object that a run has written for a scene; ``None`` if there is none.

    Raises:
        CloudburstError: S3 refuses the request.
    """
    info = await store.find(location)
    return None if info is None else as_finished(info, run=run, scene=scene)


def as_finished(info: ObjectInfo, *, run: str, scene: str) -> FinishedObject | None:
    """Return an object that a run has written for a scene or film; ``None`` for any other one."""
    metadata = info.metadata
    if (metadata.get(RUN), metadata.get(SCENE)) != (quote(run, safe=""), _in_metadata(scene)):
        return None
    return FinishedObject(
        run=run,
        scene=scene,
        fingerprint=metadata.get(FINGERPRINT, ""),
        sha256=metadata.get(SHA256, ""),
        size=info.size,
    )


async def run_of(store: ObjectStore, location: S3Object) -> str | None:
    """Return the name of the run that has written an object; ``None`` if it is not known.

    Raises:
        CloudburstError: S3 refuses the request.
    """
    info = await store.find(location)
    name = "" if info is None else unquote(info.metadata.get(RUN, ""))
    return name or None


class S3RemoteFiles:
    """Access of one run to its remote inputs, and to S3 for its videos: see `ports.RemoteFiles`."""

    def __init__(
        self,
        store: ObjectStore | None,
        *,
        run: str,
        inputs: Mapping[RemoteLocation, RemoteFile],
        fingerprints: Mapping[str, str],
        overwrite: bool = False,
        replaceable: Collection[S3Object] = (),
        private_inputs: bool = False,
        max_input_bytes: int = Limits().file_bytes,
    ) -> None:
        """Initialize the access.

        Args:
            store: Objects in S3; ``None`` if the run has only files on web servers.
            run: Name of the run.
            inputs: Input files as they were checked before the run.
            fingerprints: Fingerprint of each scene by its name; it is read when a video is
                delivered.
            overwrite: True if the run may replace any object.
            replaceable: Objects that the run may replace even if ``overwrite`` is false.
            private_inputs: True if URLs of inputs may lead to addresses that are not public.
            max_input_bytes: Maximum size of an input whose server did not report its size before
                the run, in bytes.
        """
        self._store = store
        self._run = run
        self._inputs = inputs
        self._fingerprints = fingerprints
        self._overwrite = overwrite
        self._replaceable = frozenset(replaceable)
        self._private_inputs = private_inputs
        self._max_input_bytes = max_input_bytes
        self._signed: set[S3Object] = set()
        self._waits = _Waits()

    def version(self, location: RemoteLocation) -> str:
        """Return the version of an input that was checked before the run."""
        return self._inputs[location].version

    async def fetch_request(self, location: RemoteLocation) -> FetchRequest:
        """Return a request that gets the checked version of an input.

        Raises:
            CredentialsError: The credentials have expired, and there are no newer ones.
            UploadError: The URL cannot be signed for another reason.
        """
        file = self._inputs[location]
        limit = self._max_input_bytes if file.size is None else file.size
        if isinstance(location, HttpsUrl):
            return FetchRequest(
                url=SecretStr(location.url),
                headers=_condition(file),
                size=file.size,
                max_bytes=limit,
                public_only=not self._private_inputs,
            )
        store = self._open_store()

        async def sign() -> SignedRequest:
            if location in self._signed or self._waits.refused:
                # Perhaps S3 refuses the credentials of the first URL: then they are renewed here.
                await store.head(location)
            return await store.presign_get(file)

        try:
            signed = await self._waits.repeat(store, sign)
        except CredentialsError:
            raise  # no scene of the run can go on
        except CloudburstError as exc:
            raise UploadError(f"no URL can be signed: {exc}") from exc
        self._signed.add(location)
        return FetchRequest(
            url=SecretStr(signed.url),
            headers=dict(signed.headers),
            size=file.size,
            max_bytes=limit,
            public_only=False,
        )

    @asynccontextmanager
    async def delivery(
        self, scene: str, to: S3Object, *, size: int, sha256: str, content_type: str
    ) -> AsyncGenerator[Delivery]:
        """Yield the delivery of a scene's video or cover: see `ports.RemoteFiles.delivery`."""
        store = self._open_store()
        output = _Output(
            location=to,
            size=size,
            sha256=sha256,
            content_type=content_type,
            metadata=object_metadata(
                run=self._run,
                scene=scene,
                fingerprint=self._fingerprints.get(scene, ""),
                sha256=sha256,
            ),
            scene=scene,
            new=not (self._overwrite or to in self._replaceable),
        )
        if size <= MULTIPART_BYTES:
            yield _WholeDelivery(store, output, self._waits)
            return
        delivery = _PartsDelivery(store, output, self._waits)
        try:
            yield delivery
        finally:
            await delivery.close()

    def _open_store(self) -> ObjectStore:
        assert self._store is not None, "a run with objects in S3 has access to it"
        return self._store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """Object that is to be written."""

    location: S3Object
    size: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]
    scene: str
    new: bool
    """True if the object must not exist yet."""

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


class _WholeDelivery:
    """Delivery by one request, whose SHA-256 S3 verifies."""

    def __init__(self, store: ObjectStore, output: _Output, waits: _Waits) -> None:
        self._store = store
        self._output = output
        self._waits = waits
        self._signed = False
        self._new = output.new

    async def parts(self) -> Sequence[PutPart]:
        """Return the request that writes the object: see `ports.Delivery.parts`."""
        output = self._output

        async def sign() -> SignedRequest:
            if self._signed or self._waits.refused:
                # Perhaps S3 refuses the credentials of the first URL: then they are renewed here.
                await self._store.find(output.location)
            return await self._store.presign_put(
                output.location,
                sha256=output.sha256,
                content_type=output.content_type,
                metadata=output.metadata,
                new=self._new,
            )

        with _write_errors(output):
            signed = await self._waits.repeat(self._store, sign)
        self._signed = True
        return [_part(signed, 0, output.size)]

    async def is_written(self) -> bool:
        """Return whether the object is the output: see `ports.Delivery.is_written`."""
        output = self._output
        with _write_errors(output):
            info = await self._waits.repeat(self._store, lambda: self._store.find(output.location))
        if info is None:
            return False  # it was deleted in the meantime
        if output.is_of_same_scene(info) and not output.is_described_by(info):
            self._new = False
            return False
        await self.finish(())
        return True

    async def finish(self, etags: Sequence[str]) -> None:  # noqa: ARG002 - of the port
        """Verify size, SHA-256 and metadata of the object: see `ports.Delivery.finish`."""
        output = self._output
        with _write_errors(output):
            info = await self._waits.repeat(self._store, lambda: self._store.find(output.location))
        if _check_written(output, info).sha256 != output.sha256:
            raise output.error("S3 does not confirm the SHA-256 of the object")


class _PartsDelivery:
    """Delivery by a multipart upload.

    Workers send the MD5 of each part, which S3 verifies; the object's ETag is the hash of these.
    """

    def __init__(self, store: ObjectStore, output: _Output, waits: _Waits) -> None:
        self._store = store
        self._output = output
        self._waits = waits
        self._upload_id = ""
        self._completed = False

    async def parts(self) -> Sequence[PutPart]:
        """Return the requests that write the parts: see `ports.Delivery.parts`."""
        store, output = self._store, self._output
        part_bytes = part_size(output.size)
        count = math.ceil(output.size / part_bytes)

        async def create() -> None:
            self._upload_id = await store.create_upload(
                output.location, content_type=output.content_type, metadata=output.metadata
            )

        async def sign() -> list[SignedRequest]:
            if not self._upload_id:
                # Cancelled before its id is known, the upload could not be aborted.
                await _finish(create, output.location)
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
        """Complete the object and verify size, ETag and metadata: see `ports.Delivery.finish`."""
        store, output = self._store, self._output

        async def complete(*, new: bool) -> bool:
            try:
                await store.complete_upload(output.location, self._upload_id, etags, new=new)
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
                info = await self._waits.repeat(store, lambda: store.find(output.location))
                if info and output.is_of_same_scene(info) and not output.is_described_by(info):
                    await self._waits.repeat(store, partial(complete, new=False))
            info = await self._waits.repeat(store, lambda: store.find(output.location))
        info = _check_written(output, info)
        expected = joined_etag(etags) if etags and info.plain_etags else None
        if expected is not None and info.etag != expected:
            raise output.error("the object does not consist of the parts that the worker has sent")

    async def close(self) -> None:
        """Delete the parts unless the object was completed."""
        if not self._upload_id or self._completed:
            return
        try:
            await finish_despite_cancel(self._abort, seconds=ABORT_TIMEOUT)
        except TimeoutError:
            self._warn(f"no answer within {ABORT_TIMEOUT:g} s")

    async def _abort(self) -> None:
        # No error leaves this function: it would replace a cancellation.
        for delay in RETRY_BACKOFF.delays():
            try:
                await self._store.abort_upload(self._output.location, self._upload_id)
            except (NoAnswerError, ThrottledError) as exc:
                logger.debug("%s: repeating the request: %s", self._output.location, exc)
            except CloudburstError as exc:
                return self._warn(str(exc))
            else:
                return None
            await anyio.sleep(delay)
        return None

    def _warn(self, reason: str) -> None:
        logger.warning(
            "%s: parts of a video that was not delivered stay in the bucket and are billed until "
            "they are deleted, for example by a lifecycle rule: %s",
            self._output.location,
            reason,
        )


class _Waits:
    """Waits of one run for credentials, and for S3 when it is busy."""

    def __init__(self) -> None:
        self._refused_at: float | None = None

    @property
    def refused(self) -> bool:
        """True if S3 has refused the credentials, and has not accepted any since."""
        return self._refused_at is not None

    async def repeat(self, store: ObjectStore, call: Callable[[], Awaitable[T]]) -> T:
        """Call a function again while credentials have expired, or S3 is busy, for a limited time.

        All functions of the run share the time for the credentials. While they are refused, the
        function must make a request to S3, so that its success shows that they are accepted.

        Raises:
            CloudburstError: The last error of the function.
        """
        start, delays = anyio.current_time(), RETRY_BACKOFF.delays()
        while True:
            try:
                result = await call()
            except CredentialsError as exc:
                end = self._end_of_wait(store, exc)
                error: CloudburstError = exc
            except (ThrottledError, NoAnswerError) as exc:
                end, error = start + BUSY_TIMEOUT, exc
            else:
                self._refused_at = None
                return result
            delay = next(delays)
            if anyio.current_time() + delay > end:
                raise error
            await anyio.sleep(delay)

    def _end_of_wait(self, store: ObjectStore, error: CredentialsError) -> float:
        """Return the time until which the run waits for newer credentials."""
        if not store.waits_for_credentials:
            return -math.inf
        if self._refused_at is None:
            self._refused_at = anyio.current_time()
            logger.warning(
                "the credentials for S3 are no longer valid: waiting up to %.0f minutes for new "
                "ones (%s)",
                CREDENTIALS_TIMEOUT / 60,
                error,
            )
        return self._refused_at + CREDENTIALS_TIMEOUT


async def _finish(create: Callable[[], Awaitable[None]], location: S3Object) -> None:
    try:
        await finish_despite_cancel(create, seconds=CREATE_TIMEOUT)
    except TimeoutError:
        raise NoAnswerError(f"{location}: no answer within {CREATE_TIMEOUT:g} s") from None


@contextmanager
def _write_errors(output: _Output) -> Generator[None]:
    """Raise `OutputWriteError` in place of the errors of S3."""
    try:
        yield
    except DownloadError:
        raise
    except CloudburstError as exc:
        raise OutputWriteError(str(exc), scene=output.scene) from exc


def _check_written(output: _Output, info: ObjectInfo | None) -> ObjectInfo:
    if info is None:
        raise output.error("the object is missing after it was written")
    if not output.is_described_by(info):
        error = output.error("another program has written an object of this name")
        if output.new:  # it stays there, so that no other video could be written, either
            error.remedy = Remedy.FIX_SETUP
        raise error
    return info


def _condition(file: RemoteFile) -> dict[str, str]:
    """Return the header that asks a web server for a file only if it has not changed."""
    if file.etag is not None:
        return {"if-match": file.etag}
    return {} if file.modified is None else {"if-unmodified-since": file.modified}


def _part(signed: SignedRequest, offset: int, size: int) -> PutPart:
    return PutPart(
        url=SecretStr(signed.url), headers=dict(signed.headers), offset=offset, size=size
    )


def part_size(size: int) -> int:
    """Return the size of the parts of a video, in bytes; a multiple of 1 MiB."""
    megabyte = 1024**2
    return max(MIN_PART_BYTES, math.ceil(size / MAX_PARTS_OF_A_VIDEO / megabyte) * megabyte)


def joined_etag(etags: Sequence[str]) -> str | None:
    """Return the ETag of an object of these parts: the MD5 of their MD5 hashes, and their number.

    Return ``None`` if an ETag is not an MD5 hash.
    """
    parts = [etag.strip('"') for etag in etags]
    if not all(_MD5.fullmatch(part) for part in parts):
        return None
    digest = hashlib.md5(bytes.fromhex("".join(parts)), usedforsecurity=False).hexdigest()
    return f'"{digest}-{len(parts)}"'

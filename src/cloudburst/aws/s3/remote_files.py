"""Files of one run in S3 and on web servers: requests for inputs, deliveries, and downloads.

Signed URLs go to workers, or to the caller of `sign_download`, only: they are not logged, and no
error contains them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

from pydantic import SecretStr

from cloudburst.aws.s3.deliveries import OutputObject, PartsDelivery, WholeDelivery
from cloudburst.aws.s3.object_info import as_finished, named_errors, object_metadata
from cloudburst.aws.s3.object_store import URL_SECONDS, ObjectStore, PresignedRequest
from cloudburst.aws.s3.request_waits import RequestWaits
from cloudburst.errors import CloudburstError, CredentialsError, ResourceMissingError, UploadError
from cloudburst.models.limits import Limits
from cloudburst.models.locations import HttpsUrl, RemoteLocation, S3Object
from cloudburst.models.remote_file import Download, RemoteFile
from cloudburst.models.scene import COVER_SUFFIX
from cloudburst.models.transfers import MULTIPART_BYTES, FetchRequest
from cloudburst.ports.remote_files import Delivery

CACHE_CONTROL = "private, no-cache"
"""Header of S3's response: no cache uses a copy without a new request, which S3 refuses when the
URL has expired."""
_OPERATIONS = {"GET": "get_object", "HEAD": "head_object"}


@dataclass(eq=False, slots=True, repr=False)
class S3RemoteFiles:
    """Access of one run to its remote inputs, and to S3 for its videos: see `ports.RemoteFiles`."""

    _store: ObjectStore | None
    run: str
    inputs: Mapping[RemoteLocation, RemoteFile]
    overwrite: bool = False
    private_inputs: bool = False
    max_input_bytes: int = Limits().file_bytes
    _fingerprints: dict[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of what videos are made of, by the name of the scene."""
    _signed: set[S3Object] = field(default_factory=set[S3Object])
    _waits: RequestWaits = field(default_factory=RequestWaits)

    def version(self, location: RemoteLocation) -> str:
        """Return the version of an input that was checked before the run."""
        return self.inputs[location].version

    def note_fingerprint(self, scene: str, fingerprint: str) -> None:
        """Note the fingerprint of what the video of a scene is made of, before its delivery."""
        self._fingerprints[scene] = fingerprint

    async def fetch_request(self, location: RemoteLocation) -> FetchRequest:
        """Return a request that gets the checked version of an input.

        Raises:
            CredentialsError: The credentials have expired, and there are no newer ones.
            UploadError: The URL cannot be signed for another reason.
        """
        file = self.inputs[location]
        limit = self.max_input_bytes if file.size is None else file.size
        if isinstance(location, HttpsUrl):
            return FetchRequest(
                url=SecretStr(location.url),
                headers=_condition(file),
                size=file.size,
                max_bytes=limit,
                public_only=not self.private_inputs,
            )
        store = self._open_store()

        async def sign() -> PresignedRequest:
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
        output = OutputObject(
            location=to,
            size=size,
            sha256=sha256,
            content_type=content_type,
            metadata=object_metadata(
                run=self.run,
                scene=scene,
                fingerprint=self._fingerprints.get(scene, ""),
                sha256=sha256,
            ),
            scene=scene,
            new=not self.overwrite,
        )
        if size <= MULTIPART_BYTES:
            yield WholeDelivery(store, output, self._waits)
            return
        delivery = PartsDelivery(store, output, self._waits)
        try:
            yield delivery
        finally:
            await delivery.close()

    def _open_store(self) -> ObjectStore:
        assert self._store is not None, "a run with objects in S3 has access to it"
        return self._store


def _condition(file: RemoteFile) -> dict[str, str]:
    if file.etag is not None:
        return {"if-match": file.etag}
    return {} if file.modified is None else {"if-unmodified-since": file.modified}


async def sign_download(store: ObjectStore, download: Download) -> str:
    """Return a URL for a file of a run, after a look at the object.

    The URL names no version of the object, so that it ends with the object if that is deleted, and
    needs no permission to read versions. A browser cannot send the header ``If-Match``.

    The look also finds newer credentials if S3 does not accept the present ones any more.

    Raises:
        ResourceMissingError: There is no such object, or the run has not written it.
    """
    location = download.location
    info = await store.find(location)
    if info is None:
        msg = f"{location}: there is no such object; it is not written yet, or it was deleted"
        raise ResourceMissingError(msg)
    found = as_finished(info, run=download.run, scene=download.scene)
    if found is None or download.sha256 not in {None, found.sha256}:
        msg = f"{location}: another object has replaced the file that the run had written"
        raise ResourceMissingError(msg)
    with named_errors(location):
        return await store.aws.presign(
            "s3",
            _OPERATIONS[download.method],
            in_region=await store.bucket_region(location.bucket),
            max_seconds=URL_SECONDS,
            Bucket=location.bucket,
            Key=location.key,
            ResponseCacheControl=CACHE_CONTROL,
            ResponseContentDisposition=_disposition(download),
            ResponseContentType="image/jpeg" if location.suffix == COVER_SUFFIX else "video/mp4",
        )


def _disposition(download: Download) -> str:
    # The name is in ASCII: RFC 6266.
    kind = "attachment" if download.save else "inline"
    return f"{kind}; filename*=utf-8''{quote(download.location.name, safe='')}"

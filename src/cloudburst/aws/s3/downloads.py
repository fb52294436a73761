"""Presigned URLs with which browsers get the files of a run from S3.

A URL goes to the caller only: it is not logged, and no error contains it.
"""

from __future__ import annotations

from urllib.parse import quote

from cloudburst.aws.s3.answers import named_errors
from cloudburst.aws.s3.finished_objects import as_finished
from cloudburst.aws.s3.object_store import URL_SECONDS, ObjectStore
from cloudburst.errors import ResourceMissingError
from cloudburst.models.download import Download
from cloudburst.models.scene import COVER_SUFFIX

CACHE_CONTROL = "private, no-cache"
"""Header of S3's response: no cache uses a copy without a new request, which S3 refuses when the
URL has expired."""

_OPERATIONS = {"GET": "get_object", "HEAD": "head_object"}


async def sign_download(store: ObjectStore, download: Download) -> str:
    """Return a URL for a file of a run, after a look at the object.

    The URL names no version of the object, so that it ends with the object if that is deleted, and
    needs no permission to read versions. A browser cannot send the header ``If-Match``.

    The look also finds newer credentials if S3 does not accept the present ones any more.

    Raises:
        ResourceMissingError: There is no such object, or the run has not written it.
        CloudburstError: S3 refuses the request, or does not answer.
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
    """Return the header ``Content-Disposition``, with the name of the file in ASCII: RFC 6266."""
    kind = "attachment" if download.save else "inline"
    return f"{kind}; filename*=utf-8''{quote(download.location.name, safe='')}"

"""Responses with files: those of jobs, on this server or in S3, and those of callers."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from anyio import fail_after, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from cloudburst.errors import CloudburstError, JobError, ResourceMissingError
from cloudburst.files import open_regular_file
from cloudburst.jobs import Job
from cloudburst.text import describe_error
from cloudburst.web.error_responses import RETRY_AFTER
from cloudburst.web.job_api import WebCall
from cloudburst.web.job_documents import Document

logger = logging.getLogger(__name__)

# Maximum number of seconds until a file in S3 has its URL: a browser waits for it.
SIGN_TIMEOUT = 20.0
# Media type of files that browsers save and do not show.
_UNKNOWN_TYPE = "application/octet-stream"
_FILE_HEADERS = {
    # Users may lose access, or delete the job: a stored copy is used after asking this server.
    "cache-control": "private, no-cache",
    "x-content-type-options": "nosniff",
}


FILE_STATUSES = {
    307: (
        "The file is in S3, at the URL in `Location`. It is valid for at most an hour and for the "
        "method of this request, and anyone who has it gets the file."
    ),
    416: "The requested part does not exist.",
    503: "The server cannot look at the file in S3 now. `Retry-After` has the seconds to wait.",
}


class FileQuery(Document):
    """Query of a request for a file."""

    download: str | None = None
    """If present, browsers save the file and do not play it."""


async def redirect_to_s3(call: WebCall, job: Job, name: str) -> Response:
    """Return a redirect to a presigned URL of a file in S3. No cache may store the redirect."""
    request = call.request
    try:
        with fail_after(SIGN_TIMEOUT):
            url = await call.queue.download_url(
                job.id,
                name,
                save=is_saved(request),
                method="HEAD" if request.method == "HEAD" else "GET",
            )
    except ResourceMissingError as exc:
        raise HTTPException(404, str(exc)) from exc
    except JobError:
        raise
    except (CloudburstError, TimeoutError) as exc:
        logger.error("%s %s: %s", request.method, request.url.path, describe_error(exc))  # noqa: TRY400 - the reason is enough
        detail = "the server cannot look at the file in S3 now; try again later"
        raise HTTPException(503, detail, RETRY_AFTER) from exc
    return RedirectResponse(url, headers={"cache-control": "no-store"})


def is_saved(request: Request) -> bool:
    """Return whether browsers are to save the file of a response."""
    return "download" in request.query_params


async def file_response(
    request: Request,
    path: Path,
    name: str,
    sha256: str | None = None,
    media_type: str | None = None,
) -> Response:
    """Return a response with a file, or a part of it; without its content if the caller has it.

    ``media_type`` is that of the suffix of ``name`` by default. Raises `HTTPException` with the
    status 404 if there is no such file.
    """
    try:
        status = await to_thread.run_sync(os.lstat, path)  # a link may lead anywhere
    except FileNotFoundError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise HTTPException(404, "the file is not finished yet, or was removed")
    saved = is_saved(request) or media_type == _UNKNOWN_TYPE
    headers = _FILE_HEADERS if sha256 is None else _FILE_HEADERS | {"etag": f'"{sha256}"'}
    response = FileResponse(
        path,
        headers=headers,
        filename=name,
        stat_result=status,
        media_type=media_type,
        content_disposition_type="attachment" if saved else "inline",
    )
    etag = response.headers["etag"]
    if _has_tag(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=_FILE_HEADERS | {"etag": etag})
    return response


async def given_file_response(
    request: Request, path: Path, name: str, *, only_pictures: bool = False
) -> Response:
    """Return a response with a file of a caller, which browsers show only if it is a picture.

    Raises `HTTPException` with the status 404 if there is no such file, or no picture.
    """
    media_type = await to_thread.run_sync(picture_type, path)
    if only_pictures and media_type is None:
        raise HTTPException(404, "the file is no picture that every browser shows, or was removed")
    response = await file_response(request, path, name, media_type=media_type or _UNKNOWN_TYPE)
    response.headers["content-security-policy"] = "default-src 'none'; sandbox"
    return response


def picture_type(path: Path) -> str | None:
    """Return the media type of a file if it is a picture that every browser shows. Blocks."""
    # Imported here, in a thread: importing Pillow is slow.
    from cloudburst.inputs.media_checks import web_picture_type  # noqa: PLC0415

    with suppress(OSError), open_regular_file(path, follow_links=False) as file:
        return web_picture_type(file.read(32))
    return None


def _has_tag(header: str, etag: str) -> bool:
    tags = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return any(tag in {"*", etag} for tag in tags)

"""Responses of the routes of `Jobs` to requests about uploads."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.jobs.public_json import public_faults
from cloudburst.web.access import Action
from cloudburst.web.file_handlers import given_file_response
from cloudburst.web.job_api import Operation, WebCall, parse_parameters
from cloudburst.web.job_documents import (
    BINARY,
    BODY_ERRORS,
    Document,
    FaultDocument,
    UploadDocument,
    file_body,
    json_response,
)
from cloudburst.web.request_limits import limited_body

_NO_UPLOAD = {404: "There is no such upload, or it has another owner."}


class _UploadQuery(Document):
    name: Annotated[str, Field(max_length=255)] = ""
    """Name of the file, for people."""


@Operation(
    "POST",
    "/uploads",
    Action.UPLOAD,
    {201: UploadDocument, 400: "A parameter is invalid.", **BODY_ERRORS},
    query=_UploadQuery,
    body=file_body,
)
async def store_upload(call: WebCall) -> Response:
    """Store the body of the request as a file for later jobs.

    The returned identifier may stand for a file in the scenes of any number of jobs. A file that
    cannot be used is stored as well, and `fault` says why.
    """
    name = parse_parameters(_UploadQuery, call.request.query_params).name
    with call.api.transfers.entered(call.owner):
        body = limited_body(call.request, call.api.rules.limits.request_bytes)
        upload = await call.queue.uploads.store(body, owner=call.owner, name=name)
        kind, facts, problem = await call.queue.uploads.check(upload)
    faults = list[dict[str, str]]()
    if problem is not None:
        fault = SceneFault("", "file", problem.found, problem.expected, problem.code)
        faults = public_faults(InvalidScenesError(faults=[fault]))[1]
    document = UploadDocument(
        id=upload.id,
        size=upload.bytes,
        name=name,
        kind=kind,
        seconds=facts.seconds or None if facts.length_known else None,
        width=facts.width or None,
        height=facts.height or None,
        fault=FaultDocument.model_validate(faults[0]) if faults else None,
    )
    return json_response(document, 201, location=f"{call.base}/uploads/{upload.id}")


@Operation(
    "GET",
    "/uploads/{id}",
    Action.READ,
    {200: {"application/octet-stream": BINARY}, **_NO_UPLOAD},
)
async def read_upload(call: WebCall) -> Response:
    """Send an uploaded file. Browsers show it if it is a JPEG, PNG, WebP or GIF picture."""
    found = await call.queue.uploads.find(str(call.request.path_params["id"]), owner=call.owner)
    if found is None:
        raise HTTPException(404, "there is no such upload")
    upload, path = found
    return await given_file_response(call.request, path, upload.name or upload.id)


@Operation(
    "DELETE",
    "/uploads/{id}",
    Action.UPLOAD,
    {204: "It is deleted.", **_NO_UPLOAD},
)
async def delete_upload(call: WebCall) -> Response:
    """Delete an uploaded file. Jobs that were submitted with it keep the file."""
    upload = str(call.request.path_params["id"])
    if not await call.queue.uploads.remove(upload, owner=call.owner):
        raise HTTPException(404, "there is no such upload")
    return Response(status_code=204)

"""Responses of the routes of `Jobs` to requests about jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Annotated

from anyio import to_thread
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cloudburst.errors import UnknownJobError
from cloudburst.jobs import Job, JobDraft, JobEvent, JobNews, JobRequest, JobState
from cloudburst.jobs.models import (
    DEFAULT_PAGE,
    MAX_KEY_CHARS,
    MAX_METADATA_KEYS,
    MAX_NAME_CHARS,
    MAX_PAGE,
)
from cloudburst.web.access import Action
from cloudburst.web.job_api import Operation, WebCall, parse_parameters
from cloudburst.web.job_documents import (
    BODY_ERRORS,
    SUBMIT_ERRORS,
    UNKNOWN_JOB,
    Document,
    JobDocument,
    JobListDocument,
    changes_body,
    job_body,
    json_response,
    model_body,
)
from cloudburst.web.request_limits import read_body
from cloudburst.web.server_sent_events import EventStreamResponse, format_event
from cloudburst.web.submissions import parse_json, read_changes, read_submission, receiving

_METADATA = "metadata."
"""Start of the names of query parameters that select jobs by their metadata."""


_EventNumber = Annotated[int, Field(ge=0)]


class _SubmitHeaders(Document):
    idempotency_key: Annotated[
        str | None,
        Field(alias="Idempotency-Key", max_length=MAX_KEY_CHARS, pattern=r"^[ -~]+$"),
    ] = None
    """Printable ASCII characters. A repeated request with the same key returns the same job."""


class _ListQuery(Document):
    state: tuple[JobState, ...] = ()
    """State of the jobs; may be repeated."""
    search: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    """Part of the names of the jobs, in upper or lower case."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    """Maximum number of jobs in this part."""
    cursor: Annotated[str | None, Field(pattern=r"^[1-9][0-9]{0,17}$")] = None
    """Field `next` of the part before."""


class JobName(Document):
    """Name of a job."""

    name: Annotated[str, Field(max_length=MAX_NAME_CHARS)]
    """Name for people, at most 200 characters."""


class _EventHeaders(Document):
    last_event: Annotated[_EventNumber, Field(alias="Last-Event-ID")] = 0
    """Number of the last event that was received; browsers send it."""


class _EventQuery(Document):
    after: _EventNumber = 0
    """The same number, for callers that cannot send the header."""


@Operation(
    "POST",
    "/jobs",
    Action.SUBMIT,
    {202: JobDocument, 409: "Another request had the same idempotency key.", **SUBMIT_ERRORS},
    headers=_SubmitHeaders,
    body=job_body,
)
async def submit_job(call: WebCall) -> Response:
    """Queue scenes, as JSON or as a form with files, and return the new job at once.

    The files of a form belong to this job only; files for several jobs are uploaded first.
    """
    key = parse_parameters(_SubmitHeaders, call.request.headers).idempotency_key
    async with call.queue.receive() as draft:
        made, sha256 = await _received(call, draft)
        job = await draft.submit(made, owner=call.owner, idempotency_key=key, request_sha256=sha256)
    document = call.document(job)
    return json_response(document, 202, location=document.links.job)


async def _received(call: WebCall, draft: JobDraft) -> tuple[JobRequest, str]:
    with receiving(call):
        return await read_submission(call.request, draft, call.queue.uploads, call.rules())


@Operation(
    "POST",
    "/jobs/{id}/scenes",
    Action.SUBMIT,
    {202: JobDocument, **UNKNOWN_JOB, 409: "The job is not open any more.", **SUBMIT_ERRORS},
    body=partial(job_body, "scenes"),
)
async def add_scenes(call: WebCall) -> Response:
    """Add scenes to an open job, as JSON or as a form with files, and return the job.

    A name may not repeat within the job, so that a repeated request adds nothing twice. Scenes
    whose files turn out to be invalid later fail, and the others go on.
    """
    async with call.queue.receive((await call.job()).id) as draft:
        made, _ = await _received(call, draft)
        job = await draft.add(made.scenes, max_scenes=call.api.rules.limits.scenes)
    return json_response(call.document(job), 202)


@Operation(
    "POST",
    "/jobs/{id}/resume",
    Action.SUBMIT,
    {202: JobDocument, **UNKNOWN_JOB, 409: "It is not finished, or complete.", **SUBMIT_ERRORS},
    body=changes_body,
)
async def resume_job(call: WebCall) -> Response:
    """Render the scenes of a finished job that have no video, and then its film.

    The body, as JSON or as a form with files, is not required. It may change fields of these
    scenes, leave scenes out, and name another maximum bill. The events of the job go on.
    """
    async with call.queue.receive((await call.job()).id, resumed=True) as draft:
        with receiving(call):
            uploads, rules = call.queue.uploads, call.rules()
            changed = await read_changes(call.request, draft, uploads, rules)
        job = await draft.resume(changed)
    return json_response(call.document(job), 202)


@Operation("POST", "/jobs/{id}/close", Action.SUBMIT, {202: JobDocument, **UNKNOWN_JOB})
async def close_job(call: WebCall) -> Response:
    """Take no further scenes for an open job, which ends after those that it has.

    A job that is not open does not change.
    """
    job = await call.queue.close_job((await call.job()).id)
    return json_response(call.document(job), 202)


@Operation(
    "GET",
    "/jobs",
    Action.READ,
    {200: JobListDocument, 400: "A parameter is invalid."},
    query=_ListQuery,
)
async def list_jobs(call: WebCall) -> Response:
    """Return a part of the list of the caller's jobs, the newest first.

    The parameter `metadata.KEY=VALUE` selects those whose metadata has this text or number under
    this key.
    """
    query = call.request.query_params
    metadata = {
        name.removeprefix(_METADATA): value
        for name, value in query.items()
        if name.startswith(_METADATA)
    }
    if len(metadata) > MAX_METADATA_KEYS:
        raise HTTPException(400, f"metadata: expected at most {MAX_METADATA_KEYS} keys")
    chosen = parse_parameters(_ListQuery, {**query, "state": query.getlist("state")})
    page = await call.queue.page(
        owner=call.owner,
        states=set(chosen.state),
        search=chosen.search,
        metadata=metadata,
        cursor=chosen.cursor,
        limit=chosen.limit,
    )
    jobs = [*map(call.document, page.jobs)]
    return json_response(JobListDocument(jobs=jobs, months=[*page.months], next=page.next))


@Operation("GET", "/jobs/{id}", Action.READ, {200: JobDocument, **UNKNOWN_JOB})
async def read_job(call: WebCall) -> Response:
    """Return state, progress, bill and links of a job."""
    return json_response(call.document(await call.job()))


@Operation(
    "PATCH",
    "/jobs/{id}",
    Action.SUBMIT,
    {200: JobDocument, **UNKNOWN_JOB, 400: "The name is missing or too long.", **BODY_ERRORS},
    body=partial(model_body, JobName),
)
async def rename_job(call: WebCall) -> Response:
    """Give a job another name, at most 200 characters, and return the job."""
    body = await read_body(call.request, call.api.rules.limits.json_bytes)
    name = parse_parameters(JobName, await to_thread.run_sync(parse_json, body)).name
    job = await call.queue.rename((await call.job()).id, name)
    return json_response(call.document(job))


@Operation("POST", "/jobs/{id}/cancel", Action.CANCEL, {202: JobDocument, **UNKNOWN_JOB})
async def cancel_job(call: WebCall) -> Response:
    """Request the end of a job, which ends when its tasks are stopped.

    Finished videos are kept. A finished job does not change.
    """
    job = await call.queue.cancel((await call.job()).id)
    return json_response(call.document(job), 202)


@Operation(
    "DELETE",
    "/jobs/{id}",
    Action.DELETE,
    {204: "It is deleted.", **UNKNOWN_JOB, 409: "It is not finished; cancel it first."},
)
async def delete_job(call: WebCall) -> Response:
    """Delete a finished job with its events, its report and its videos on this server."""
    await call.queue.remove((await call.job()).id)
    return Response(status_code=204)


@Operation(
    "GET",
    "/jobs/{id}/report",
    Action.READ,
    {
        200: {"application/json": {"schema": {"type": "object"}}},
        404: "There is no such job, or it has no report yet.",
    },
)
async def read_report(call: WebCall) -> Response:
    """Return the report of a finished job: scenes, workers, bill, and the metadata."""
    job = await call.job()
    report = await call.queue.report(job.id)
    if report is None:
        raise HTTPException(404, f"the job has no report; its state is {job.state}")
    # The report of 1,000 scenes is some hundred kB of JSON.
    return await to_thread.run_sync(JSONResponse, {"metadata": job.metadata, **report})


@Operation(
    "GET",
    "/jobs/{id}/events",
    Action.READ,
    {
        200: {"text/event-stream": {"schema": {"type": "string"}}},
        204: "The job is finished, and the caller has all events: do not connect again.",
        400: "There is no event with this number.",
        **UNKNOWN_JOB,
        429: "Too many event streams of the caller are open.",
    },
    query=_EventQuery,
    headers=_EventHeaders,
)
async def read_events(call: WebCall) -> Response:
    """Send the events of a job as server-sent events until it is finished: then `job.finished`.

    A closed connection does not cancel the job. Events have numbers without gaps (`id`); progress
    (`job.progress`, at most once a second) has none. A browser that connects again gets the events
    that it has missed.
    """
    request = call.request
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    call.api.streams.check(call.owner)  # a refusal at once needs little memory
    job = await call.job()
    # A browser that connects again repeats the query, and adds the header.
    if request.headers.get("last-event-id"):
        after = parse_parameters(_EventHeaders, request.headers).last_event
    else:
        after = parse_parameters(_EventQuery, request.query_params).after
    if after > job.last_event:
        raise HTTPException(400, f"no event {after}; expected at most {job.last_event}")
    if job.state.finished and after == job.last_event:
        return Response(status_code=204)  # browsers do not connect again
    return EventStreamResponse(_open_stream(call, job, after), stop=call.api.stopping)


@asynccontextmanager
async def _open_stream(call: WebCall, job: Job, after: int) -> AsyncGenerator[AsyncIterator[bytes]]:
    with call.api.streams.entered(job.owner):
        async with (
            aclosing(call.queue.events(job.id, after=after)) as news,
            aclosing(_formatted(job, news)) as events,
        ):
            yield events


async def _formatted(job: Job, news: AsyncIterator[JobNews]) -> AsyncGenerator[bytes]:
    with suppress(UnknownJobError):  # it was deleted meanwhile
        async for one in news:
            data = {"job": job.id, **one.model_dump(mode="json", exclude={"data"})}
            if not isinstance(one, JobEvent):
                yield format_event(one.type, data)
                continue
            if one.type.startswith("job."):
                data["metadata"] = job.metadata
            yield format_event(one.type, {**data, **one.data}, one.number)

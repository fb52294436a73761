"""Responses of the routes of `Jobs` to requests about jobs."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext
from typing import Any, Self

from anyio import to_thread
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cloudburst.errors import ConfigurationError, UnknownJobError
from cloudburst.jobs import Job, JobNews, JobProgress, JobState
from cloudburst.jobs.models import DEFAULT_PAGE, MAX_METADATA_KEYS, check_idempotency_key
from cloudburst.text import short_repr
from cloudburst.web.access import Access
from cloudburst.web.job_api import JobApi, base_url
from cloudburst.web.job_documents import JobDocument, JobListDocument
from cloudburst.web.server_sent_events import EventStreamResponse, format_event
from cloudburst.web.submissions import IDEMPOTENCY_KEY, is_large, read_submission

_METADATA = "metadata."
"""Start of the names of query parameters that select jobs by their metadata."""
_EVENT_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


async def submit_job(api: JobApi, request: Request, access: Access) -> Response:
    """Queue a new job, or find the one of an earlier request with the same idempotency key."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None:
        with _refused_with_400():
            check_idempotency_key(key)
    queue = api.queue
    async with queue.receive() as draft:
        with api.transfers.entered(access.owner) if is_large(request) else nullcontext():
            submission = await read_submission(request, draft, queue.uploads, api.rules(access))
        job = await draft.submit(
            submission.request,
            owner=access.owner,
            idempotency_key=key,
            request_sha256=submission.sha256,
        )
    document = JobDocument.of(job, base_url(request, 1))
    response = json_response(document, 202)
    response.headers["location"] = document.links.job
    return response


async def list_jobs(api: JobApi, request: Request, access: Access) -> Response:
    """Return a part of the list of the caller's jobs."""
    query = request.query_params
    metadata = {
        name.removeprefix(_METADATA): value
        for name, value in query.items()
        if name.startswith(_METADATA)
    }
    if len(metadata) > MAX_METADATA_KEYS:
        raise HTTPException(400, f"metadata: expected at most {MAX_METADATA_KEYS} keys")
    try:
        states = {JobState(text) for text in query.getlist("state")}
    except ValueError as exc:
        raise HTTPException(400, f"state: expected one of {', '.join(JobState)}") from exc
    limit = query.get("limit", str(DEFAULT_PAGE))
    if not re.fullmatch(r"[0-9]{1,9}", limit):
        raise HTTPException(400, "limit: expected a number")
    with _refused_with_400():
        page = await api.queue.page(
            owner=access.owner,
            states=states,
            metadata=metadata,
            cursor=query.get("cursor"),
            limit=int(limit),
        )
    base = base_url(request, 1)
    jobs = [JobDocument.of(job, base) for job in page.jobs]
    return await to_thread.run_sync(json_response, JobListDocument(jobs=jobs, next=page.next))


async def read_job(api: JobApi, request: Request, access: Access) -> Response:
    """Return the state of a job."""
    return json_response(JobDocument.of(await api.find_job(request, access), base_url(request, 2)))


async def cancel_job(api: JobApi, request: Request, access: Access) -> Response:
    """Cancel a job."""
    job = await api.queue.cancel((await api.find_job(request, access)).id)
    return json_response(JobDocument.of(job, base_url(request, 3)), 202)


async def delete_job(api: JobApi, request: Request, access: Access) -> Response:
    """Delete a finished job with its videos."""
    await api.queue.remove((await api.find_job(request, access)).id)
    return Response(status_code=204)


async def read_report(api: JobApi, request: Request, access: Access) -> Response:
    """Return the report of a finished job, with its metadata."""
    job = await api.find_job(request, access)
    report = await api.queue.report(job.id)
    if report is None:
        reason = (
            "its run did not start" if job.state.finished else f"it is {job.state}; try again later"
        )
        raise HTTPException(404, f"the job has no report: {reason}")
    # The report of 1,000 scenes is some hundred kB of JSON.
    return await to_thread.run_sync(JSONResponse, {"metadata": job.metadata, **report})


async def read_events(api: JobApi, request: Request, access: Access) -> Response:
    """Stream the events of a job, from the beginning or after a number."""
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    api.streams.check(access.owner)
    job = await api.find_job(request, access)
    # A browser that connects again repeats the query, and adds the header.
    text = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    if not _EVENT_NUMBER.fullmatch(text) or (after := int(text)) > job.last_event:
        expected = f"the number of an event, at most {job.last_event}"
        raise HTTPException(400, f"the last event is {short_repr(text)}; expected {expected}")
    if job.state.finished and after == job.last_event:
        return Response(status_code=204)  # browsers do not connect again
    return EventStreamResponse(_open_stream(api, job, after), stop=api.stopping)


@asynccontextmanager
async def _open_stream(api: JobApi, job: Job, after: int) -> AsyncGenerator[AsyncIterator[bytes]]:
    with api.streams.entered(job.owner):
        async with aclosing(api.queue.events(job.id, after=after)) as news:
            yield _FormattedNews(job, news)


class _FormattedNews:
    """Iterator over the events of a job, as they are sent."""

    def __init__(self, job: Job, news: AsyncIterator[JobNews]) -> None:
        self._job = job
        self._news = news

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            news = await anext(self._news)
        except UnknownJobError:  # it was deleted meanwhile
            raise StopAsyncIteration from None
        if isinstance(news, JobProgress):
            return format_event(news.type, {"job": self._job.id, **news.model_dump(mode="json")})
        data: dict[str, Any] = {
            "job": self._job.id,
            **news.model_dump(mode="json", exclude={"data"}),
        }
        if news.type.startswith("job."):
            data["metadata"] = self._job.metadata
        return format_event(news.type, {**data, **news.data}, news.number)


@contextmanager
def _refused_with_400() -> Generator[None]:
    """Turn the error about an invalid value of a request into `HTTPException` 400."""
    try:
        yield
    except ConfigurationError as exc:
        raise HTTPException(400, str(exc)) from exc


def json_response(document: BaseModel, status: int = 200) -> JSONResponse:
    """Return a response with a JSON document."""
    return JSONResponse(document.model_dump(mode="json"), status)

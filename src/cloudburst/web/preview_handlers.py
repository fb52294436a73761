"""Responses of the routes of `Jobs` to requests about scenes before they are a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from pydantic import Field
from starlette.responses import Response

from cloudburst.client.backends import on_spot
from cloudburst.client.planning import (
    PlannedRun,
    PlannedScene,
    PlanResult,
    check_possible,
    plan,
)
from cloudburst.client.preview import render_frame
from cloudburst.errors import InvalidScenesError
from cloudburst.jobs import JobRequest
from cloudburst.jobs.models import CheckedRequest
from cloudburst.jobs.public_json import public_faults
from cloudburst.web.access import Action
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import (
    BINARY,
    SUBMIT_ERRORS,
    Document,
    FaultDocument,
    job_body,
    json_response,
    model_body,
)
from cloudburst.web.submission_checks import check_submission
from cloudburst.web.submissions import link_files, read_object, receiving


class PlanDocument(Document):
    """Forecast of a job, of which nothing is started."""

    scenes: tuple[PlannedScene, ...]
    """Scenes without faults, in their order."""
    faults: list[FaultDocument]
    """Problems of the other scenes, of the options and of the job, at most 100."""
    plans: tuple[PlannedRun, ...]
    """Plans for the scenes without faults, at most eight, the slowest first: the proposed one, the
    best one at each place, and plans that no other plan beats in both time and cost."""
    film_seconds: float | None
    """Length of the film, in seconds; null if none is requested."""


@Operation(
    "POST",
    "/plan",
    Action.SUBMIT,
    {
        200: PlanDocument,
        503: "The job was not checked in time. `Retry-After` has the seconds to wait.",
        **SUBMIT_ERRORS,
    },
    body=job_body,
)
async def plan_job(call: WebCall) -> Response:
    """Predict how long a job would take and what it would cost, and list its problems.

    The body is that of a new job; nothing is started or kept. Scenes without faults are planned
    although others have some. Terms of the job, such as `place`, `tier` and `max_usd`, bound the
    plans. Figures are those of earlier jobs on this server, or assumed.
    """
    with call.api.transfers.entered(call.owner):
        async with call.queue.receive() as draft:
            job, files, _ = await read_object(call.request, draft, call.rules())
            named = await link_files(job, files, draft, call.queue.uploads, call.rules())
            predict = partial(_forecast, call, job, named)
            result = await call.api.plans.run(call.request, object(), predict)
    found = InvalidScenesError(faults=result.faults)
    faults = [FaultDocument.model_validate(fault) for fault in public_faults(found)[1]]
    planned = {name: getattr(result, name) for name in ("scenes", "plans", "film_seconds")}
    return json_response(PlanDocument(faults=faults, **planned))


async def _forecast(call: WebCall, job: dict[str, Any], files: Mapping[str, Path]) -> PlanResult:
    def check(scenes: Sequence[Any]) -> JobRequest:
        made = check_submission({**job, "scenes": scenes}, files, call.rules())
        call.queue.places.check(made)
        return made

    listed: Any = job.get("scenes") if isinstance(job.get("scenes"), list) else []
    made, faults = await to_thread.run_sync(check_possible, listed, check)
    if made is None:
        return PlanResult(faults=tuple(faults))
    client, places = call.api.client, call.queue.places
    compared = [each for each in (places.machine, places.fargate) if each] or client.backends
    if made.place is not None:
        compared = places.backends(made.place)
    if made.spot is not None:
        compared = [on_spot(each, spot=made.spot) for each in compared]
    result = await plan(
        made.scenes,
        backend=compared,
        options=made.options or client.options,
        tier=made.tier,
        workers=made.workers or places.workers,
        limits=replace(
            client.limits,
            workers=made.workers or client.limits.workers,
            deadline=made.deadline,
            max_usd=made.max_usd,  # not that of the server: a plan need not use all of it
        ),
        settings=client.settings,
        film=made.film_location(Path("film.mp4"), "film.mp4"),
        **made.film_options,
    )
    return replace(result, faults=(*faults, *result.faults))


class FrameRequest(CheckedRequest):
    """Frame of the video of one scene."""

    scene: dict[str, Any]
    """Scene, as in a job."""
    at: float = 0.0
    """Time in the video, in seconds."""
    options: dict[str, Any] | None = None
    """Options of the video, as in a job; null: those of the server."""
    width: Annotated[int, Field(ge=160, le=1920)] = 640
    """Width in pixels to which a wider picture is reduced."""


@Operation(
    "POST",
    "/frame",
    Action.SUBMIT,
    {
        200: {"image/jpeg": BINARY},
        409: "A newer request of the caller has taken the place of this one.",
        503: "The frame was not drawn in time. `Retry-After` has the seconds to wait.",
        **SUBMIT_ERRORS,
    },
    body=partial(model_body, FrameRequest),
)
async def draw_frame(call: WebCall) -> Response:
    """Draw one frame of the video of a scene, and return it as a JPEG picture.

    The body is JSON, or a form with JSON and files, as for a new job. A newer request of the same
    caller ends this one, and so does a closed connection.
    """
    client, rules = call.api.client, call.rules()
    async with call.queue.receive() as draft:
        with receiving(call):
            fields, files, _ = await read_object(call.request, draft, rules)
            frame = FrameRequest(**fields)
            job = {"scenes": [frame.scene], "options": frame.options}
            named = await link_files(job, files, draft, call.queue.uploads, rules)
            made = await to_thread.run_sync(check_submission, job, named, rules)
        draw = partial(
            render_frame,
            *(made.scenes[0], frame.at),
            options=made.options or client.options,
            jpeg=True,
            width=frame.width,
            limits=client.limits,
            settings=client.settings,
        )
        picture = await call.api.frames.run(call.request, call.owner, draw)
    return Response(picture, media_type="image/jpeg")

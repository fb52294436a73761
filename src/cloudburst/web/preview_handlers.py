"""Responses of the routes of `Jobs` to requests about scenes before they are a job."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from pydantic import ConfigDict, Field, ValidationError
from starlette.responses import Response

from cloudburst.client.preview import render_frame
from cloudburst.errors import InvalidScenesError
from cloudburst.jobs.models import field_fault
from cloudburst.web.access import Action
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import BINARY, SUBMIT_ERRORS, Document, model_body
from cloudburst.web.submission_checks import check_submission
from cloudburst.web.submissions import link_files, read_object, receiving


class FrameRequest(Document):
    """Frame of the video of one scene."""

    model_config = ConfigDict(extra="forbid")

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
            try:
                frame = FrameRequest.model_validate(fields)
            except ValidationError as exc:
                faults = [field_fault(error, FrameRequest) for error in exc.errors()]
                raise InvalidScenesError(faults=faults) from exc
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

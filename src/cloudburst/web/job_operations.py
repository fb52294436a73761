"""Table of the operations of `Jobs`, from which the routes of all frameworks are made."""

from __future__ import annotations

from cloudburst.jobs import JobState
from cloudburst.jobs.models import DEFAULT_PAGE, MAX_KEY_CHARS, MAX_PAGE
from cloudburst.web import file_handlers, job_handlers
from cloudburst.web.access import Action
from cloudburst.web.job_documents import (
    JobDocument,
    JobListDocument,
    UploadDocument,
    VideoListDocument,
)
from cloudburst.web.openapi_schemas import file_body, job_body
from cloudburst.web.operations import Operation, Parameter

_ID = Parameter(
    name="id",
    place="path",
    description="Identifier of the job.",
    schema={"type": "string", "pattern": "^[0-9a-f]{32}$"},
)
_UNKNOWN_JOB = {404: "There is no such job, or it has another owner."}
_LIMITS = {
    429: "A limit of the caller is reached. `Retry-After` has the seconds to wait.",
    507: "The server has no room for more files now.",
}
_BODY_ERRORS = {408: "The body arrives too slowly.", 413: "The request is too large.", **_LIMITS}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE_STATUSES = {
    206: "The requested part of the file (`Range`).",
    307: (
        "The file is in S3, at the URL in `Location`. It is valid for at most an hour and for the "
        "method of this request, and anyone who has it gets the file."
    ),
    304: "The caller has the file already (`If-None-Match`).",
    416: "The requested part does not exist.",
    503: "The server cannot look at the file in S3 now. `Retry-After` has the seconds to wait.",
}
_DOWNLOAD = Parameter(
    name="download",
    place="query",
    description="If present, browsers save the file and do not play it.",
    schema={"type": "string"},
)

OPERATIONS = (
    Operation(
        name="submit_job",
        handler=job_handlers.submit_job,
        method="POST",
        path="/jobs",
        action=Action.SUBMIT,
        summary="Submit a job",
        description=(
            "Queues the scenes, as JSON or as a form with files, and returns at once. The files of "
            "a form belong to this job only; files for several jobs are uploaded first."
        ),
        status=202,
        document=JobDocument,
        parameters=(
            Parameter(
                name="Idempotency-Key",
                place="header",
                description=(
                    "Text of printable ASCII characters. A repeated request with the same key "
                    "returns the same job."
                ),
                schema={"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS},
            ),
        ),
        body=job_body(),
        errors={
            400: "The job is invalid. Each problem has scene, field, found and expected.",
            409: "Another request had the same idempotency key.",
            415: "The body is neither JSON nor a form.",
            **_BODY_ERRORS,
        },
    ),
    Operation(
        name="list_jobs",
        handler=job_handlers.list_jobs,
        method="GET",
        path="/jobs",
        action=Action.READ,
        summary="List jobs",
        description=(
            "Returns the caller's jobs, the newest first. The parameter `metadata.KEY=VALUE` "
            "selects those whose metadata has this text or number under this key."
        ),
        status=200,
        document=JobListDocument,
        parameters=(
            Parameter(
                name="state",
                place="query",
                description="State of the jobs; may be repeated.",
                schema={"type": "array", "items": {"type": "string", "enum": list(JobState)}},
            ),
            Parameter(
                name="limit",
                place="query",
                description="Maximum number of jobs in this part.",
                schema={
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_PAGE,
                    "default": DEFAULT_PAGE,
                },
            ),
            Parameter(
                name="cursor",
                place="query",
                description="Field `next` of the part before.",
                schema={"type": "string"},
            ),
        ),
        errors={400: "A parameter is invalid."},
    ),
    Operation(
        name="read_job",
        handler=job_handlers.read_job,
        method="GET",
        path="/jobs/{id}",
        action=Action.READ,
        summary="Read the state of a job",
        description="Returns state, progress, bill and links of a job.",
        status=200,
        document=JobDocument,
        parameters=(_ID,),
        errors=_UNKNOWN_JOB,
    ),
    Operation(
        name="cancel_job",
        handler=job_handlers.cancel_job,
        method="POST",
        path="/jobs/{id}/cancel",
        action=Action.CANCEL,
        summary="Cancel a job",
        description=(
            "Requests the end of a job; it ends when its tasks are stopped. Finished videos are "
            "kept. A finished job does not change."
        ),
        status=202,
        document=JobDocument,
        parameters=(_ID,),
        errors=_UNKNOWN_JOB,
    ),
    Operation(
        name="delete_job",
        handler=job_handlers.delete_job,
        method="DELETE",
        path="/jobs/{id}",
        action=Action.DELETE,
        summary="Delete a finished job",
        description="Deletes a job with its events, its report and the videos on this server.",
        status=204,
        parameters=(_ID,),
        errors={**_UNKNOWN_JOB, 409: "The job is not finished; cancel it first."},
    ),
    Operation(
        name="read_events",
        handler=job_handlers.read_events,
        method="GET",
        path="/jobs/{id}/events",
        action=Action.READ,
        summary="Follow the events of a job",
        description=(
            "Server-sent events until the job is finished; then `job.finished`. "
            "A closed connection does not cancel the job. Events have numbers without gaps "
            "(`id`); progress of scenes (`scene.progress`) has none and comes at most twice a "
            "second. A browser that connects again gets the events that it has missed."
        ),
        status=200,
        content={"text/event-stream": {"schema": {"type": "string"}}},
        parameters=(
            _ID,
            Parameter(
                name="Last-Event-ID",
                place="header",
                description="Number of the last event that was received; browsers send it.",
                schema={"type": "integer", "minimum": 0},
            ),
            Parameter(
                name="after",
                place="query",
                description="The same number, for callers that cannot send the header.",
                schema={"type": "integer", "minimum": 0, "default": 0},
            ),
        ),
        errors={
            204: "The job is finished, and the caller has all events: do not connect again.",
            400: "There is no event with this number.",
            **_UNKNOWN_JOB,
            429: "Too many event streams of the caller are open.",
        },
    ),
    Operation(
        name="read_report",
        handler=job_handlers.read_report,
        method="GET",
        path="/jobs/{id}/report",
        action=Action.READ,
        summary="Read the report of a finished job",
        description=(
            "Returns an entry for each scene and each worker, the bill, and the metadata."
        ),
        status=200,
        content={"application/json": {"schema": {"type": "object"}}},
        parameters=(_ID,),
        errors={404: "There is no such job, or it has no report yet."},
    ),
    Operation(
        name="list_videos",
        handler=file_handlers.list_videos,
        method="GET",
        path="/jobs/{id}/videos",
        action=Action.READ,
        summary="List the finished videos of a job",
        description="Returns URL, size, length and warnings of each video that is finished by now.",
        status=200,
        document=VideoListDocument,
        parameters=(_ID,),
        errors=_UNKNOWN_JOB,
    ),
    Operation(
        name="read_video",
        handler=file_handlers.read_video,
        method="GET",
        path="/jobs/{id}/videos/{name}",
        action=Action.READ,
        summary="Play or download a video or its cover",
        description="Sends a finished video (`NAME.mp4`) or its cover (`NAME.jpg`), or a part.",
        status=200,
        content={"video/mp4": _BINARY, "image/jpeg": _BINARY},
        parameters=(
            _ID,
            Parameter(
                name="name",
                place="path",
                description="Name of the scene, with .mp4 or .jpg.",
                schema={"type": "string"},
            ),
            _DOWNLOAD,
        ),
        errors={404: "There is no such job or video; or it was deleted.", **_FILE_STATUSES},
    ),
    Operation(
        name="read_film",
        handler=file_handlers.read_film,
        method="GET",
        path="/jobs/{id}/film",
        action=Action.READ,
        summary="Play or download the film of a job",
        description="Sends the film in which all videos are joined, or a part of it.",
        status=200,
        content={"video/mp4": _BINARY},
        parameters=(_ID, _DOWNLOAD),
        errors={404: "There is no such job, or it has no film now.", **_FILE_STATUSES},
    ),
    Operation(
        name="store_upload",
        handler=file_handlers.store_upload,
        method="POST",
        path="/uploads",
        action=Action.UPLOAD,
        summary="Upload a file for later jobs",
        description=(
            "Stores the body of the request. The returned identifier may stand for a file in the "
            "scenes of any number of jobs."
        ),
        status=201,
        document=UploadDocument,
        body=file_body(),
        errors=_BODY_ERRORS,
    ),
    Operation(
        name="delete_upload",
        handler=file_handlers.delete_upload,
        method="DELETE",
        path="/uploads/{id}",
        action=Action.UPLOAD,
        summary="Delete an upload",
        description="Deletes an uploaded file. Jobs that were submitted with it keep the file.",
        status=204,
        parameters=(
            Parameter(
                name="id",
                place="path",
                description="Identifier of the upload.",
                schema={"type": "string"},
            ),
        ),
        errors={404: "There is no such upload, or it has another owner."},
    ),
)
"""All operations. The path of each is below the one at which the routes are mounted."""

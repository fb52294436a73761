"""OpenAPI schemas of what the routes of `Jobs` receive, without references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from pydantic import BaseModel

from cloudburst.jobs import JobRequest
from cloudburst.models.options import RenderOptions
from cloudburst.web.forms import FORM_FIELD

UNKNOWN_JOB = {404: "There is no such job, or it has another owner."}
BODY_ERRORS = {
    408: "The body arrives too slowly.",
    413: "The request is too large.",
    429: "A limit of the caller is reached. `Retry-After` has the seconds to wait.",
    507: "The server has no room for more files now.",
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
_SCENE = (
    "Picture, audio or duration in seconds, and optional subtitles: one video. A file is the "
    "identifier of an upload, the name of a file of the form, an https:// URL, or an s3:// object "
    "in a permitted folder."
)
_EXAMPLE = {
    "scenes": [
        {
            "name": "intro",
            "image": "https://example.com/intro.jpg",
            "audio": "https://example.com/intro.mp3",
        }
    ],
    "options": {"size": "1080p", "effects": ["zoom_in"]},
    "metadata": {"order": 17},
}
"""Job that the page ``/docs`` proposes for a first request."""


def job_body() -> dict[str, Any]:
    """Return the description of the body of a request that submits a job."""
    job = schema_of(JobRequest)
    job["properties"]["scenes"]["items"]["description"] = _SCENE
    job["properties"]["scenes"]["items"]["properties"]["options"] = schema_of(RenderOptions)
    form = {
        "type": "object",
        "required": [FORM_FIELD],
        "properties": {
            FORM_FIELD: {
                "type": "string",
                "description": "The job, as JSON.",
                "example": json.dumps(_EXAMPLE),
            },
            "files": {
                "type": "array",
                "items": BINARY["schema"],
                "description": "Files, which scenes name by their file names.",
            },
        },
    }
    return {
        "required": True,
        "content": {
            "application/json": {"schema": job, "example": _EXAMPLE},
            "multipart/form-data": {"schema": form},
        },
    }


def file_body() -> dict[str, Any]:
    """Return the description of the body of a request that uploads a file."""
    return {"required": True, "content": {"application/octet-stream": BINARY}}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model with definitions in place of the references to them."""
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})

    def inline(value: Any) -> Any:
        match value:
            case {"$ref": str(reference), **others}:
                return inline({**definitions[reference.rpartition("/")[2]], **others})
            case dict():
                fields = cast("dict[str, Any]", value)
                return {name: inline(item) for name, item in fields.items() if name != "default"}
            case list():
                return [inline(item) for item in cast("Sequence[Any]", value)]
            case _:
                return value

    inlined: dict[str, Any] = inline(schema)
    return inlined

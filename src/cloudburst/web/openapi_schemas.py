"""OpenAPI schemas of what the routes of `Jobs` receive, without references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

from cloudburst.jobs import JobRequest
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.web.submissions import FORM_FIELD

_DESCRIPTIONS = {
    "scenes": "Scenes of the job.",
    "options": "Options of all scenes; null: those of the server.",
    "to": "Folder in S3 for the videos, if the server permits it; null: the server keeps them.",
    "film": "True if the videos are joined to a film.",
    "transition": "How one scene of the film changes to the next.",
    "transition_seconds": "Length of a transition, in seconds.",
    "metadata": "JSON object of at most 4 KiB and 32 keys, which is returned with the job.",
    "webhook": "URL to which the events of the job are sent, if the server permits it.",
}
_FILE = (
    "Identifier of an upload, name of a file of the form, https:// URL, or s3:// object in a "
    "permitted folder"
)
_SCENE_DESCRIPTIONS = {
    "name": "Name of the scene, unique within the job; also the name of the video.",
    "image": f"Picture. {_FILE}.",
    "audio": f"Audio, whose length is that of the video. {_FILE}; null: `duration` is given.",
    "duration": "Length of the video in seconds, for a scene without audio.",
    "subtitle": f"Subtitles. {_FILE}; null: no subtitles.",
    "options": "Options that differ from those of the job.",
}
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
_FORM_EXAMPLE = {"scenes": [{"name": "intro", "image": "intro.jpg", "audio": "intro.mp3"}]}


def job_body() -> dict[str, Any]:
    """Return the description of the body of a request that submits a job."""
    options = _schema_of(RenderOptions)
    options["description"] = "Appearance of the videos. Files are named as in scenes."
    scene = _schema_of(Scene)
    scene["description"] = "Picture, audio or duration, and optional subtitles: one video."
    _describe(scene, _SCENE_DESCRIPTIONS)
    scene["properties"]["options"] = options
    job = _schema_of(JobRequest)
    job["description"] = "Scenes that are rendered in one run, and what belongs to them."
    _describe(job, _DESCRIPTIONS)
    job["properties"]["scenes"]["items"] = scene
    job["properties"]["options"]["anyOf"] = [options, {"type": "null"}]
    form = {
        "type": "object",
        "required": [FORM_FIELD],
        "properties": {
            FORM_FIELD: {
                "type": "string",
                "description": "The job, as JSON.",
                "example": json.dumps(_FORM_EXAMPLE),
            },
            "files": {
                "type": "array",
                "items": {"type": "string", "format": "binary"},
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
    schema = {"type": "string", "format": "binary"}
    return {"required": True, "content": {"application/octet-stream": {"schema": schema}}}


def _describe(schema: dict[str, Any], descriptions: Mapping[str, str]) -> None:
    for name, text in descriptions.items():
        schema["properties"][name] |= {"description": text}


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model with definitions in place of the references to them."""
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})

    def inline(value: Any) -> Any:
        match value:
            case {"$ref": str(reference), **others}:
                definition = definitions[reference.rpartition("/")[2]]
                return inline({**definition, **cast("dict[str, Any]", others)})
            case dict():
                fields = cast("dict[str, Any]", value)
                return {name: inline(item) for name, item in fields.items() if name != "default"}
            case list():
                return [inline(item) for item in cast("Sequence[Any]", value)]
            case _:
                return value

    return cast("dict[str, Any]", inline(schema))

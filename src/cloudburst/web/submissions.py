"""Submissions of jobs: JSON or forms, in which no file of the server can be named."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from anyio import to_thread
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.jobs import JobDraft, JobRequest, StoredUploads
from cloudburst.jobs.folder import FILM_NAME
from cloudburst.models.film import FilmRequest
from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.locations import (
    AnyLocation,
    HttpsUrl,
    S3Object,
    is_s3,
    is_url,
    parse_https_url,
    parse_s3_object,
)
from cloudburst.models.options import RenderOptions, describe_option_error
from cloudburst.models.scene import Scene
from cloudburst.preflight import parse_scenes
from cloudburst.text import short_repr
from cloudburst.web.access import Folders
from cloudburst.web.forms import read_form
from cloudburst.web.request_bodies import limited_body, read_body
from cloudburst.web.request_limits import RequestLimits
from cloudburst.web.scene_files import locate_files
from cloudburst.webhooks.definitions import Webhooks

FORM_FIELD = "job"
"""Form field with the JSON of a job."""
BYTES_PER_CHECK = 16_000_000
"""Number of bytes of a form after which the limits of the owner are checked again."""
SMALL_BYTES = 100_000
"""Largest size of a body in bytes that does not count as a transfer: JSON of about 500 scenes."""
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_EXPECTED_FILE = (
    "the identifier of an upload, the name of a file of the form, an https:// URL, or an s3:// "
    "object in a permitted folder"
)
_EXPECTED_FOLDER = "a permitted folder in S3, as s3:// URL, or null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Job of a request, which is checked."""

    request: JobRequest
    sha256: str
    """SHA-256 of the request with its files, by which a repeated request is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRules:
    """Rules for the submissions of one owner."""

    owner: str
    sources: Folders
    """Folders in S3 from which scenes may use files."""
    destinations: Folders
    """Folders in S3 to which videos may be written."""
    limits: RequestLimits
    webhooks: Webhooks
    """Webhooks of the app, which decide what URL a job may name."""


async def read_submission(
    request: Request, draft: JobDraft, uploads: StoredUploads, rules: SubmissionRules
) -> Submission:
    """Return the job of a request. Its files are written, or linked, into the folder of the draft.

    Raises:
        HTTPException: Status 400, 413, 415 or 507, with the reason in its detail.
        InvalidScenesError: The job is invalid; the error lists every problem.
        JobLimitError: The files would exceed a limit.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    files: Mapping[str, Path] = {}
    if kind == b"application/json":
        text = await read_body(request, rules.limits.json_bytes)
    elif kind == b"multipart/form-data" and (boundary := options.get(b"boundary")):
        form = await read_form(
            _checked_body(request, draft, rules),
            boundary,
            field_name=FORM_FIELD,
            folder=draft.inputs,
            max_field_bytes=rules.limits.json_bytes,
            max_files=rules.limits.files,
        )
        text, files = form.text, form.files
    else:
        raise HTTPException(415, "expected application/json or multipart/form-data")
    job, sha256 = await to_thread.run_sync(_parse, text, files)
    names = _upload_names(job) - files.keys()
    found = [(name, await uploads.find(name, owner=rules.owner)) for name in names]
    stored = {name: path for name, path in found if path is not None}
    locations = {**files} | await to_thread.run_sync(_link, stored, draft.inputs)
    built = await to_thread.run_sync(_build, job, locations, rules)
    return Submission(request=built, sha256=sha256)


def is_large(request: Request) -> bool:
    """Return whether the body of a request may be large, so that few are received at once."""
    is_form = parse_options_header(request.headers.get("content-type"))[0] == b"multipart/form-data"
    announced = request.headers.get("content-length", "")
    return is_form or not announced.isdecimal() or int(announced) > SMALL_BYTES


async def _checked_body(
    request: Request, draft: JobDraft, rules: SubmissionRules
) -> AsyncIterator[bytes]:
    announced = request.headers.get("content-length", "0")
    size, checked = (
        0,
        min(int(announced), rules.limits.request_bytes) if announced.isdecimal() else 0,
    )
    await draft.check_room(rules.owner, checked)
    async for chunk in limited_body(request, rules.limits.request_bytes):
        size += len(chunk)
        if size >= checked + BYTES_PER_CHECK:
            checked = size
            await draft.check_room(rules.owner, checked)
        yield chunk


def _parse(text: bytes, files: Mapping[str, Path]) -> tuple[dict[str, Any], str]:
    """Return the JSON object of a submission, and the SHA-256 of it and the files."""
    try:
        job: Any = json.loads(text)
        # Responses repeat metadata: texts that are not Unicode, and NaN, would break them.
        canonical = json.dumps(job, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise HTTPException(
            400, "invalid JSON; expected an object with the scenes of a job"
        ) from exc
    if not isinstance(job, dict):
        raise HTTPException(400, "expected a JSON object with the scenes of a job")
    digest = hashlib.sha256(canonical)
    for name in sorted(files):
        with files[name].open("rb") as file:
            digest.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return cast("dict[str, Any]", job), digest.hexdigest()


def _upload_names(job: Mapping[str, Any]) -> set[str]:
    """Return the texts in scenes and options that may be identifiers of uploads."""
    scenes: object = job.get("scenes")
    parts = [
        job.get("options"),
        *(cast("list[object]", scenes) if isinstance(scenes, list) else ()),
    ]
    mappings = [cast("dict[str, object]", part) for part in parts if isinstance(part, dict)]
    mappings += [
        cast("dict[str, object]", options)
        for part in mappings
        if isinstance(options := part.get("options"), dict)
    ]
    return {
        value
        for fields in mappings
        for value in fields.values()
        if isinstance(value, str) and _UPLOAD.fullmatch(value)
    }


def _link(stored: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Link uploads into a folder, so that they can be removed meanwhile; return the links."""
    links = dict[str, Path]()
    for name, path in stored.items():
        link = folder / f"upload-{path.name}"
        try:
            os.link(path, link)
        except FileNotFoundError:  # removed meanwhile
            continue
        links[name] = link
    return links


def _build(job: dict[str, Any], files: Mapping[str, Path], rules: SubmissionRules) -> JobRequest:
    """Return the job that a JSON object describes. Raises `InvalidScenesError`."""

    def locate(name: str) -> AnyLocation:
        return files[name] if name in files else _remote_file(name, rules.sources)

    scenes, raw_options = _scenes_and_options(job, rules.limits)
    located, located_options = locate_files(scenes, raw_options, locate)
    options = _parse_options(located_options)
    parsed = parse_scenes(located, options)
    _require_permitted([*parsed, options], set(files.values()), rules.sources)
    fields = job | {"scenes": parsed, "options": options if raw_options else None}
    try:
        request = JobRequest.model_validate(fields)
    except ValidationError as exc:
        raise InvalidScenesError(faults=[_field_fault(error) for error in exc.errors()]) from exc
    if faults := list(_job_faults(request, rules)):
        raise InvalidScenesError(faults=faults)
    return request


def _scenes_and_options(
    job: Mapping[str, Any], limits: RequestLimits
) -> tuple[list[Any], dict[str, Any]]:
    scenes, options = cast("Sequence[Any] | None", job.get("scenes")), job.get("options")
    faults = list[SceneFault]()
    if not isinstance(scenes, list) or not scenes:
        faults.append(_job_fault("scenes", short_repr(scenes), "a list with at least one scene"))
    elif (number := len(scenes)) > limits.scenes:
        faults.append(_job_fault("scenes", f"{number:,} scenes", f"at most {limits.scenes:,}"))
    if not isinstance(options, dict | None):
        expected = "an object with the options of all scenes"
        faults.append(_job_fault("options", short_repr(options), expected))
    if faults:
        raise InvalidScenesError(faults=faults)
    return list(scenes or ()), cast("dict[str, Any]", options or {})


def _remote_file(name: str, sources: Folders) -> S3Object | HttpsUrl:
    """Return the file in S3 or on a web server that may be used under this name."""
    try:
        if is_s3(name):
            location = parse_s3_object(name)
            if sources.contain(location):
                return location
            raise InvalidInputError("an object in S3 that is not permitted", _EXPECTED_FILE)
        if is_url(name):
            return parse_https_url(name)
    except ValueError as exc:
        raise InvalidInputError(str(exc).partition("; expected ")[0], _EXPECTED_FILE) from exc
    raise InvalidInputError("no such upload", _EXPECTED_FILE)


def _parse_options(options: Mapping[str, Any]) -> RenderOptions:
    try:
        return RenderOptions.model_validate(options)
    except ValidationError as exc:
        described = dict.fromkeys(map(describe_option_error, exc.errors()))
        faults = [
            _job_fault(f"options.{name}" if name else "options", found, expected)
            for name, found, expected in described
        ]
        raise InvalidScenesError(faults=faults) from exc


def _require_permitted(
    parts: Sequence[Scene | RenderOptions], files: AbstractSet[Path], sources: Folders
) -> None:
    """Raise `InvalidScenesError` if a scene or the options name a file that is not permitted.

    `locate_files` has replaced all names of files. This is a second check, of what the run uses.
    """
    for part in parts:
        own = part.options.files() if isinstance(part, Scene) else {}
        for name, location in [*part.files().items(), *own.items()]:
            permitted = (
                location in files
                if isinstance(location, Path)
                else not isinstance(location, S3Object) or sources.contain(location)
            )
            if not permitted:
                raise InvalidScenesError(faults=[_job_fault(name, "not permitted", _EXPECTED_FILE)])


def _field_fault(error: ErrorDetails) -> SceneFault:
    """Return the fault for an invalid field of a job."""
    field = ".".join(map(str, error["loc"]))
    text = error["msg"].removeprefix("Value error, ")
    found, parted, expected = text.partition("; expected ")
    if error["type"] == "extra_forbidden":
        return _job_fault(field, "an unknown field", f"one of {', '.join(JobRequest.model_fields)}")
    if field == "to":
        return _job_fault(field, found, _EXPECTED_FOLDER)
    if parted:
        return _job_fault(field, found, expected)
    return _job_fault(field, short_repr(error["input"]), text.removeprefix("Input should be "))


def _job_faults(request: JobRequest, rules: SubmissionRules) -> Iterator[SceneFault]:
    """Yield the faults that fields of a job have together, or that the rules forbid."""
    if request.film:
        film = FilmRequest(
            path=Path(FILM_NAME),
            transition=request.transition,
            transition_seconds=request.transition_seconds,
        )
        for text in film.faults():
            field, _, rest = text.partition(": ")
            found, _, expected = rest.partition("; expected ")
            yield _job_fault(field, found, expected)
    elif request.transition != "cut":
        yield _job_fault("transition", request.transition, "film: true, whose scenes it joins")
    if request.to is not None and not rules.destinations.contain(request.to):
        yield _job_fault(
            "to", "a folder that is not permitted", "a permitted folder in S3, or null"
        )
    if request.webhook is not None:
        try:
            rules.webhooks.check_job_url(request.webhook)
        except ConfigurationError as exc:
            found = str(exc).partition("; expected ")[0]
            yield _job_fault("webhook", found, "the https:// URL of a public server, or null")


def _job_fault(field: str, found: str, expected: str) -> SceneFault:
    return SceneFault("", field, found, expected)

"""Checks of the JSON of a job, which must name no file of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.jobs import JobRequest
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
from cloudburst.web.bounded_json import MAX_FAULTS
from cloudburst.web.request_limits import RequestLimits
from cloudburst.web.scene_files import locate_files
from cloudburst.webhooks.definitions import Webhooks

_UPLOAD = re.compile(r"[0-9a-f]{32}")
_EXPECTED_FILE = (
    "the identifier of an upload, the name of a file of the form, an https:// URL, or an s3:// "
    "object in a permitted folder"
)


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


def upload_names(job: Mapping[str, Any], limits: RequestLimits) -> set[str]:
    """Return the names of files in scenes and options that may be identifiers of uploads.

    A job with too many scenes has none. Other texts are not searched for: there may be 100,000.
    """
    names = set[str]()

    def note(name: str) -> Path:
        if _UPLOAD.fullmatch(name):
            names.add(name)
        return Path(name)

    with suppress(InvalidScenesError):  # `check_submission` reports all faults at once
        locate_files(*_scenes_and_options(job, limits), note)
    return names


def check_submission(
    job: dict[str, Any], files: Mapping[str, Path], rules: SubmissionRules
) -> JobRequest:
    """Return the job that a JSON object describes. Raises `InvalidScenesError`."""

    def locate(name: str) -> AnyLocation:
        return files[name] if name in files else _remote_file(name, rules.sources)

    scenes, raw_options = _scenes_and_options(job, rules.limits)
    located, located_options = locate_files(scenes, raw_options, locate)
    options = _parse_options(located_options)
    parsed = parse_scenes(located, options, max_faults=MAX_FAULTS)
    _require_permitted([*parsed, options], set(files.values()), rules.sources)
    fields: dict[str, Any] = job | {"scenes": parsed, "options": options if raw_options else None}
    request = JobRequest(**fields)
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


def _job_faults(request: JobRequest, rules: SubmissionRules) -> Iterator[SceneFault]:
    """Yield a fault for each field that does not fit another one, or that the rules forbid."""
    if request.transition != "cut" and not request.film:
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

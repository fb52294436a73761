"""Checks of the JSON of a job, which must name no file of the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, cast

from pydantic import ValidationError

from cloudburst.errors import ConfigurationError, FaultCode, InvalidScenesError, SceneFault
from cloudburst.inputs.preflight import parse_scenes
from cloudburst.jobs import JobChanges, JobDraft, JobRequest
from cloudburst.jobs.models import MAX_FAULTS
from cloudburst.jobs.webhooks.definitions import Webhooks
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.film import FILM_FILES
from cloudburst.models.locations import (
    AnyLocation,
    HttpsUrl,
    S3Object,
    is_s3,
    is_url,
    local_paths,
    parse_https_url,
    parse_s3_object,
)
from cloudburst.models.options import (
    RenderOptions,
    describe_option_error,
    is_option_file,
    split_fonts,
)
from cloudburst.models.scene import Scene
from cloudburst.text import printable_line, short_repr
from cloudburst.web.access import Folders
from cloudburst.web.request_limits import RequestLimits

# Function that returns the location for a name in a request. It raises `InvalidInputError` if the
# name must not, or cannot, be used.
Locate: TypeAlias = Callable[[str], AnyLocation]

# Fields of a scene that contain the name of a file.
_FILES = ("image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path")
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_EXPECTED_FILE = (
    "the identifier of an upload, the name of a file of the form, an https:// URL, or an s3:// "
    "object in a permitted folder"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRules:
    """Rules for the submissions of one owner."""

    owner: str
    # Folders in S3 from which scenes may use files.
    sources: Folders
    # Folders in S3 to which videos may be written.
    destinations: Folders
    limits: RequestLimits
    # Webhooks of the app, which decide what URL a job may name.
    webhooks: Webhooks


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
        locate_files(job, *_scenes_and_options(job, limits), note)
    return names


def check_submission(
    job: dict[str, Any],
    files: Mapping[str, Path],
    rules: SubmissionRules,
    open_job: JobRequest | None = None,
) -> JobRequest:
    """Return the job, or the scenes of an open one, that a JSON object describes.

    Raises `InvalidScenesError`.
    """
    if open_job is not None and (other := sorted(job.keys() - {"scenes"})):
        found, expected = "not a field of this request", 'only {"scenes": [...]}'
        raise InvalidScenesError(
            faults=[_job_fault(name, found, expected, "unknown_field") for name in other]
        )

    locate = partial(_locate, files=files, sources=rules.sources)
    scenes, raw_options = _scenes_and_options(job, rules.limits)
    located, located_options, film = locate_files(job, scenes, raw_options, locate)
    options = _parse_options(located_options)
    has_voice = bool(open_job.film_audio if open_job else film.get("film_audio"))
    parse = partial(parse_scenes, max_faults=MAX_FAULTS, has_voice=has_voice)
    parsed = parse(located, options) if located else ()
    fields: dict[str, Any] = job | film
    fields |= {"scenes": parsed, "options": options if raw_options else None}
    request = JobRequest(**fields)
    _require_permitted([request, *parsed, options], set(files.values()), rules.sources)
    if faults := list(_job_faults(request, rules)):
        raise InvalidScenesError(faults=faults)
    return request


def check_changes(
    changes: dict[str, Any], files: Mapping[str, Path], rules: SubmissionRules, draft: JobDraft
) -> JobRequest:
    """Return a finished job with the changes that a JSON object describes.

    Raises `InvalidScenesError`.
    """
    assert draft.base is not None, "the job is to be resumed"
    locate = partial(_locate, files=files, sources=rules.sources)
    parsed = JobChanges(**changes)
    scenes, _, _ = locate_files({}, parsed.scenes, {}, locate)
    changed = draft.changed(parsed.model_copy(update={"scenes": scenes}))
    before = draft.base.request.scenes
    parts = chain.from_iterable((scene.files(), scene.options.files()) for scene in before)
    own = {path for files_before in parts for path in local_paths(files_before.values())}
    _require_permitted(changed.scenes, own | {*files.values()}, rules.sources)
    return changed


def _locate(name: str, *, files: Mapping[str, Path], sources: Folders) -> AnyLocation:
    return files[name] if name in files else _remote_file(name, sources)


def _scenes_and_options(
    job: Mapping[str, Any], limits: RequestLimits
) -> tuple[list[Any], dict[str, Any]]:
    scenes = cast("Sequence[Any] | None", job.get("scenes", []))
    options = job.get("options")
    faults = list[SceneFault]()
    if not isinstance(scenes, list) or not (scenes or job.get("open")):
        code: FaultCode = "wrong_type" if scenes else "missing"
        expected = "a list with at least one scene"
        faults.append(_job_fault("scenes", short_repr(scenes), expected, code))
    elif (number := len(scenes)) > limits.scenes:
        expected = f"at most {limits.scenes:,}"
        faults.append(_job_fault("scenes", f"{number:,} scenes", expected, "out_of_range"))
    if not isinstance(options, dict | None):
        expected = "an object with the options of all scenes"
        faults.append(_job_fault("options", short_repr(options), expected, "wrong_type"))
    if faults:
        raise InvalidScenesError(faults=faults)
    return list(scenes or ()), cast("dict[str, Any]", options or {})


def _remote_file(name: str, sources: Folders) -> S3Object | HttpsUrl:
    try:
        if is_s3(name):
            location = parse_s3_object(name)
            if sources.contain(location):
                return location
            found = "an object in S3 that is not permitted"
            raise InvalidInputError(found, _EXPECTED_FILE, "not_permitted")
        if is_url(name):
            return parse_https_url(name)
    except ValueError as exc:
        found = str(exc).partition("; expected ")[0]
        raise InvalidInputError(found, _EXPECTED_FILE, "invalid") from exc
    raise InvalidInputError("no such upload", _EXPECTED_FILE, "no_file")


def _parse_options(options: Mapping[str, Any]) -> RenderOptions:
    try:
        return RenderOptions.model_validate(options)
    except ValidationError as exc:
        described = dict.fromkeys(map(describe_option_error, exc.errors()))
        faults = [
            _job_fault(f"options.{name}" if name else "options", found, expected, code)
            for name, found, expected, code in described
        ]
        raise InvalidScenesError(faults=faults) from exc


def _require_permitted(
    parts: Iterable[JobRequest | Scene | RenderOptions], files: AbstractSet[Path], sources: Folders
) -> None:
    """Raise `InvalidScenesError` if a job, a scene or options name a file that is not permitted.

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
                fault = _job_fault(name, "not permitted", _EXPECTED_FILE, "not_permitted")
                raise InvalidScenesError(faults=[fault])


def _job_faults(request: JobRequest, rules: SubmissionRules) -> Iterator[SceneFault]:
    if request.to is not None and not rules.destinations.contain(request.to):
        found, expected = "a folder that is not permitted", "a permitted folder in S3, or null"
        yield _job_fault("to", found, expected, "not_permitted")
    if request.webhook is not None:
        try:
            rules.webhooks.check_job_url(request.webhook)
        except ConfigurationError as exc:
            found = str(exc).partition("; expected ")[0]
            expected = "the https:// URL of a public server, or null"
            yield _job_fault("webhook", found, expected, "not_permitted")


def _job_fault(field: str, found: str, expected: str, code: FaultCode) -> SceneFault:
    return SceneFault("", field, found, expected, code)


def locate_files(
    job: Mapping[str, Any], raw_scenes: Sequence[Any], options: Mapping[str, Any], locate: Locate
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Return scenes, options and files of the film with a location in place of each file name.

    Everything else is checked later: `cloudburst.inputs.preflight`. Raises `InvalidScenesError`
    with the scene and the field of each name without a location.
    """
    faults = list[SceneFault]()
    scenes = [_scene(raw, place, locate, faults) for place, raw in enumerate(raw_scenes)]
    located = _options(options, "", locate, faults)
    given = {name: job[name] for name in FILM_FILES if job.get(name) not in (None, "")}
    film: dict[str, Any] = {
        name: _location("", name, file, locate, faults) for name, file in given.items()
    }
    if faults:
        raise InvalidScenesError(faults=faults)
    return scenes, located, film


def _scene(raw: Any, place: int, locate: Locate, faults: list[SceneFault]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        expected = "an object with fields of a scene"
        faults.append(SceneFault(f"scenes[{place}]", "scene", "no object", expected, "wrong_type"))
        return {}
    scene = dict(cast("dict[str, Any]", raw))
    name: object = scene.get("name") or scene.get("scene_name")
    label = printable_line(name, 100) if isinstance(name, str) else f"scenes[{place}]"
    for key in _FILES:
        if (file := scene.get(key)) is not None and file != "":
            scene[key] = _location(label, key, file, locate, faults)
    if isinstance(options := scene.get("options"), dict):
        scene["options"] = _options(cast("dict[str, Any]", options), label, locate, faults)
    return scene


def _options(
    options: Mapping[str, Any], scene: str, locate: Locate, faults: list[SceneFault]
) -> dict[str, Any]:
    located = dict(options)
    for key, value in options.items():
        if key == "font":
            located[key] = [_font(scene, font, locate, faults) for font in split_fonts(value)]
        elif is_option_file(key, value):
            located[key] = _location(scene, f"options.{key}", value, locate, faults)
    return located


def _font(scene: str, font: object, locate: Locate, faults: list[SceneFault]) -> object:
    if is_option_file("font", font):
        return _location(scene, "options.font", font, locate, faults)
    with suppress(InvalidInputError):
        return locate(font) if isinstance(font, str) else font  # needs no suffix as a file
    return font  # a family


def _location(
    scene: str, key: str, name: object, locate: Locate, faults: list[SceneFault]
) -> AnyLocation | None:
    if not isinstance(name, str):
        expected = "the name of a file, as text"
        faults.append(SceneFault(scene, key, "no text", expected, "wrong_type"))
        return None
    try:
        return locate(name)
    except InvalidInputError as exc:
        faults.append(SceneFault(scene, key, exc.found, exc.expected, exc.code))
        return None

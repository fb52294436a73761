"""Submissions of jobs: requests with JSON or forms, whose files are kept for the job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from anyio import to_thread
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cloudburst.jobs import JobDraft, JobRequest, StoredUploads
from cloudburst.web.forms import read_form
from cloudburst.web.job_api import WebCall
from cloudburst.web.request_limits import limited_body, read_body
from cloudburst.web.submission_checks import (
    SubmissionRules,
    check_changes,
    check_submission,
    upload_names,
)

# Header with a key by which a repeated request is known.
IDEMPOTENCY_KEY = "idempotency-key"
# Maximum number of values in the JSON of a request: 100 fields and options in each of 1,000 scenes.
# Each value needs up to 70 bytes of memory, and no thread runs while all of them are read.
MAX_VALUES = 100_000
# Maximum number of fields of a scene, of options, and of items in the value of an option.
MAX_ITEMS = 100
# Maximum length of the name of a field or an option, in characters.
MAX_NAME_CHARS = 100
# Largest size of a body in bytes that does not count as a transfer: JSON of about 500 scenes.
SMALL_BYTES = 100_000


async def read_submission(
    request: Request, draft: JobDraft, uploads: StoredUploads, rules: SubmissionRules
) -> tuple[JobRequest, str]:
    """Return the job of a request and the SHA-256 by which a repetition of the request is known.

    The files are written, or linked, into the folder of the draft, and the job is checked.

    Raises:
        HTTPException: Status 400, 413, 415 or 507, with the reason in its detail.
        InvalidScenesError: The job is invalid; the error lists every problem.
        JobLimitError: The files would exceed a limit.
    """
    job, files, sha256 = await read_object(request, draft, rules)
    await draft.check_room(rules.owner, 0)  # JSON is kept as well: in the database
    named = await link_files(job, files, draft, uploads, rules)
    open_job = draft.base.request if draft.base else None
    built = await to_thread.run_sync(check_submission, job, named, rules, open_job)
    await draft.check_files(built)
    return built, sha256


async def read_changes(
    request: Request, draft: JobDraft, uploads: StoredUploads, rules: SubmissionRules
) -> JobRequest:
    """Return a finished job with the changes in a request, which may have no body.

    Raises the same as `read_submission`.
    """
    changes: dict[str, Any] = {}
    files: Mapping[str, Path] = {}
    if "content-type" in request.headers and request.headers.get("content-length") != "0":
        changes, files, _ = await read_object(request, draft, rules)
    named = await link_files(changes, files, draft, uploads, rules)
    return await to_thread.run_sync(check_changes, changes, named, rules, draft)


async def read_object(
    request: Request, draft: JobDraft, rules: SubmissionRules
) -> tuple[dict[str, Any], Mapping[str, Path], str]:
    """Return the JSON object of a request, the files of its form by name, and its SHA-256.

    Raises `HTTPException` and `JobLimitError`, as `read_submission` does.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    files: Mapping[str, Path] = {}
    if kind == b"application/json":
        text = await read_body(request, rules.limits.json_bytes)
    elif kind == b"multipart/form-data" and (boundary := options.get(b"boundary")):
        form = await read_form(
            _checked_body(request, draft, rules),
            boundary,
            folder=draft.inputs,
            limits=rules.limits,
        )
        text, files = bytes(form.job or b""), form.files
    else:
        raise HTTPException(415, "expected application/json or multipart/form-data")
    # Files take seconds to hash, which only a repeated request needs.
    hashed = files if IDEMPOTENCY_KEY in request.headers else {}
    job, sha256 = await to_thread.run_sync(_parse, text, hashed)
    return job, files, sha256


async def link_files(
    job: dict[str, Any],
    files: Mapping[str, Path],
    draft: JobDraft,
    uploads: StoredUploads,
    rules: SubmissionRules,
) -> dict[str, Path]:
    """Return the files of a form, and the uploads of the owner that a job names, by name."""
    names = await to_thread.run_sync(upload_names, job, rules.limits)
    links = await uploads.link(names - files.keys(), draft.inputs, owner=rules.owner)
    return {**files} | links


def receiving(call: WebCall) -> AbstractContextManager[None]:
    """Return a context manager for receiving a body: few large ones are received at once.

    It raises `JobLimitError`.
    """
    large = _is_large(call.request)
    return call.api.transfers.entered(call.owner) if large else nullcontext()


def _is_large(request: Request) -> bool:
    is_form = parse_options_header(request.headers.get("content-type"))[0] == b"multipart/form-data"
    announced = request.headers.get("content-length", "")
    return is_form or not announced.isdecimal() or int(announced) > SMALL_BYTES


async def _checked_body(
    request: Request, draft: JobDraft, rules: SubmissionRules
) -> AsyncIterator[bytes]:
    announced = request.headers.get("content-length", "0")
    expected = min(int(announced), rules.limits.request_bytes) if announced.isdecimal() else 0
    await draft.check_room(rules.owner, expected)
    size = 0
    async for chunk in limited_body(request, rules.limits.request_bytes):
        size += len(chunk)
        await draft.check_room(rules.owner, size)
        yield chunk


def parse_json(text: bytes) -> dict[str, Any]:
    """Return the JSON object in the body of a request. Raises `HTTPException` 400.

    A small text can need much memory and time, so its structure has limits.
    """
    return _parse(text, {})[0]


def _parse(text: bytes, files: Mapping[str, Path]) -> tuple[dict[str, Any], str]:
    """Return the JSON object of a submission, and the SHA-256 of it and the files."""
    # Commas within texts are counted as well.
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise HTTPException(400, f"expected JSON with at most {MAX_VALUES:,} values")
    job: Any = None
    canonical = b""
    try:
        job = json.loads(text)
        # Responses repeat metadata: texts that are not Unicode, and NaN, would break them.
        canonical = json.dumps(job, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        job = None
    if not isinstance(job, dict):
        raise HTTPException(400, "expected a JSON object")
    fields = cast("dict[str, Any]", job)
    _require_small_parts(fields)
    digest = hashlib.sha256(canonical)
    for name in sorted(files):
        with files[name].open("rb") as file:
            digest.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return fields, digest.hexdigest()


def _require_small_parts(job: dict[str, Any]) -> None:
    scenes: object = job.get("scenes", [job.get("scene")])
    owners: list[tuple[str, object]] = [("job", job)]
    if isinstance(scenes, list):
        listed = enumerate(cast("list[object]", scenes))
        owners += [(f"scenes[{place}]", scene) for place, scene in listed]
    for place, owner in owners:
        options = _require_small(place, owner).get("options")
        for name, value in _require_small(f"{place}.options", options).items():
            _require_small(f"{place}.options.{name}", value)


def _require_small(place: str, part: object) -> dict[str, object]:
    items = cast("Sequence[object]", part) if isinstance(part, dict | list) else ()
    if len(items) > MAX_ITEMS:
        found = f"{len(items):,} {'fields' if isinstance(part, dict) else 'items'}"
        raise HTTPException(400, f"{place}: {found}; expected at most {MAX_ITEMS}")
    fields = cast("dict[str, object]", part) if isinstance(part, dict) else {}
    if any(len(name) > MAX_NAME_CHARS for name in fields):
        found = "a name of a field that is too long"
        raise HTTPException(400, f"{place}: {found}; expected at most {MAX_NAME_CHARS} characters")
    return fields

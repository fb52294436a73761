"""Responses of the routes of `Jobs` to questions about the server: looks, checks, and offers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import Any, Literal

from anyio import to_thread
from pydantic import BaseModel, JsonValue
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cloudburst.errors import CloudburstError
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.jobs import Place, Places
from cloudburst.models.options import OPTION_FILES, RenderOptions
from cloudburst.models.options.marks import MarkOptions
from cloudburst.models.options.picture import MotionOptions, PictureOptions
from cloudburst.models.options.sound import SoundOptions
from cloudburst.models.options.subtitles import CAPTIONS, SubtitleOptions
from cloudburst.models.problems import code_of, fix_of
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.web.access import Action
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import Document, json_response, schema_of
from cloudburst.workers.local import MODULES, missing_requirements

_GROUPS: Mapping[str, type[BaseModel]] = {
    "picture": PictureOptions,
    "motion": MotionOptions,
    "subtitles": SubtitleOptions,
    "sound": SoundOptions,
    "video": MarkOptions,
}
_Kind = Literal["choice", "number", "integer", "colour", "text", "flag", "file", "list"]
_KINDS: Mapping[str, _Kind] = {
    "array": "list",
    "boolean": "flag",
    "integer": "integer",
    "number": "number",
}


_NO_TASKS = "it needs an account (cloudburst init) and a budget (cloudburst serve --owner-usd)"


class OptionDocument(Document):
    """Option of the look of a video."""

    name: str
    """Name in the options of a job or a scene."""
    kind: _Kind
    """Kind of the value; a list has items of the choices, or two numbers within the limits."""
    choices: list[str | int] | None
    """Permitted values. Beside those of a text or a file, others are valid, too."""
    minimum: float | None
    """Smallest number."""
    maximum: float | None
    """Largest number."""
    default: JsonValue
    """Value if none is given; null: it depends on other options or on the inputs."""
    group: str
    """Part of the look that the option belongs to, such as `subtitles`."""
    text: str
    """Description of a valid value."""


class LooksDocument(Document):
    """All options of looks."""

    options: list[OptionDocument]
    """Options, by groups."""
    presets: dict[str, dict[str, JsonValue]]
    """Named looks, which are the values of the option `caption`, and the options of each."""


class CheckDocument(Document):
    """Result of a check."""

    code: str
    """Subject of the check, for programs."""
    text: str
    """Finding, in one sentence."""
    state: str
    """`ok`; `warning`: a run would work; `failed`: none would."""
    fix: str
    """Command or step that fixes the problem; empty if there is none."""


class ChecksDocument(Document):
    """Results of all checks."""

    checks: list[CheckDocument]
    """Results, in an order in which problems can be fixed."""


class TierDocument(Document):
    """Size of a task on Fargate."""

    tier: int
    """Number, which a job may name in place of the name."""
    name: str
    """Name."""
    vcpu: int
    """Number of vCPUs."""
    memory_gb: int
    """Memory in GB."""


class PlaceDocument(Document):
    """Place where jobs may be rendered."""

    place: Place
    """Name of the place."""
    available: bool
    """True if a job may name it."""
    reason: str
    """Reason for which it is not available; empty if it is."""
    workers: int | None
    """Maximum number of tasks at once; null for the machine, which has a fixed number."""
    tiers: list[TierDocument]
    """Sizes of tasks, which may run on Fargate Spot."""


class LimitsDocument(Document):
    """Limits of the caller."""

    scenes: int
    """Maximum number of scenes of a job."""
    request_bytes: int
    """Maximum size of an upload or a form, in bytes."""
    file_bytes: int
    """Maximum size of one file, in bytes."""
    owner_jobs: int
    """Maximum number of jobs that are queued or running."""
    owner_usd: Decimal | None
    """Maximum bill in 24 hours, in USD; null: no limit."""
    max_usd: Decimal | None
    """Maximum bill of the server, in USD; null: no limit."""


class ServerDocument(Document):
    """What the server offers."""

    version: str
    """Version of cloudburst."""
    places: list[PlaceDocument]
    """Places of jobs, also those that are not available."""
    limits: LimitsDocument
    """Limits of the caller."""
    disk_free: int
    """Free bytes of the disk with the jobs."""
    preview: bool
    """True if it can draw frames."""
    key: bool
    """True if callers need a key or another login."""


_TIERS = [
    TierDocument(tier=tier.priority, name=tier.name, vcpu=tier.vcpu, memory_gb=tier.memory_gb)
    for tier in Tier
]


@Operation("GET", "/server", Action.READ, {200: ServerDocument})
async def read_server(call: WebCall) -> Response:
    """Return the version, places, limits and abilities of the server."""
    queue, client, places = call.queue, call.api.client, call.queue.places
    missing, requests = missing_requirements(*MODULES), call.api.rules.limits
    document = ServerDocument(
        version=PACKAGE_VERSION,
        places=[_place(place, places, missing) for place in Place],
        limits=LimitsDocument(
            scenes=requests.scenes,
            request_bytes=requests.request_bytes,
            file_bytes=client.limits.file_bytes,
            owner_jobs=queue.limits.owner_jobs,
            owner_usd=queue.limits.owner_usd,
            max_usd=client.limits.max_usd,
        ),
        disk_free=await to_thread.run_sync(queue.disk_free),
        preview=not missing,
        key=call.api.asks_callers,
    )
    return json_response(document)


def _place(place: Place, places: Places, missing: str) -> PlaceDocument:
    has_tasks = place is not Place.MACHINE
    reason = missing if place is not Place.FARGATE else ""
    if place not in places.offered:
        reason = _NO_TASKS if has_tasks else "the server does not offer it"
    return PlaceDocument(
        place=place,
        available=not reason,
        reason=reason,
        workers=places.workers if has_tasks else None,
        tiers=_TIERS if has_tasks else [],
    )


@Operation("GET", "/looks", Action.READ, {200: LooksDocument})
async def list_looks(_call: WebCall) -> Response:
    """Return all options of the look of a video with their limits, and the named looks."""
    return json_response(_looks())


@cache
def _looks() -> LooksDocument:
    schema: Mapping[str, Any] = schema_of(RenderOptions)["properties"]
    defaults = RenderOptions().model_dump(mode="json")
    return LooksDocument(
        options=[
            _option(name, schema[name], defaults[name], group)
            for group, model in _GROUPS.items()
            for name in model.model_fields
        ],
        presets={name: {**given} for name, given in CAPTIONS.items()},
    )


def _option(name: str, schema: Mapping[str, Any], default: Any, group: str) -> OptionDocument:
    value = _without_null(schema)
    item = _without_null(value.get("items") or next(iter(value.get("prefixItems", ())), value))
    kind = _KINDS.get(value["type"], "text")
    if name in OPTION_FILES:
        kind = "file"
    elif "enum" in value:
        kind = "choice"
    elif "#" in value.get("pattern", ""):
        kind = "colour"
    return OptionDocument(
        name=name,
        kind=kind,
        choices=item.get("enum") or schema.get("examples"),
        minimum=item.get("minimum"),
        maximum=item.get("maximum"),
        default=default,
        group="watermark" if name.startswith("watermark") else group,
        text=schema["description"],
    )


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in schema.get("anyOf", ()) if one["type"] != "null"), schema)


@Operation(
    "GET",
    "/checks",
    Action.READ,
    {200: ChecksDocument, 403: "The caller does not operate the server."},
)
async def read_checks(call: WebCall) -> Response:
    """Check this machine and, if it is configured, the AWS account, and return what to fix.

    Nothing is changed.
    """
    if not call.access.operator:
        raise HTTPException(403, "expected the operator of the server")
    async with call.api.checking:
        checks = await _check(call.api.client.settings)
    return json_response(ChecksDocument(checks=checks))


async def _check(settings: Settings) -> list[CheckDocument]:
    missing, _, fix = missing_requirements(*MODULES).partition("; ")
    state = ("warning" if settings.subnets else "failed") if missing else "ok"
    text = missing or "this machine can render"
    checks = [CheckDocument(code="renderer", text=text, state=state, fix=fix)]
    # Imported in a thread: importing the AWS libraries is slow, and not every app asks for this.
    account: Any = await to_thread.run_sync(import_module, "cloudburst.aws.setup.check_account")
    try:
        report = await account.doctor(settings) if settings.subnets else None
        found = report.checks if report else await account.check_confinement()
    except CloudburstError as exc:
        code, fix = code_of(type(exc).__name__), fix_of(type(exc).__name__)
        return [*checks, CheckDocument(code=code, text=str(exc), state="failed", fix=fix)]
    for one in found:
        code, state = one.name.replace(" ", "_"), one.status.replace("passed", "ok")
        checks.append(CheckDocument(code=code, text=one.found, state=state, fix=one.fix))
    return checks

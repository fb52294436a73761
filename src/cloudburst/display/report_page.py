"""Page about a run: one HTML file that needs no network, beside the videos that it plays."""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cloudburst.display.texts import format_duration, format_size, format_usd
from cloudburst.engine.failure_groups import FailureGroup, failures_of, warnings_of
from cloudburst.errors import ConfigurationError
from cloudburst.files import open_regular_file, replaced_file
from cloudburst.models.locations import AnyLocation, OutputFolder
from cloudburst.models.report import Report, SceneReport, Status
from cloudburst.text import printable

try:
    import jinja2
    from markupsafe import Markup
except ModuleNotFoundError as exc:
    msg = f"a report needs the package {exc.name}: pip install 'cloudburst-sdk[cli]'"
    raise ConfigurationError(msg) from None

NAME = "report.html"
"""Name of the page in the folder of the videos."""
_PACKAGE = Path(__file__).parents[1]
# The page of ``cloudburst serve`` has the same colours, texts and parts.
_STYLES = ("serve/page/style.css", "display/page/report.css")
_SCRIPT = _PACKAGE / "display/page/report.js"
_MARK = b'<meta name="generator" content="cloudburst">'
_IMPORT = re.compile(r'^import .* from "(.*)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_MAX_NAMES = 100
_MAX_MESSAGE = 2_000
_SCENE_FACTS = {
    *("scene", "error", "task", "attempts", "usd", "skipped", "upload_at", "upload_seconds"),
    *("encode_at", "encode_seconds", "download_at", "download_seconds"),
}
_REPORT_FACTS = {
    *("film_started_at", "film_finished_at"),
    *("began_at", "wall_seconds", "cost", "predicted", "workers"),
}


def write_report(
    report: Report, path: Path | str, *, to: OutputFolder | None = None, state: str | None = None
) -> Path:
    """Write a report as a page, an HTML file that plays the videos by relative paths. Blocks.

    An earlier page is replaced. Returns the absolute path of the file.

    Args:
        report: Report to write.
        path: Path of the page.
        to: Folder of the videos; ``None``: that of the first video.
        state: State of a run in progress; ``None``: the status of the report.

    Raises:
        ConfigurationError: Another file has this name.
        OSError: The file cannot be written.
    """
    path = Path(path).absolute()
    if os.path.lexists(path):
        with open_regular_file(path) as file:
            if _MARK not in file.read(1_000):
                msg = f"{path}: not a report of cloudburst; expected the name of a new file"
                raise ConfigurationError(msg)
    if to is None and report.videos:
        video = report.videos[0].path
        to = video.parent if isinstance(video, Path) else video.folder
    text = _page(report, path.parent, to or path.parent, state or report.status)
    for left in path.parent.glob(glob.escape(f".{path.name}.") + "*.new"):  # by a killed process
        left.unlink(missing_ok=True)
    with replaced_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    return path


def _page(report: Report, folder: Path, to: OutputFolder, state: str) -> str:
    film, has_ended = report.film, state in _DONE and not report.film_error
    resume = shlex.join(["cloudburst", "resume", report.run, "--to", printable(str(to))])
    places = {_PLACES.get(worker.backend, "endpoints"): None for worker in report.workers}
    facts: dict[str, Any] = {
        "run": report.run,
        "title": printable(to.name if isinstance(to, Path) else str(to)),
        "state": state,
        "version": version("cloudburst-sdk"),
        "resume": None if has_ended else resume,
        "places": list(places),
        "film": None if film is None else _link(film, folder, film.with_suffix(".jpg")),
        "problems": list(_problems(report)),
        "report": report.model_dump(mode="json", include=_REPORT_FACTS)
        | {"scenes": [_scene(entry, folder) for entry in report.scenes]},
    }
    script = _script(_SCRIPT, [])
    style = "".join((_PACKAGE / name).read_text("utf-8") for name in _STYLES)
    return _template().render(
        facts,
        data=facts,
        began=report.began_at and f"{report.began_at:%Y-%m-%d %H:%M} UTC",
        videos=report.videos,
        billed=report.is_billed,
        icon=base64.b64encode((_PACKAGE / "serve/page/icon.svg").read_bytes()).decode(),
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=_policy(script),
    )


_PLACES = {"local": "machine", "fargate": "fargate"}
_DONE = {Status.COMPLETE, "running", "open"}


def _scene(entry: SceneReport, folder: Path) -> dict[str, Any]:
    facts, video = entry.model_dump(mode="json", include=_SCENE_FACTS), entry.video
    shown = None
    if video is not None:
        shown = _link(video.path, folder, video.cover)
        shown |= {"seconds": video.seconds, "size": video.size}
    return facts | {"scene": printable(entry.scene), "error": bool(entry.error), "video": shown}


def _link(path: AnyLocation, folder: Path, cover: AnyLocation | None) -> dict[str, Any]:
    where = printable(path.name if isinstance(path, Path) else str(path))
    return {"url": _url(path, folder), "cover": _url(cover, folder), "where": where}


def _url(path: AnyLocation | None, folder: Path) -> str | None:
    """Return the address of a file on this machine, relative to the page in ``folder``."""
    if not isinstance(path, Path):
        return None
    return "./" + quote(os.fsencode(os.path.relpath(path, folder)))


def _problems(report: Report) -> Iterator[Mapping[str, Any]]:
    for group in failures_of(report):
        yield _problem("scenes" if group.scenes else "tasks", group, group.scenes or group.tasks)
    if report.film_error is not None:
        yield _problem("film", FailureGroup(f"FilmError: {report.film_error}"), ())
    for warning, names in warnings_of(report.videos).items():
        yield _problem("warning", FailureGroup(f": {warning}"), names)


def _problem(kind: str, group: FailureGroup, names: Sequence[str]) -> dict[str, Any]:
    return {
        "kind": kind,
        "code": group.code,
        "fix": group.fix,
        "message": printable(group.message[:_MAX_MESSAGE], keep="\n"),
        "names": [printable(name) for name in names[:_MAX_NAMES]],
        "count": len(names),
    }


@cache
def _template() -> jinja2.Template:
    templates = jinja2.FileSystemLoader(_PACKAGE / "display/page")
    environment = jinja2.Environment(loader=templates, autoescape=True)
    environment.filters.update(duration=format_duration, size=format_size, usd=_usd)
    return environment.get_template(NAME)


def _usd(amount: str) -> str:
    return format_usd(Decimal(amount))


def _script(path: Path, seen: list[Path]) -> str:
    """Return a script with the modules that it imports, as one module."""
    seen.append(path)
    text = path.read_text("utf-8")
    modules = ((path.parent / name).resolve() for name in _IMPORT.findall(text))
    parts = [_script(module, seen) for module in modules if module not in seen]
    return "".join([*parts, _EXPORT.sub("", _IMPORT.sub("", text))])


def _policy(script: str) -> str:
    """Return a policy with which nothing but our script runs, and nothing is got from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src 'self' file: data:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )

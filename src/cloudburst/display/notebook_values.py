"""Reports and videos in a notebook."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from cloudburst.display.texts import first_line, format_size, format_usd, pluralize, short_path
from cloudburst.engine.failure_groups import failures_of
from cloudburst.models.locations import AnyLocation
from cloudburst.models.report import Report, SceneReport
from cloudburst.text import list_some, printable

_MAX_EMBEDDED_BYTES = 20_000_000
"""Size from which a video is not stored in the notebook, in bytes."""
_PLAYER = (
    '<video controls style="display:block;max-width:100%;max-height:480px" '
    'src="data:video/mp4;base64,{}"></video>'
)
_MAX_ROWS = 50
_MAX_NAMES_SHOWN = 20
_HEAD = ("scene", "length", "render", "size", "cost")
_RED = "#cd4b46"  # can be read on white and on black


def report_html(report: Report) -> str:
    """Return a report as HTML: player, failures, table of videos and bill."""
    return "".join(_parts(report))


def _parts(report: Report) -> Iterator[str]:
    from cloudburst.display.summary import cost_text  # noqa: PLC0415 - needs the package rich

    yield f"<p><b>{escape(report.totals)}</b></p>"
    if report.film is not None:
        yield player(report.film)
    elif len(report.videos) == 1:
        yield player(report.videos[0].path)
    if report.film_error is not None:
        yield _failure("No film", first_line(report.film_error))
    for group in failures_of(report):
        if group.scenes:
            head = f"{pluralize(len(group.scenes), 'scene')} failed"
            names = list_some(group.scenes, _MAX_NAMES_SHOWN)
            fix = group.fix and f"What to do: {group.fix}"
            yield _failure(head, first_line(group.message), names, fix)
    made = [entry for entry in report.scenes if entry.video is not None]
    if made:
        rows = "".join(_row(entry) for entry in made[:_MAX_ROWS])
        yield f"<table>{_cells('th', _HEAD[: 4 + report.is_billed])}{rows}</table>"
    if len(made) > _MAX_ROWS:
        yield f"<p>… and {len(made) - _MAX_ROWS} more</p>"
    if report.is_billed:
        yield f"<p>{escape(cost_text(report.cost).plain)}</p>"


def _row(entry: SceneReport) -> str:
    assert entry.video is not None, "scenes without a video have no row"
    video = entry.video
    cells = [link(video.path, printable(entry.scene)), f"{video.seconds:.1f} s"]
    cells += [f"{entry.encode_seconds:.1f} s", format_size(video.size)]
    cells += [] if entry.usd is None else [format_usd(entry.usd)]
    return _cells("td", cells)


def _cells(tag: str, cells: Sequence[str]) -> str:
    first, rest = f'<{tag} style="text-align:left">{cells[0]}</{tag}>', cells[1:]
    return f"<tr>{first}{''.join(f'<{tag}>{cell}</{tag}>' for cell in rest)}</tr>"


def _failure(head: str, *texts: str) -> str:
    lines = "<br>".join(escape(printable(text)) for text in texts if text)
    return f'<p><b style="color:{_RED}">{head}:</b> {lines}</p>'


def player(path: AnyLocation) -> str:
    """Return a player with the video in it as HTML; a link if it is large, in S3 or removed."""
    try:
        if isinstance(path, Path) and path.stat().st_size < _MAX_EMBEDDED_BYTES:
            return _PLAYER.format(base64.b64encode(path.read_bytes()).decode())
    except OSError:  # the link says where it was
        pass
    return link(path, short_path(path))


def link(path: AnyLocation, text: str) -> str:
    """Return a link to a file as HTML."""
    # Notebooks serve the files of their folder, by relative paths.
    target = quote(os.fsencode(os.path.relpath(path))) if isinstance(path, Path) else str(path)
    return f'<a href="{escape(target)}" target="_blank">{escape(text)}</a>'

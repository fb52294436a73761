"""Report of a run in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from cloudburst.display.player import link, player
from cloudburst.display.summary import cost_text, group_failures
from cloudburst.display.texts import first_line, format_size, format_usd, pluralize
from cloudburst.models.report import Report, SceneReport
from cloudburst.text import list_some, printable

_MAX_ROWS = 50
_MAX_NAMES_SHOWN = 20
_HEAD = ("scene", "length", "render", "size", "cost")
_RED = "#cd4b46"  # can be read on white and on black


def report_html(report: Report) -> str:
    """Return a report as HTML: player, failures, table of videos and bill."""
    return "".join(_parts(report))


def _parts(report: Report) -> Iterator[str]:
    yield f"<p><b>{escape(report.totals)}</b></p>"
    if report.film is not None:
        yield player(report.film)
    elif len(report.videos) == 1:
        yield player(report.videos[0].path)
    if report.film_error is not None:
        yield _failure("No film", report.film_error)
    for group in group_failures(report):
        if group.scenes:
            names = list_some(group.scenes, _MAX_NAMES_SHOWN)
            yield _failure(f"{pluralize(len(group.scenes), 'scene')} failed", group.text, names)
    made = [entry for entry in report.scenes if entry.video is not None]
    if made:
        rows = "".join(_row(entry) for entry in made[:_MAX_ROWS])
        heads = "".join(f"<th>{head}</th>" for head in _HEAD[: 4 + report.is_billed])
        yield f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
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
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _failure(head: str, text: str, names: str = "") -> str:
    texts = (escape(printable(part)) for part in (first_line(text), names) if part)
    return f'<p><b style="color:{_RED}">{escape(head)}:</b> {"<br>".join(texts)}</p>'

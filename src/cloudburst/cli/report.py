"""``cloudburst report``: writes the page about a run."""

from __future__ import annotations

import time
import webbrowser
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter

from cloudburst.cli.options import RESULTS_FOLDER, FolderOption
from cloudburst.cli.output import print_output
from cloudburst.cli.runs import list_runs
from cloudburst.display.report_page import NAME, write_report
from cloudburst.display.terminal_texts import safe_text, unwrapped
from cloudburst.display.texts import short_path
from cloudburst.engine.report import rebuild_report
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.outputs.journal.reader import journal_folder, journal_path, read_journal
from cloudburst.text import describe_error


def report_command(
    run: str | None = None,
    /,
    *,
    to: FolderOption | None = None,
    output: Path | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative=())] = False,
) -> int:
    """Write a page about a run: its videos, times, bill and problems.

    The page is one HTML file, which needs no network. It may be written while the run goes on, and
    after the run was killed. AWS is asked for bills that are not final.

    $ cloudburst report --open
    $ cloudburst report --to videos --output run.html

    Parameters
    ----------
    run
        Name of the run, as "cloudburst runs" lists it. Default: the newest run of the folder.
    to
        Folder of the videos, also in S3. Default: RESULTS_DIR, else ./cloudburst_results.
    output
        File of the page. Default: report.html in the folder of the videos; for videos in S3,
        report-RUN.html in the current folder. An earlier report is replaced.
    open_page
        Open the page in the browser.
    """
    settings = Settings()
    folder = to or settings.results or RESULTS_FOLDER
    listed = [one for one in list_runs(folder, settings) if one.run == run or run is None]
    if not listed:
        what = "run" if run is None else f"run {run}"
        msg = f"there is no {what} in {short_path(folder)}: name the folder of the videos with --to"
        raise ConfigurationError(msg)
    one = listed[0]
    if not one.processes:
        raise ConfigurationError(one.error or f"run {one.run} has not begun")
    state = read_journal(journal_path(journal_folder(one.folder), one.run))
    now = time.time() if one.process else None
    report = anyio.run(partial(rebuild_report, one.run, state, now=now))
    default = one.folder / NAME if isinstance(one.folder, Path) else Path(f"report-{one.run}.html")
    try:
        path = write_report(report, output or default, to=one.folder, state=one.state)
    except OSError as exc:
        msg = f"no report was written: {describe_error(exc)}"
        raise ConfigurationError(msg) from exc
    print_output(unwrapped("Report: ", safe_text(short_path(path), "green")))
    if open_page:
        webbrowser.open(path.as_uri())
    return 0

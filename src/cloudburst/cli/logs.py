"""``cloudburst logs``: what a task has written."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio
from anyio import to_thread
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from cloudburst.account.logs import LogLine, read_logs
from cloudburst.cli.settings import read_settings
from cloudburst.cli.words import shown
from cloudburst.models.settings import Settings

_STYLES = ("cyan", "magenta", "yellow", "blue")


def logs_command(
    task: str,
    /,
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative=())] = False,
    lines: Annotated[
        int | None, Parameter(name=("--lines", "-n"), validator=Number(gte=0, lte=10_000))
    ] = None,
) -> int:
    """Show what the containers of a task have written; it may have stopped long ago.

    Parameters
    ----------
    task
        Its ARN, its id, or the beginning of its id.
    follow
        Go on until the task has stopped.
    lines
        Only so many of the last lines.
    """
    return anyio.run(_show, read_settings(), task, follow, lines)


async def _show(settings: Settings, task: str, follow: bool, lines: int | None) -> int:
    console = Console(highlight=False)
    styles: dict[str, str] = {}
    async with read_logs(settings, task, follow=follow, lines=lines) as written:
        async for line in written:
            style = styles.setdefault(line.container, _STYLES[len(styles) % len(_STYLES)])
            text = _told(line, style)
            await to_thread.run_sync(partial(console.print, text, soft_wrap=True))
    if not styles and lines != 0:
        errors = Console(stderr=True)
        await to_thread.run_sync(errors.print, Text("It has written nothing yet.", "dim"))
    return 0


def _told(line: LogLine, style: str) -> Text:
    at = line.at.astimezone().strftime("%m-%d %H:%M:%S")
    name = line.container.removeprefix("cloudburst-")
    return Text.assemble((f"{at} ", "dim"), shown(f"{name} ", style), shown(line.text))

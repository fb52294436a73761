"""``cloudburst logs``: prints the log of a task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated

import anyio
from anyio import to_thread
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from cloudburst.cli.output import OutputConsole, safe_text
from cloudburst.models.account_tasks import LogLine
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
    """Print the log lines of all containers of a task, even of a task that has stopped.

    Parameters
    ----------
    task
        ARN or id of the task, or the beginning of the id.
    follow
        Continue with new lines until the task has stopped.
    lines
        Number of lines to print, counted from the end of the log. Default: all.
    """
    from cloudburst.aws.setup.logs import read_logs  # noqa: PLC0415 - boto takes a while to import

    lines_of_task = read_logs(Settings(), task, follow=follow, lines=lines)
    anyio.run(_print_lines, lines_of_task)
    return 0


async def _print_lines(opened: AbstractAsyncContextManager[AsyncIterator[LogLine]]) -> None:
    console = OutputConsole(highlight=False)
    styles: dict[str, str] = {}
    async with opened as lines:
        async for line in lines:
            style = styles.setdefault(line.container, _STYLES[len(styles) % len(_STYLES)])
            text = _format_line(line, style)
            await to_thread.run_sync(partial(console.print, text, soft_wrap=True))
    if not styles:
        message = Text("The task has written no lines.", "dim")
        await to_thread.run_sync(OutputConsole(stderr=True).print, message)


def _format_line(line: LogLine, style: str) -> Text:
    time = line.time.astimezone().strftime("%m-%d %H:%M:%S")
    name = line.container.removeprefix("cloudburst-")
    return Text.assemble((f"{time} ", "dim"), safe_text(f"{name} ", style), safe_text(line.text))

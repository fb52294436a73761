"""``cloudburst logs``: what a task has written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated

import anyio
from anyio import to_thread
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from cloudburst.cli.settings import read_settings
from cloudburst.cli.words import shown
from cloudburst.models.running import LogLine

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
    from cloudburst.account.logs import read_logs  # noqa: PLC0415 - boto takes a while to import

    wanted = read_logs(read_settings(), task, follow=follow, lines=lines)
    anyio.run(_show, wanted)
    return 0


async def _show(wanted: AbstractAsyncContextManager[AsyncIterator[LogLine]]) -> None:
    console = Console(highlight=False)
    styles: dict[str, str] = {}
    async with wanted as written:
        async for line in written:
            style = styles.setdefault(line.container, _STYLES[len(styles) % len(_STYLES)])
            text = _told(line, style)
            await to_thread.run_sync(partial(console.print, text, soft_wrap=True))
    if not styles:
        nothing = Text("Nothing was written.", "dim")
        await to_thread.run_sync(Console(stderr=True).print, nothing)


def _told(line: LogLine, style: str) -> Text:
    at = line.at.astimezone().strftime("%m-%d %H:%M:%S")
    name = line.container.removeprefix("cloudburst-")
    return Text.assemble((f"{at} ", "dim"), shown(f"{name} ", style), shown(line.text))

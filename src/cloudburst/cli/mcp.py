"""``cloudburst mcp``: tools for an agent that has started this program."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from cyclopts.validators import Path as PathValidator

from cloudburst.cli.backend_options import StandingOptions
from cloudburst.cli.options import Folder
from cloudburst.cli.render import interrupt_handler
from cloudburst.cli.serve import standing_jobs


def mcp_command(
    *,
    root: Annotated[
        Folder, Parameter(validator=PathValidator(exists=True, file_okay=False))
    ] = Path(),
    folder: Folder = Path("jobs"),
    options: StandingOptions | None = None,
) -> int:
    """Offer tools to an agent on standard input and output, until it closes them.

    $ claude mcp add cloudburst -- cloudburst mcp --root films

    Parameters
    ----------
    root
        Folder with the files that scenes may use: no other file of this machine is read. Default:
        the current folder.
    folder
        Folder for jobs and videos, below --root unless it is absolute. Default: jobs.
    """
    from cloudburst.serve.tools import Tools  # noqa: PLC0415 - the extra may be missing

    jobs = standing_jobs(options or StandingOptions(), root / folder)
    server = Tools(jobs, root).server()
    with interrupt_handler() as signals:

        async def serve() -> None:
            async with jobs.lifespan():
                with anyio.CancelScope() as scope, signals.call_on_first_signal(scope.cancel):
                    await server.run_lines(_lines())

        anyio.run(serve)
        signals.ignore_from_now_on()
    return 0


async def _lines() -> AsyncGenerator[str]:
    """Yield the lines of standard input; unlike a read in a thread, a signal can cancel it."""
    rest = b""
    while True:
        await anyio.wait_readable(0)
        if not (chunk := os.read(0, 1 << 16)):
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")

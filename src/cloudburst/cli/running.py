"""Renders from start to end, and stops everything when a signal asks for it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from cloudburst.cli.displays import OpenDisplay, Tell
from cloudburst.cli.view import RunView
from cloudburst.cli.words import short_path
from cloudburst.client import Client
from cloudburst.engine.groups import unwrapped
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits, Timeouts
from cloudburst.models.report import Report
from cloudburst.models.tier import Tier
from cloudburst.ports import OpenBackend

RESULTS = Path("cloudburst_results")
"""Where videos go unless something else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the command line was asked for."""

    scenes: Sequence[Mapping[str, Any]]
    to: Path
    options: RenderOptions
    backend: OpenBackend | Sequence[OpenBackend]
    tier: Tier
    limits: Limits
    overwrite: bool
    run: str | None = None
    """The run to go on with; ``None``: a new one."""
    elsewhere: bool = False
    """``to`` is not where the command line looks unless it is told."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    spot: bool = False
    """Asked for on the command line, which no journal tells."""

    def again(self, run: str) -> str:
        """The command that goes on with this."""
        words = ["cloudburst", "resume", run]
        if self.elsewhere:
            words += ["--to", shlex.quote(short_path(self.to.absolute()))]
        if self.overwrite:
            words.append("--overwrite")
        if self.spot:
            words.append("--spot")
        return " ".join(words)


@dataclass(slots=True)
class Outcome:
    """How it ended: with a report unless a signal came before anything was started."""

    report: Report | None = None
    signum: int | None = None
    """The signal that stopped it."""


async def render(job: Job, display: OpenDisplay) -> Outcome:
    """Render all scenes; SIGINT and SIGTERM stop the run, and a second one leaves at once.

    When this returns or raises, no worker is left. Raises what `Client.stream` does.
    """
    outcome, view, work = Outcome(), RunView(), anyio.CancelScope()

    async def watch(signals: AsyncIterator[signal.Signals]) -> None:
        async for signum in signals:
            if outcome.signum is not None:
                _leave(signum)
            outcome.signum = signum
            view.stopping = True
            work.cancel()

    with unwrapped(), anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, signals)
            async with display(view) as tell:
                with work:
                    await _run(job, view, tell, outcome)
            tasks.cancel_scope.cancel()
    return outcome


async def _run(job: Job, view: RunView, tell: Tell, outcome: Outcome) -> None:
    async with Client(
        job.backend,
        options=job.options,
        tier=job.tier,
        limits=job.limits,
        timeouts=job.timeouts,
    ) as client:
        run = None
        try:
            async with client.stream(
                job.scenes,
                to=job.to,
                overwrite=job.overwrite,
                name=job.run,
                resume=job.run is not None,
            ) as run:
                view.begin(entry.scene for entry in run.report.scenes)
                async for event in run:
                    view.apply(event)
                    await tell(event)
            if run.report.cost is not None:
                view.settling = True
                await run.settled()
        finally:
            if run is not None:
                outcome.report = run.report


def _leave(signum: int) -> None:
    """End this process now. Local workers end with it: a pipe that breaks tells them."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the cursor that the picture hid
    os._exit(128 + signum)

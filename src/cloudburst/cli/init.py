"""``cloudburst init``: makes in an account what tasks need, or takes it away again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.account.permissions import Purpose, policy
from cloudburst.account.setting_up import InitPlan, InitReport, Outcome, Step, init
from cloudburst.account.taking_down import DestroyReport, destroy
from cloudburst.cli.displays import write_line
from cloudburst.cli.settings import read_settings
from cloudburst.cli.words import shown
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol

ENV = Path(".env")

_SIGNS = {
    Outcome.FOUND: ("✓", "green"),
    Outcome.MADE: ("+", "green"),
    Outcome.CHANGED: ("~", "yellow"),
    Outcome.REMOVED: ("-", "yellow"),
    Outcome.LEFT: ("·", "dim"),
    Outcome.FAILED: ("✗", "red"),
}
_WOULD = {
    Outcome.MADE: "to make",
    Outcome.CHANGED: "to change",
    Outcome.REMOVED: "to remove",
}
_COST = (
    "It costs nothing while no task runs; what tasks write to CloudWatch, $0.50 a GB and $0.03 a "
    "GB and month (us-east-1, 2026-11)."
)
"""https://aws.amazon.com/cloudwatch/pricing/ (us-east-1, 2026-11)."""


def init_command(
    *,
    sources: Annotated[list[str] | None, Parameter(name="--from", negative=())] = None,
    open_to_world: Annotated[bool, Parameter(name="--open", negative=())] = False,
    add: Annotated[bool, Parameter(negative=())] = False,
    image: str | None = None,
    protocol: Protocol | None = None,
    arm64: bool | None = None,
    env: bool = True,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    undo: Annotated[bool, Parameter(name="--destroy", negative=())] = False,
    keep_logs: Annotated[bool, Parameter(negative=())] = False,
    purposes: Annotated[
        list[Purpose] | None, Parameter(name="--policy", negative=(), consume_multiple=True)
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Set up an AWS account for rendering on Fargate, and write its settings to .env.

    Finds or makes a cluster, a log group, the roles, a security group and the task definitions;
    a second time it changes only what is not as it should be. Nothing of it costs anything while
    no task runs.

    Parameters
    ----------
    sources
        Address or CIDR from which workers are reached; repeat it for several. Default: this
        machine's address, as https://checkip.amazonaws.com sees it.
    open_to_world
        Let everybody reach workers; only their keys keep others out.
    add
        Keep the addresses of an earlier init.
    image
        Image of the workers. Default: DOCKER_IMAGE, else the public one.
    protocol
        What it speaks. Default: native for images named cloudburst, else onestep.
    arm64
        Whether it runs on ARM64 too. Default: images named cloudburst do.
    env
        Whether the settings go to .env in this folder.
    dry_run
        Change nothing; only tell what would be changed.
    undo
        Remove what init made, and nothing else. Refused while tasks run.
    keep_logs
        With --destroy: leave the log group and its lines.
    purposes
        Print the IAM policy that allows the least, and do nothing else: for run (the default),
        init, destroy, doctor or prices; several make one policy.
    as_json
        The report as JSON on the standard output.
    """
    settings = _with_image(read_settings(), image)
    if purposes is not None:
        document = anyio.run(partial(policy, settings, purposes=purposes or [Purpose.RUN]))
        write_line(json.dumps(document, indent=2))
        return 0
    if undo:
        return _destroy(settings, dry_run=dry_run, keep_logs=keep_logs, env=env, as_json=as_json)
    if keep_logs:
        raise ConfigurationError("--keep-logs goes with --destroy")
    plan = InitPlan(
        sources=tuple(sources or ()),
        open_to_world=open_to_world,
        keep_sources=add,
        protocol=protocol,
        arm64=arm64,
        env_file=ENV if env else None,
        dry_run=dry_run,
    )
    report = anyio.run(partial(init, settings, plan=plan))
    _tell(report, as_json=as_json)
    return 0


def _destroy(
    settings: Settings, *, dry_run: bool, keep_logs: bool, env: bool, as_json: bool
) -> int:
    work = partial(
        destroy, settings, dry_run=dry_run, keep_logs=keep_logs, env_file=ENV if env else None
    )
    report = anyio.run(work)
    _tell(report, as_json=as_json)
    return 0 if report.success else 1


def _with_image(settings: Settings, image: str | None) -> Settings:
    return settings if image is None else settings.model_copy(update={"image": image})


def _tell(report: InitReport | DestroyReport, *, as_json: bool) -> None:
    if as_json:
        write_line(json.dumps(asdict(report), default=str))
    else:
        Console(highlight=False).print(Told(report))


class Told:
    """What was done to an account, a line for each thing."""

    def __init__(self, report: InitReport | DestroyReport) -> None:
        self._report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Where, what, and what it came to."""
        report = self._report
        where = Text.assemble("AWS account ", (report.account, "bold"), f", {report.region}")
        if report.dry_run:
            where.append("  (dry run: nothing is changed)", "yellow")
        yield where
        yield _table(report.steps, rehearsal=report.dry_run)
        yield Text(_sum(report.steps, rehearsal=report.dry_run), "bold")
        if isinstance(report, DestroyReport):
            yield from self._after_destroy()
        else:
            yield Text(_COST, "dim")
            if not report.dry_run:
                yield Text.assemble("Next: ", ("cloudburst doctor", "cyan"))

    def _after_destroy(self) -> Iterable[Text]:
        if any(step.outcome is Outcome.FAILED for step in self._report.steps):
            yield Text("Run it again when what is in the way is gone.", "red")
        elif self._report.steps:
            told = "AWS_SUBNET_ID in .env still makes Fargate the place where scenes are rendered."
            yield Text(told, "dim")


def _table(steps: Sequence[Step], *, rehearsal: bool) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for step in steps:
        sign, style = _SIGNS[step.outcome]
        word = _WOULD.get(step.outcome, step.outcome) if rehearsal else step.outcome
        told = Text.assemble(shown(step.name, "cyan"), " · " if step.detail else "")
        told.append_text(shown(step.detail, "red" if step.outcome is Outcome.FAILED else "dim"))
        grid.add_row(Text(sign, style), step.what, Text(word, style), told)
    return grid


def _sum(steps: Sequence[Step], *, rehearsal: bool) -> str:
    """As in ``2 made, 1 changed, 8 found``."""
    order = [
        Outcome.MADE,
        Outcome.CHANGED,
        Outcome.REMOVED,
        Outcome.FAILED,
        Outcome.FOUND,
        Outcome.LEFT,
    ]
    numbers = {kind: sum(step.outcome is kind for step in steps) for kind in order}
    told = [
        f"{number} {_WOULD.get(kind, kind) if rehearsal else kind}"
        for kind, number in numbers.items()
        if number
    ]
    return f"{', '.join(told)}." if told else "Nothing of cloudburst is there."

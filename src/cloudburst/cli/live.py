"""The question and the output of ``cloudburst doctor --live``."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import Any

import anyio
from rich.table import Table
from rich.text import Text

from cloudburst.cli.live_check import Finding, LivePlan, Outcome, check_live, plan_live
from cloudburst.cli.output import plain_table, print_output, safe_text
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.signals import run_until_signal

_STYLES = dict(zip(Outcome, ("green", "red", "yellow", "dim"), strict=True))


def check_account(*, yes: bool, **options: Any) -> int:
    """Make the live check after a question, print its findings, and return the exit code.

    Args:
        yes: True to ask nothing.
        **options: Options of `plan_live`.

    Raises:
        ConfigurationError: There is no terminal for the question.
    """
    if not yes and not sys.stdin.isatty():
        raise ConfigurationError("--live asks a question, and there is no terminal: add --yes")
    settings = Settings()
    plan = anyio.run(partial(plan_live, settings, **options))
    _print_plan(plan)
    if not yes:
        print_output(Text("Start them? [y/N]", "bold"))
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            return 1
    found: list[Finding] = []
    show = partial(_print_finding, found)
    _, code = run_until_signal(partial(check_live, settings, plan, on_finding=show))
    counts = Counter(finding.outcome for finding in found)
    numbers = [f"{counts[each]} {each}" for each in Outcome if each is not Outcome.NOTE]
    end = "Interrupted: " if code else ""
    print_output(Text(f"\n{end}{', '.join(numbers)}.", "bold"))
    return code or int(counts[Outcome.BROKEN] > 0)


def _print_plan(plan: LivePlan) -> None:
    table = plain_table()
    for name in ("part", "starts", "costs at most"):
        table.add_column(name)
    for part in plan.parts:
        starts = f"not tried: {part.omitted}" if part.omitted else part.starts
        table.add_row(part.name, starts, f"${part.usd:.4f}" if part.usd else "")
    print_output(Text(f"\nIn account {plan.account}, {plan.region}, this starts:\n"))
    print_output(table)
    print_output(Text(f"\n${plan.usd:.4f} at most. All of it is stopped and deleted at the end."))


def _print_finding(found: list[Finding], finding: Finding) -> None:
    """Print a finding, below the name of its part if it is the first one, and remember it."""
    if not found or found[-1].part != finding.part:
        print_output(Text(f"\n{finding.part}", "bold"))
    found.append(finding)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, min_width=len(Outcome.NOT_TRIED))
    grid.add_column(overflow="fold")
    text = f"{finding.subject}: {finding.seen}" if finding.seen else finding.subject
    grid.add_row(Text(finding.outcome, _STYLES[finding.outcome]), safe_text(text))
    print_output(grid)

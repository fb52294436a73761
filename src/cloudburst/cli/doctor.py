"""``cloudburst doctor``: looks at everything that a run on Fargate needs."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import Annotated

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.account.examination import Check, Diagnosis, State, doctor
from cloudburst.cli.displays import write_line
from cloudburst.cli.settings import read_settings
from cloudburst.cli.where import Where
from cloudburst.cli.words import count, shown
from cloudburst.errors import ConfigurationError
from cloudburst.models.tier import Tier

_SIGNS = {State.OK: ("✓", "green"), State.WARNING: ("!", "yellow"), State.FAILURE: ("✗", "red")}


def doctor_command(
    *,
    workers: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    tier: str = Tier.STANDARD.name,
    address: Annotated[str | None, Parameter(name="--from")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Check whether a run on Fargate would work, and say what mends it if not.

    Changes nothing. The exit code is 0 when a run would work, warnings or not, and 1 for a
    failure.

    Parameters
    ----------
    workers
        Tasks at once that a run would ask for. Default: 4, as a run does.
    tier
        Their size: a name or its priority, 1 to 5.
    address
        This machine's address, as workers see it. Default: what https://checkip.amazonaws.com
        says.
    as_json
        One JSON object on the standard output.
    """
    size = Where(tier=tier).size()
    here = None if address is None else _always(address)
    diagnosis = anyio.run(partial(doctor, read_settings(), tasks=workers, tier=size, here=here))
    if as_json:
        write_line(json.dumps({"healthy": diagnosis.healthy, **asdict(diagnosis)}))
    else:
        Console(highlight=False).print(Told(diagnosis))
    return 0 if diagnosis.healthy else 1


def _always(text: str) -> Callable[[], Awaitable[str]]:
    """The address without asking anybody. Raises `ConfigurationError` when it is none."""
    try:
        address = str(ipaddress.IPv4Address(text))
    except ValueError as exc:
        raise ConfigurationError(f"--from: {text!r} is no IPv4 address") from exc

    async def here() -> str:
        return address

    return here


class Told:
    """All checks, and what they come to."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self._diagnosis = diagnosis

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A line for each check; what mends it below."""
        diagnosis = self._diagnosis
        yield _table(diagnosis.checks)
        yield Text()
        failures, warnings = len(diagnosis.failures), len(diagnosis.warnings)
        told = [
            *([count(failures, "failure")] if failures else []),
            *([count(warnings, "warning")] if warnings else []),
        ]
        if failures:
            yield Text(f"{', '.join(told)}: a run on Fargate would not work.", "red")
        elif warnings:
            yield Text(f"{', '.join(told)}; a run on Fargate would work.", "yellow")
        else:
            yield Text("A run on Fargate would work.", "green")


def _table(checks: Sequence[Check]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for names, check in _folded(checks):
        sign, style = _SIGNS[check.state]
        told = shown(check.found, "" if check.state is State.OK else style)
        if len(names) > 1:
            told = Text.assemble(told, (f" ({', '.join(names[1:])}, too)", "dim"))
        grid.add_row(Text(sign, style), names[0], told)
        if check.mend:
            grid.add_row("", "", Text.assemble(("→ ", "dim"), shown(check.mend, "cyan")))
    return grid


def _folded(checks: Sequence[Check]) -> Iterator[tuple[list[str], Check]]:
    """Checks one after the other of which there is the same to tell."""
    for _, same in groupby(checks, key=lambda check: (check.state, check.found, check.mend)):
        group = list(same)
        yield [check.name for check in group], group[0]

"""``cloudburst doctor``: checks everything that a run on Fargate needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import Annotated

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cloudburst.aws.setup.check_account import Check, CheckStatus, DoctorReport, doctor
from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.options import WholeNumber, s3_folders
from cloudburst.cli.output import print_output, write_json
from cloudburst.display.language import say, translate
from cloudburst.display.terminal_texts import advice_text, safe_text
from cloudburst.display.texts import pluralize
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier

_SIGNS = {
    CheckStatus.PASSED: ("✓", "green"),
    CheckStatus.WARNING: ("!", "yellow"),
    CheckStatus.FAILED: ("✗", "red"),
}


def doctor_command(
    *,
    workers: Annotated[WholeNumber | None, Parameter(validator=Number(gte=1))] = None,
    tier: Annotated[str, Parameter(metavar="SIZE")] = Tier.STANDARD.name,
    address: Annotated[str | None, Parameter(name="--from", metavar="ADDRESS")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    live: Annotated[bool, Parameter(negative=())] = False,
    s3: Annotated[str | None, Parameter(metavar="FOLDER")] = None,
    quick: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Check whether a run on Fargate would work, and print how to fix any problems.

    Changes nothing without --live. The exit code is 0 if no check failed, and 1 otherwise; warnings
    do not count.

    $ cloudburst doctor
    $ cloudburst doctor --workers 16 --live --quick

    Parameters
    ----------
    workers
        Number of tasks that the run starts at once. Default: 4, as for a run.
    tier
        Size of these tasks: a name or its priority, 1 to 5.
    address
        Address of this machine, as workers see it. Default: the answer of
        https://checkip.amazonaws.com.
    as_json
        Print one JSON object.
    live
        Then also start small tasks, after a question, and print for each promise of AWS whether it
        is kept, broken or not tried. Costs at most what the question says, less than $0.10. The
        exit code is 1 if a promise is broken.
    s3
        With --live: folder s3://BUCKET/PREFIX in which small objects are written and deleted.
    quick
        With --live: omit the image, the subnets, the burst and ARM64.
    yes
        With --live: ask nothing.
    """
    if not live and (s3 or yes or quick):
        raise ConfigurationError("--s3, --quick and --yes need --live")
    if live and as_json:
        raise ConfigurationError("--json with --live; expected one of the two")
    folder = s3_folders([s3])[0] if s3 else None
    size = BackendOptions(tier=tier).selected_tier()
    find_address = None if address is None else _fixed_address(address)
    check = partial(doctor, Settings(), tasks=workers, tier=size, find_address=find_address)
    report = anyio.run(check)
    if as_json:
        write_json({"success": report.success, **asdict(report)})
    else:
        print_output(*doctor_lines(report))
    if live and report.success:
        from cloudburst.cli.live_check import check_account  # noqa: PLC0415 - loads the client

        return check_account(yes=yes, s3=folder, quick=quick)
    return 0 if report.success else 1


def _fixed_address(text: str) -> Callable[[], Awaitable[str]]:
    try:
        address = str(ipaddress.IPv4Address(text))
    except ValueError as exc:
        raise ConfigurationError(f"--from: {text!r}; expected an IPv4 address") from exc

    async def find_address() -> str:
        return address

    return find_address


def doctor_lines(report: DoctorReport) -> Iterator[RenderableType]:
    """Yield a line for each check, with its fix below, and a conclusion."""
    groups = list(_grouped(report.checks))
    width = max((cell_len(translate(names[0])) for names, _ in groups), default=0)
    for names, check in groups:
        yield from _check_lines(names, check, name_width=width)
    yield Text()
    statuses = [check.status for _, check in groups]
    failures = statuses.count(CheckStatus.FAILED)
    warnings = statuses.count(CheckStatus.WARNING)
    found = {"failure": failures, "warning": warnings}
    counts = say(", ").join(pluralize(count, word) for word, count in found.items() if count)
    if failures:
        yield Text(say("{}: a run on Fargate would not work.", counts), "red")
    elif warnings:
        yield Text(say("{}; a run on Fargate would work.", counts), "yellow")
    else:
        yield Text(say("A run on Fargate would work."), "green")


def _check_lines(
    names: Sequence[str], check: Check, *, name_width: int
) -> Iterator[RenderableType]:
    sign, style = _SIGNS[check.status]
    found = safe_text(translate(check.found), "" if check.status is CheckStatus.PASSED else style)
    if len(names) > 1:
        others = say(", ").join(map(translate, names[1:]))
        found = Text.assemble(found, (say(" (also: {})", others), "dim"))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=name_width)
    grid.add_column(overflow="fold")
    grid.add_row(Text(sign, style), translate(names[0]), found)
    yield grid
    if check.fix:
        advice = advice_text(f"→ {translate(check.fix)}", "cyan")
        # A command that must not be wrapped begins at the left, so that it can be read.
        yield advice if advice.no_wrap else Padding.indent(advice, name_width + 3)


def _grouped(checks: Sequence[Check]) -> Iterator[tuple[list[str], Check]]:
    for _, same in groupby(checks, key=lambda check: (check.status, check.found, check.fix)):
        group = list(same)
        yield [check.name for check in group], group[0]

"""``cloudburst prices``: what an hour of a task costs."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.cli.settings import read_settings
from cloudburst.cli.words import shown
from cloudburst.models.prices import HOME, PriceTable
from cloudburst.models.tier import Tier

_COLUMNS = (
    ("x86", "X86_64", "FARGATE"),
    ("x86 Spot", "X86_64", "FARGATE_SPOT"),
    ("ARM", "ARM64", "FARGATE"),
    ("ARM Spot", "ARM64", "FARGATE_SPOT"),
)
_HOUR = 3600


def prices_command(
    *,
    refresh: Annotated[bool, Parameter(negative=())] = False,
    region: str | None = None,
) -> int:
    """Show what an hour of a task of each size costs, and since when that is known.

    Parameters
    ----------
    refresh
        Ask AWS first (pricing:GetProducts), and keep the answer for this user.
    region
        In place of AWS_REGION.
    """
    from cloudburst.account.prices import load_prices, refresh_prices  # noqa: PLC0415 - boto takes a while to import

    settings = read_settings()
    table = anyio.run(refresh_prices, settings) if refresh else anyio.run(load_prices)
    shows = PriceList(table, region or settings.region or HOME, public=settings.public_address)
    Console(highlight=False).print(shows)
    return 0


class PriceList:
    """The tiers in one region."""

    def __init__(self, table: PriceTable, region: str, *, public: bool) -> None:
        self._table = table
        self._region = region
        self._public = public

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One row for each tier; then what is in it, and where it is from."""
        yield self._tiers()
        yield Text()
        yield from self._notes()

    def _tiers(self) -> Table:
        grid = Table(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            header_style="dim",
            border_style="dim",
        )
        grid.add_column("tier", no_wrap=True)
        for name in ("vCPU", "GB", *(name for name, *_ in _COLUMNS)):
            grid.add_column(name, justify="right", no_wrap=True)
        for tier in sorted(Tier, key=lambda tier: tier.vcpu):
            hours = [
                self._hour(tier, architecture, capacity) for _, architecture, capacity in _COLUMNS
            ]
            grid.add_row(tier.name, str(tier.vcpu), str(tier.memory_gb), *hours)
        return grid

    def _hour(self, tier: Tier, architecture: str, capacity: str) -> Text:
        rates = self._table.rates(self._region, architecture=architecture, capacity=capacity)
        known = self._table.knows(self._region, architecture=architecture)
        hour = rates.of(tier, public_ipv4=self._public) * _HOUR
        return Text(f"{'' if known else '≈'}${hour:.4f}", "" if known else "yellow")

    def _notes(self) -> Iterator[Text]:
        table, region = self._table, self._region
        ipv4 = table.rates(region).ipv4 * _HOUR
        with_address = f", with a public address (${ipv4.quantize(Decimal('0.001'))})"
        yield Text.assemble(
            "USD for an hour in ",
            shown(region, "bold"),
            with_address if self._public else ", without a public address",
            "; billed by the second, a minute at least.",
        )
        if not table.knows(region, architecture="ARM64"):
            what = "ARM's prices" if table.knows(region) else "Its prices"
            yield Text(f"≈ {what} are not known: those of {HOME} are shown.", "yellow")
        known = table.regions[region if table.knows(region) else HOME]
        yield shown(f"Prices of {known.date}: {known.source}", "dim")
        spot = f"Spot at {table.spot_factor} of that, as of {table.spot_date}; it moves."
        yield Text(spot, "dim")

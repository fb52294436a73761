"""``cloudburst prices``: prints the hourly prices of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from cloudburst.cli.options import Name
from cloudburst.cli.output import print_output
from cloudburst.display.terminal_texts import plain_table, safe_text
from cloudburst.models.prices import DEFAULT_REGION, PriceTable
from cloudburst.models.settings import Settings
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
    region: Name | None = None,
) -> int:
    """Print the hourly price of a task of each size, and the date of the prices.

    $ cloudburst prices --region eu-central-1

    Parameters
    ----------
    refresh
        Load the prices from AWS first (pricing:GetProducts), and save them for this user.
    region
        Region of the prices. Default: AWS_REGION.
    """
    from cloudburst.aws.setup import load_prices, refresh_prices  # noqa: PLC0415 - boto is slow to import

    settings = Settings()
    table = anyio.run(refresh_prices, settings) if refresh else anyio.run(load_prices)
    name = region or settings.region or DEFAULT_REGION
    public = settings.public_address
    print_output(_tiers(table, name, public=public), "", *_notes(table, name, public=public))
    return 0


def _tiers(table: PriceTable, region: str, *, public: bool) -> Table:
    grid = plain_table()
    grid.add_column("tier", no_wrap=True)
    for name in ("vCPU", "GB", *(name for name, *_ in _COLUMNS)):
        grid.add_column(name, justify="right", no_wrap=True)
    for tier in sorted(Tier, key=lambda tier: tier.vcpu):
        hours: list[Text] = []
        for _, architecture, capacity in _COLUMNS:
            rates = table.rates(region, architecture=architecture, capacity=capacity)
            known = table.has_region(region, architecture=architecture) and (
                capacity == "FARGATE" or table.has_spot(region)
            )
            hour = rates.task_usd_per_second(tier, public_ipv4=public) * _HOUR
            hours.append(Text(f"{'' if known else '≈'}${hour:.4f}", "" if known else "yellow"))
        grid.add_row(tier.name, str(tier.vcpu), str(tier.memory_gb), *hours)
    return grid


def _notes(table: PriceTable, region: str, *, public: bool) -> Iterator[Text]:
    ipv4 = table.rates(region).ipv4 * _HOUR
    with_address = f", with a public address (${ipv4.quantize(Decimal('0.001'))})"
    yield Text.assemble(
        "USD for an hour in ",
        safe_text(region, "bold"),
        with_address if public else ", without a public address",
        "; billed by the second, for at least a minute.",
    )
    if not table.has_region(region, architecture="ARM64"):
        what = "ARM's prices" if table.has_region(region) else "Its prices"
        yield Text(f"≈ {what} are not known: those of {DEFAULT_REGION} are shown.", "yellow")
    if not table.has_spot(region):
        yield Text("≈ Spot is estimated: cloudburst prices --refresh reads its prices.", "yellow")
    known = table.regions[region if table.has_region(region) else DEFAULT_REGION]
    yield safe_text(f"Prices of {known.date}: {known.source}", "dim")
    share = known.spot_factor or table.spot_factor
    yield safe_text(f"Spot at {share} of that, as of {table.spot_date}; it changes.", "dim")

"""What a second of a task costs, in USD, and the dated table that says so for each region."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.models.tier import Tier

Architecture: TypeAlias = Literal["X86_64", "ARM64"]
"""``runtimePlatform.cpuArchitecture`` of a task definition."""
Capacity: TypeAlias = Literal["FARGATE", "FARGATE_SPOT"]
"""``capacityProviderName`` of a task."""

IPV4_SECOND = Decimal("0.005") / 3600
"""One public IPv4 address for one second, in every region: https://aws.amazon.com/vpc/pricing/
(2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD for one second of each thing that is billed."""

    vcpu: Decimal
    """One vCPU."""
    memory_gb: Decimal
    """One GB of memory."""
    disk_gb: Decimal = Decimal()
    """One GB of ephemeral storage beyond the first 20."""
    ipv4: Decimal = IPV4_SECOND
    """One public IPv4 address."""

    def of(self, tier: Tier, *, public_ipv4: bool = True) -> Decimal:
        """A second of a task of this size, with the disk that costs nothing."""
        size = tier.vcpu * self.vcpu + tier.memory_gb * self.memory_gb
        return size + (self.ipv4 if public_ipv4 else 0)


US_EAST_1 = Rates(
    vcpu=Decimal("0.000011244"),
    memory_gb=Decimal("0.000001235"),
    disk_gb=Decimal("0.0000000308"),
)
"""Linux on x86, on demand: https://aws.amazon.com/fargate/pricing/ (us-east-1, 2026-11)."""

HOME = "us-east-1"
"""The region whose prices are assumed where none are known."""
_VCPU_DIGITS, _MEMORY_DIGITS, _DISK_DIGITS = 5, 4, 3
"""Digits that matter in the figures per second of AWS's page, whose figures per hour are exact:
$0.04048 an hour is printed as $0.000011244 a second, $0.004445 as $0.000001235."""

_When = Annotated[str, Field(pattern=r"^\d{4}(-\d\d){0,2}$")]
# An hour that costs a tenth or ten times of what any region charges is a misread figure.
_VcpuHour = Annotated[Decimal, Field(gt=Decimal("0.004"), lt=Decimal("0.4"))]
_MemoryHour = Annotated[Decimal, Field(gt=Decimal("0.0004"), lt=Decimal("0.04"))]
_DiskHour = Annotated[Decimal, Field(gt=Decimal("0.00001"), lt=Decimal("0.001"))]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)


class Hourly(_Frozen):
    """Linux, on demand, in USD for one hour."""

    vcpu: _VcpuHour
    memory_gb: _MemoryHour


class RegionPrices(_Frozen):
    """What is known of one region."""

    date: _When
    """When these figures were AWS's; a year or month where no more is known."""
    source: str
    x86: Hourly
    arm: Hourly | None = None
    disk_gb: _DiskHour | None = None
    """One GB beyond the first 20 for one hour."""


class PriceTable(_Frozen):
    """List prices of Fargate by region; Linux only."""

    date: dt.date
    """When the table was made or refreshed; each region has a date of its own."""
    spot_factor: Annotated[Decimal, Field(gt=0, le=1)]
    """Spot costs this part of vCPU and memory on demand. It moves, and is not in AWS's price list;
    disk and addresses are never cheaper."""
    spot_date: _When
    spot_source: str
    regions: Mapping[str, RegionPrices]

    def knows(self, region: str, *, architecture: str = "X86_64") -> bool:
        """Whether `rates` are of this region; else they are assumed to be those of us-east-1."""
        prices = self.regions.get(region)
        return prices is not None and (architecture != "ARM64" or prices.arm is not None)

    def rates(
        self,
        region: str,
        *,
        architecture: str = "X86_64",
        capacity: str = "FARGATE",
        spot_factor: Decimal | None = None,
    ) -> Rates:
        """USD for one second, with as many digits as AWS's own page prints.

        Args:
            region: One that is not known gets the rates of us-east-1; see `knows`.
            architecture: ``X86_64`` or ``ARM64``, as task definitions write it.
            capacity: ``FARGATE`` or ``FARGATE_SPOT``, as tasks write their provider.
            spot_factor: In place of the table's.
        """
        known = self.knows(region, architecture=architecture)
        prices = self.regions[region if known else HOME]
        hour = prices.arm if architecture == "ARM64" and prices.arm is not None else prices.x86
        factor = Decimal(1)
        if capacity == "FARGATE_SPOT":
            factor = self.spot_factor if spot_factor is None else spot_factor
        disk = prices.disk_gb or self.regions[HOME].disk_gb or Decimal()
        return Rates(
            vcpu=_second(hour.vcpu * factor, _VCPU_DIGITS),
            memory_gb=_second(hour.memory_gb * factor, _MEMORY_DIGITS),
            disk_gb=_second(disk, _DISK_DIGITS),
        )


def _second(hour: Decimal, digits: int) -> Decimal:
    return Context(prec=digits).divide(hour, Decimal(3600))

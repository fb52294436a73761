"""Prices of Fargate tasks in USD per second, and a table with the list prices of each region."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.models.tier import Tier

# Processor architecture of a task: ``runtimePlatform.cpuArchitecture`` of its task definition.
Architecture: TypeAlias = Literal["X86_64", "ARM64"]

# Price of one public IPv4 address per second, in USD, in every region:
# https://aws.amazon.com/vpc/pricing/ (2026-11).
IPV4_USD_PER_SECOND = Decimal("0.005") / 3600

# GB of ephemeral storage that each task gets at no cost: https://aws.amazon.com/fargate/pricing/
# (2026-11).
FREE_DISK_GB = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Prices of Fargate in a region, in USD per second."""

    vcpu: Decimal
    memory_gb: Decimal
    disk_gb: Decimal = Decimal()
    """USD for a GB of ephemeral storage beyond the first 20."""
    ipv4: Decimal = IPV4_USD_PER_SECOND
    """USD for a public IPv4 address."""

    def usd_per_second(
        self, vcpu: float, memory_gb: float, extra_disk_gb: int, *, public_ipv4: bool
    ) -> Decimal:
        """Return the price of a task of this size in USD per second."""
        size = Decimal(str(vcpu)) * self.vcpu + Decimal(str(memory_gb)) * self.memory_gb
        return size + extra_disk_gb * self.disk_gb + (self.ipv4 if public_ipv4 else 0)

    def task_usd_per_second(self, tier: Tier, *, public_ipv4: bool = True) -> Decimal:
        """Return that of a tier."""
        return self.usd_per_second(tier.vcpu, tier.memory_gb, 0, public_ipv4=public_ipv4)


def extra_disk_gb(ephemeral_storage: int | None) -> int:
    """Return the billed part of a task's ephemeral storage, in GB."""
    return max(0, (ephemeral_storage or 0) - FREE_DISK_GB)


# On-demand prices of us-east-1 for Linux on x86: https://aws.amazon.com/fargate/pricing/
# (2026-11).
US_EAST_1_RATES = Rates(
    vcpu=Decimal("0.04048") / 3600,
    memory_gb=Decimal("0.004445") / 3600,
    disk_gb=Decimal("0.000111") / 3600,
)

# Region whose prices are used for regions that the price table does not have.
DEFAULT_REGION = "us-east-1"

_PriceDate = Annotated[str, Field(pattern=r"^\d{4}(-\d\d){0,2}$")]
# A price ten times above or below those of all regions was misread.
_VcpuHour = Annotated[Decimal, Field(gt=Decimal("0.004"), lt=Decimal("0.4"))]
_MemoryHour = Annotated[Decimal, Field(gt=Decimal("0.0004"), lt=Decimal("0.04"))]
_DiskHour = Annotated[Decimal, Field(gt=Decimal("0.00001"), lt=Decimal("0.001"))]
_Share = Annotated[Decimal, Field(gt=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)


class HourlyPrices(_Frozen):
    """On-demand prices of a vCPU and of a GB of memory for tasks on Linux, in USD per hour."""

    vcpu: _VcpuHour
    memory_gb: _MemoryHour


class RegionPrices(_Frozen):
    """List prices of Fargate in one region."""

    date: _PriceDate
    """Date of the prices; a year or a month if the day is not known."""
    source: str
    x86: HourlyPrices
    arm: HourlyPrices | None = None
    disk_gb: _DiskHour | None = None
    """USD per hour for a GB of ephemeral storage beyond the first 20."""
    spot_factor: _Share | None = None
    """Spot price as a share of the on-demand price."""


class PriceTable(_Frozen):
    """List prices of Fargate for tasks on Linux, by region."""

    date: dt.date
    spot_factor: _Share
    """Assumed share, for regions without one of their own."""
    spot_date: _PriceDate
    spot_source: str
    regions: Mapping[str, RegionPrices]

    def has_region(self, region: str, *, architecture: str = "X86_64") -> bool:
        """Return whether the table has prices of this region for this architecture."""
        prices = self.regions.get(region)
        return prices is not None and (architecture != "ARM64" or prices.arm is not None)

    def has_spot(self, region: str) -> bool:
        """Return whether the table has the Spot prices of this region; if not, they are assumed."""
        prices = self.regions.get(region)
        return prices is not None and prices.spot_factor is not None

    def rates(
        self,
        region: str,
        *,
        architecture: str = "X86_64",
        capacity: str = "FARGATE",
    ) -> Rates:
        """Return the prices in USD per second: those of an hour, which AWS bills, divided by 3600.

        Args:
            region: Name of the region. For an unknown region, the prices of us-east-1 are returned;
                see `has_region`.
            architecture: Architecture of the task: ``X86_64`` or ``ARM64``.
            capacity: Capacity provider: ``FARGATE`` or ``FARGATE_SPOT``.
        """
        # For an unknown region, the prices of us-east-1; see `has_region`.
        known = self.has_region(region, architecture=architecture)
        prices = self.regions[region if known else DEFAULT_REGION]
        hour = prices.arm if architecture == "ARM64" and prices.arm is not None else prices.x86
        factor = Decimal(1)
        if capacity == "FARGATE_SPOT":
            factor = prices.spot_factor or self.spot_factor
        disk = prices.disk_gb or self.regions[DEFAULT_REGION].disk_gb or Decimal()
        return Rates(
            vcpu=hour.vcpu * factor / 3600,
            memory_gb=hour.memory_gb * factor / 3600,
            disk_gb=disk / 3600,
        )

"""Choice of the processor architecture of tasks by measured USD per second of work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from cloudburst.aws.fargate.placement import CapacityProviders
from cloudburst.models.performance import Sample
from cloudburst.models.prices import PriceTable, extra_disk_gb
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier

SAMPLES = 8
"""Number of encodes that are measured on each architecture before they are compared. Two tasks of
the smallest tiers make as many in a minute or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEncodes:
    """Encodes that were measured on the tasks of one architecture, and the price of a task."""

    count: int = 0
    """Number of measured encodes."""
    seconds: float = 0.0
    """Sum of their times, in seconds of an encoder slot."""
    work: float = 0.0
    """Sum of the work of their scenes, in seconds."""
    usd_per_second: Decimal
    """Price of one task, in USD per second."""
    encoder_slots: int
    """Number of scenes that one task encodes at once."""

    @classmethod
    def of(
        cls,
        samples: Iterable[Sample],
        *,
        kind: str,
        usd_per_second: Decimal,
        encoder_slots: int,
    ) -> MeasuredEncodes:
        """Return the encodes among the samples of one kind of worker."""
        encodes = [each for each in samples if each.kind == kind and each.measure == "encode"]
        return cls(
            count=len(encodes),
            seconds=sum(each.seconds for each in encodes),
            work=sum(each.work for each in encodes),
            usd_per_second=usd_per_second,
            encoder_slots=encoder_slots,
        )

    @property
    def usd_per_hour_of_work(self) -> Decimal:
        """Price of an hour of work on a task that encodes in all its slots, in USD."""
        rate = self.usd_per_second / self.encoder_slots
        return 3600 * rate * Decimal(str(self.seconds / self.work))


@dataclass(frozen=True, slots=True)
class ArchitectureChoice:
    """Architecture that was chosen for the tasks of a client."""

    architecture: str
    """``X86_64`` or ``ARM64``."""
    reason: str
    """Reason of the choice, for people."""


def highest_price(
    table: PriceTable, settings: Settings, tier: Tier, *, region: str, architecture: str
) -> Decimal:
    """Return the price of a task with the most expensive capacity provider, in USD per second.

    Args:
        table: Prices of tasks.
        settings: Settings that name the capacity providers, the disk space and the network.
        tier: Size of the task.
        region: Region in which the task runs.
        architecture: Architecture of the task.

    Raises:
        ConfigurationError: The settings name an unknown capacity provider.
    """
    rates = [
        table.rates(
            region, architecture=architecture, capacity=provider, spot_factor=settings.spot_factor
        )
        for provider in CapacityProviders(settings.capacity).weights
    ]
    disk = extra_disk_gb(settings.ephemeral_storage)
    return max(
        rate.task_usd_per_second(tier, public_ipv4=settings.public_address) + disk * rate.disk_gb
        for rate in rates
    )


def choose_architecture(
    measured: Mapping[str, MeasuredEncodes], *, named: str
) -> ArchitectureChoice:
    """Choose the architecture that costs less for each second of work.

    Until `SAMPLES` encodes were measured on each architecture, the one that has fewer is chosen:
    first ``named``, then the other one.

    Args:
        measured: Measured encodes of each architecture that has a task definition.
        named: Architecture of the task definition in the settings.
    """
    names = sorted(measured, key=lambda name: name != named)
    if len(names) == 1:
        return ArchitectureChoice(names[0], "no other task definition exists")
    for name in names:
        if measured[name].count < SAMPLES or not measured[name].work:
            reason = f"to measure it: {measured[name].count} of {SAMPLES} encodes are known"
            return ArchitectureChoice(name, reason)
    best, other = sorted(names, key=lambda name: measured[name].usd_per_hour_of_work)
    prices = [
        f"${measured[name].usd_per_hour_of_work:.4f} on {name} ({measured[name].count} encodes)"
        for name in (best, other)
    ]
    return ArchitectureChoice(best, f"an hour of work costs {prices[0]}, {prices[1]}")

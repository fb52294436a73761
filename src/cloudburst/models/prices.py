"""What a second of a task costs, in USD."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from cloudburst.models.tier import Tier

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

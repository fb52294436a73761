"""Workers that there can be, and what is known of them, without asking AWS or starting any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloudburst.adapters.aws.prices import read_prices
from cloudburst.adapters.aws.runtask import Providers
from cloudburst.adapters.local.processes import numbers
from cloudburst.backends import renders_here
from cloudburst.engine import assumed
from cloudburst.engine.figures import Figures
from cloudburst.engine.plan import Offer
from cloudburst.history import read_history
from cloudburst.models.pace import Pace
from cloudburst.models.prices import HOME, PriceTable
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.service.cores import usable_cores

TASKS = 16
"""Tasks at once that a plan goes up to where nobody said how many there may be."""
FREE_DISK = 20
"""GB of ephemeral storage that cost nothing: https://aws.amazon.com/fargate/pricing/ (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An offer, and how its figures came about."""

    offer: Offer
    kind: str
    starts: int
    """Starts that were measured on this machine's runs; 0: assumed."""
    encodes: int
    """The same of encodes."""


class Knowledge:
    """What this machine knows: figures of earlier runs, and prices. Reads files when made."""

    def __init__(self) -> None:
        samples = read_history()
        self.figures = Figures(samples)
        self.prices = read_prices()
        self._kinds = [sample.kind for sample in samples]

    def local(self, *, workers: int | None) -> Known | None:
        """This machine, as `cloudburst.local` would have it; ``None`` if it cannot render."""
        if not renders_here():
            return None
        cores = usable_cores()
        workers, encoders = numbers(workers, None, cores=cores)
        size = {"at_once": workers * encoders, "cores": cores}
        return self._known(
            assumed.local_kind(**size),
            assumed.local_pace(**size),
            backend="local",
            encoders=encoders,
            most=workers,
        )

    def endpoints(self, addresses: Sequence[str], protocol: Protocol) -> Known:
        """Containers that run already, as `cloudburst.endpoints` would have them."""
        return self._known(
            assumed.endpoints_kind([address.rstrip("/") for address in addresses], protocol),
            assumed.endpoints_pace(protocol, at_once=1),
            backend="endpoints",
            encoders=1,
            most=len(addresses),
        )

    def fargate(
        self, settings: Settings, *, tiers: Iterable[Tier], workers: int | None
    ) -> list[Known]:
        """Tasks of these sizes, at the dearest price that the settings may bring about.

        Raises `ConfigurationError` for a capacity that Fargate has not.
        """
        protocol, architecture = self._image(settings)
        region = settings.region or HOME
        rates = [
            self.prices.rates(
                region,
                architecture=architecture,
                capacity=provider,
                spot_factor=settings.spot_factor,
            )
            for provider in Providers(settings.capacity).weights
        ]
        disk = max(0, (settings.ephemeral_storage or 0) - FREE_DISK)
        return [
            self._known(
                assumed.fargate_kind(tier, protocol, architecture),
                assumed.fargate_pace(tier, protocol),
                backend="fargate",
                tier=tier,
                encoders=assumed.encoders(tier, protocol),
                most=workers or TASKS,
                usd_per_second=max(
                    rate.of(tier, public_ipv4=settings.public_address) + disk * rate.disk_gb
                    for rate in rates
                ),
            )
            for tier in tiers
        ]

    def _image(self, settings: Settings) -> tuple[Protocol, str]:
        """Protocol and architecture: by the settings, else those of the latest run on Fargate.

        The task definition says them for sure, but that lies with AWS.
        """
        from cloudburst.account.blueprint import ARM_SUFFIX, is_ours  # noqa: PLC0415 - no other command line needs it

        family = settings.task_definition.rpartition("/")[2].partition(":")[0]
        arm = "ARM64" if family.endswith(ARM_SUFFIX) else "X86_64"
        if settings.protocol is not None:
            return settings.protocol, arm
        for kind in reversed(self._kinds):
            place, *rest = kind.split()
            if place == "fargate" and len(rest) == 3:
                return Protocol(rest[1]), arm
        return (Protocol.NATIVE if is_ours(settings.image) else Protocol.ONESTEP), arm

    def _known(
        self,
        kind: str,
        pace: Pace,
        *,
        backend: str,
        encoders: int,
        most: int,
        tier: Tier | None = None,
        usd_per_second: Decimal = Decimal(),
    ) -> Known:
        measured = self.figures.pace(_Kind(kind=kind, pace=pace))
        return Known(
            offer=Offer(
                backend=backend,
                tier=tier,
                pace=measured,
                encoders=encoders,
                most=most,
                usd_per_second=usd_per_second,
            ),
            kind=kind,
            starts=self.figures.count(kind, "start"),
            encodes=self.figures.count(kind, "encode"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    kind: str
    pace: Pace


def price_note(table: PriceTable, settings: Settings) -> str:
    """Where prices are from, when that is not the configured region."""
    region = settings.region or HOME
    return "" if table.knows(region) else f"prices of {region} are not known: those of {HOME} count"

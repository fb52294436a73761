"""Candidates for a plan: kinds of workers with performance and price, without a call to AWS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cloudburst.aws.client.price_list import read_prices
from cloudburst.aws.fargate.task_definition import account_of_arn, named_architecture
from cloudburst.backends import can_render_locally
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.plan import WorkerKind
from cloudburst.models import performance as default_performance
from cloudburst.models.performance import Performance
from cloudburst.models.prices import DEFAULT_REGION, PriceTable, extra_disk_gb
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier
from cloudburst.outputs.history import read_history
from cloudburst.service.cpu import usable_cores
from cloudburst.workers.local.backend import choose_worker_counts

DEFAULT_MAX_TASKS = 16
"""Largest number of tasks at once in a plan, without ``--workers``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A kind of worker, and how many measurements its performance is based on."""

    worker_kind: WorkerKind
    kind_name: str
    """Name under which measurements of this kind of worker are kept."""
    starts: int
    """Number of start-ups measured on this machine; 0 if the start-up time is assumed."""
    encodes: int
    """Number of encodes measured on this machine; 0 if the encode time is assumed."""


class PlanData:
    """Measurements of earlier runs and prices, both read from this machine's files."""

    def __init__(self) -> None:
        self._samples = read_history()
        self.measurements = Measurements(self._samples)
        self.prices = read_prices()

    def local(self, *, workers: int | None) -> Candidate | None:
        """Return the candidate for local workers; ``None`` if this machine cannot render."""
        if not can_render_locally():
            return None
        cores = usable_cores()
        workers, slots = choose_worker_counts(workers, None, cores=cores)
        size = {"encoder_slots": workers * slots, "cores": cores}
        return self._candidate(
            default_performance.local_kind(**size),
            default_performance.local_performance(**size),
            backend="local",
            encoder_slots=slots,
            max_workers=workers,
        )

    def endpoints(self, addresses: Sequence[str], protocol: Protocol) -> Candidate:
        """Return the candidate for containers that already run at given addresses."""
        return self._candidate(
            default_performance.endpoints_kind(
                [address.rstrip("/") for address in addresses], protocol
            ),
            default_performance.endpoints_performance(protocol, encoder_slots=1),
            backend="endpoints",
            encoder_slots=1,
            max_workers=len(addresses),
        )

    def fargate(
        self, settings: Settings, *, tiers: Iterable[Tier], workers: int | None
    ) -> list[Candidate]:
        """Return a candidate for each tier."""
        region = settings.region or DEFAULT_REGION
        cloud = self._cloud(settings, region)
        protocol = self._protocol(settings, cloud)
        architecture = named_architecture(settings.task_definition)
        rates = self.prices.rates(region, architecture=architecture, capacity=settings.capacity)
        disk = extra_disk_gb(settings.ephemeral_storage) * rates.disk_gb
        return [
            self._candidate(
                self._kind(tier, protocol, architecture, cloud),
                default_performance.fargate_performance(tier, protocol),
                backend="fargate",
                tier=tier,
                encoder_slots=default_performance.fargate_encoder_slots(tier, protocol),
                max_workers=workers or DEFAULT_MAX_TASKS,
                usd_per_second=disk
                + rates.task_usd_per_second(tier, public_ipv4=settings.public_address),
            )
            for tier in tiers
        ]

    def _kind(
        self, tier: Tier, protocol: Protocol, architecture: str, cloud: default_performance.Cloud
    ) -> str:
        """Return the kind of worker with the image of the latest run in this cloud."""
        for kind in self._latest_kinds():
            if cloud.account_in(kind) is not None and kind.split()[2:4] == [protocol, architecture]:
                image = kind.split()[-1]
                return default_performance.fargate_kind(tier, protocol, architecture, cloud, image)
        return default_performance.fargate_kind(tier, protocol, architecture, cloud, "")

    def _cloud(self, settings: Settings, region: str) -> default_performance.Cloud:
        """Return the configured account and region.

        The role or the task definition may name the account. If they do not, it is the account of
        the latest run at the same endpoint and in the same region.
        """
        named = filter(
            None, map(account_of_arn, (settings.role_arn or "", settings.task_definition))
        )
        cloud = default_performance.Cloud.of(
            settings.endpoint_url, region=region, account=next(named, None)
        )
        if cloud.account is not None:
            return cloud
        latest = filter(None, map(cloud.account_in, self._latest_kinds()))
        return replace(cloud, account=next(latest, None))

    def _protocol(self, settings: Settings, cloud: default_performance.Cloud) -> Protocol:
        """Return the image's protocol, from the settings or the latest run.

        Only the task definition states it reliably, but reading it would need a call to AWS.
        """
        from cloudburst.aws.setup.resource_definitions import is_our_image  # noqa: PLC0415 - only plans need it

        if settings.protocol is not None:
            return settings.protocol
        for kind in self._latest_kinds():
            if cloud.account_in(kind) is not None and (protocol := kind.split()[2]) in set(
                Protocol
            ):
                return Protocol(protocol)
        return Protocol.NATIVE if is_our_image(settings.image) else Protocol.ONESTEP

    def _latest_kinds(self) -> Iterator[str]:
        """Yield the kind of worker of each measurement, the newest first."""
        return (sample.kind for sample in reversed(self._samples))

    def _candidate(
        self,
        kind: str,
        assumed: Performance,
        *,
        backend: str,
        encoder_slots: int,
        max_workers: int,
        tier: Tier | None = None,
        usd_per_second: Decimal = Decimal(),
    ) -> Candidate:
        measured = self.measurements.performance(kind, assumed)
        return Candidate(
            worker_kind=WorkerKind(
                backend=backend,
                tier=tier,
                performance=measured,
                encoder_slots=encoder_slots,
                max_workers=max_workers,
                usd_per_second=usd_per_second,
            ),
            kind_name=kind,
            starts=self.measurements.count(kind, "startup"),
            encodes=self.measurements.count(kind, "encode"),
        )


def price_note(table: PriceTable, settings: Settings) -> str:
    """Return a note if the prices are not those of the configured region, else an empty text."""
    region = settings.region or DEFAULT_REGION
    if table.has_region(region):
        return ""
    return f"the prices of {region} are not known: those of {DEFAULT_REGION} are used"

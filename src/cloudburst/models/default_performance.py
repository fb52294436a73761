"""Assumed performance of each kind of worker, and the names of these kinds.

Measured samples are stored under the name of the kind of worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cloudburst.models.performance import (
    ASSUMED_RANGE,
    PLACEMENT_SECONDS,
    PULL_SECONDS,
    STOP_SECONDS,
    Performance,
)
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier, encoder_slots

NATIVE_CPU_SECONDS_PER_WORK = 0.235
"""CPU seconds that the render service needs for each second of work (weighted length of a scene),
measured with ``benchmarks/plan.py --work`` on a core of an AMD EPYC (docs/benchmarks.md). An encode
runs on one core."""
ONESTEP_SERIAL, ONESTEP_PARALLEL = 3.1, 2.5
"""CPU seconds that the public image needs for each second of work (weighted length of a scene):
first the part that runs on one core, then the part that runs on all cores. In
``benchmarks/render.py --peer``, a scene with 30 seconds of audio, zoom and subtitles took 199 CPU
seconds in 150 seconds on two cores."""
SECONDS_PER_VCPU_SECOND = 1 / 0.63
"""Seconds that one vCPU needs, while all vCPUs are busy, for work that takes a core one second.
On x86, two vCPUs share a core. With all vCPUs of a c6i instance busy, each vCPU does 63 % of the
work that it does while the others are idle: AWS's "Graviton performance runbook" (System load and
compute headroom, 2026-11). For ARM, where each vCPU is a slower core, no figure is known."""
TRANSFER_SECONDS = 2.0
"""Assumed seconds for upload and download of a scene: 5 MB each way at 40 Mbit/s."""
UNKNOWN_ACCOUNT = "unknown"
"""Text that stands for an unknown AWS account number in the name of a kind of worker."""
UNKNOWN_IMAGE = "-"
"""Text that stands for an image whose name is unknown in the name of a kind of worker."""
_KIND_WORDS = 7
"""Number of words that follow ``fargate`` in the name of a kind of Fargate task."""
LOCAL_STARTUP_SECONDS = 1.5
"""Assumed start-up time of a local worker process, in seconds, measured with ``benchmarks/plan.py``
(docs/benchmarks.md)."""


def local_kind(*, encoder_slots: int, cores: int) -> str:
    """Return the name of the kind of local workers with this total of encoder slots."""
    return f"local, {encoder_slots} at once on {cores} cores"


def local_performance(*, encoder_slots: int, cores: int) -> Performance:
    """Return the assumed performance of the local workers.

    ``encoder_slots`` is the number of scenes that all local workers together encode at once.
    """
    ratio = _slot_seconds_per_work(Protocol.NATIVE, cores=cores, at_once=encoder_slots)
    return Performance(
        startup_seconds=LOCAL_STARTUP_SECONDS,
        seconds_per_work=ratio,
        startup_range=ASSUMED_RANGE,
        encode_range=ASSUMED_RANGE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """AWS account in one region, or the equivalent in an emulator.

    Samples from one cloud are not used in another: images are stored elsewhere, and an emulator
    starts tasks within a second.
    """

    endpoint: str
    """The word ``aws``, or the scheme, host and port of an emulator's URL."""
    region: str
    """Name of the region."""
    account: str | None
    """AWS account number; ``None`` if it is unknown because AWS was not asked for it."""

    @classmethod
    def of(cls, endpoint_url: str | None, *, region: str, account: str | None) -> Cloud:
        """Return the cloud for an endpoint URL and a region; the URL is ``None`` for AWS itself."""
        parts = urlsplit(endpoint_url or "")
        host = parts.netloc.rpartition("@")[2].lower()
        endpoint = "aws" if endpoint_url is None else f"{parts.scheme}://{host}"
        return cls(endpoint="".join(endpoint.split()), region=region, account=account)

    def account_in(self, kind: str) -> str | None:
        """Return the account number in the name of a kind of Fargate task.

        Return ``None`` if the kind is not a Fargate task of this cloud.
        """
        name, *rest = kind.split()
        if (
            name != "fargate"
            or len(rest) != _KIND_WORDS
            or rest[3:5] != [self.endpoint, self.region]
        ):
            return None
        return rest[5] if self.account in {None, rest[5]} else None


def fargate_kind(
    tier: Tier, protocol: Protocol, architecture: str, cloud: Cloud, image: str
) -> str:
    """Return the name of the kind of Fargate task with these properties.

    Another image takes another time to start and to encode, so its digest is a part of the name,
    or the name of an image without one.
    """
    place = f"{cloud.endpoint} {cloud.region} {cloud.account or UNKNOWN_ACCOUNT}"
    version = image.rpartition("@")[2] or UNKNOWN_IMAGE
    return f"fargate {tier.name} {protocol} {architecture} {place} {version}"


def fargate_performance(tier: Tier, protocol: Protocol) -> Performance:
    """Return the assumed performance of a Fargate task."""
    return Performance(
        startup_seconds=PLACEMENT_SECONDS + PULL_SECONDS,
        seconds_per_work=SECONDS_PER_VCPU_SECOND
        * _slot_seconds_per_work(
            protocol, cores=tier.vcpu, at_once=fargate_encoder_slots(tier, protocol)
        ),
        transfer_seconds=TRANSFER_SECONDS,
        stop_seconds=STOP_SECONDS,
        placement_seconds=PLACEMENT_SECONDS,
        startup_range=ASSUMED_RANGE,
        encode_range=ASSUMED_RANGE,
    )


def fargate_encoder_slots(tier: Tier, protocol: Protocol) -> int:
    """Return the number of encoder slots of a Fargate task.

    The public image, with the ``onestep`` protocol, encodes one scene at a time.
    """
    return encoder_slots(tier.vcpu) if protocol is Protocol.NATIVE else 1


def endpoints_kind(addresses: Sequence[str], protocol: Protocol) -> str:
    """Return the name of the kind of running containers at these addresses.

    Each set of addresses is a kind of its own; their order does not matter.
    """
    return f"endpoints {protocol} {' '.join(sorted(addresses))}"


def endpoints_performance(protocol: Protocol, *, encoder_slots: int) -> Performance:
    """Return the assumed performance of a container that is already running.

    The container is assumed to have one core for each encoder slot, and at least two cores.
    """
    cores = max(2, encoder_slots)  # two make a difference for the public image only
    return Performance(
        seconds_per_work=_slot_seconds_per_work(protocol, cores=cores, at_once=encoder_slots),
        transfer_seconds=TRANSFER_SECONDS,
        encode_range=ASSUMED_RANGE,
    )


def _slot_seconds_per_work(protocol: Protocol, *, cores: int, at_once: int) -> float:
    """Return the encode seconds for each second of work on a machine with ``cores`` cores.

    ``at_once`` is the number of scenes that the machine encodes at the same time.
    """
    if protocol is Protocol.ONESTEP:
        return ONESTEP_SERIAL + ONESTEP_PARALLEL / cores
    return NATIVE_CPU_SECONDS_PER_WORK * max(at_once / cores, 1)

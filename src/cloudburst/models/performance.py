"""Performance of a kind of worker: assumed seconds and measured samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier, encoder_slots

# Measured phase of a worker: ``startup``, from the launch to the first successful health check;
# ``encode``, one encode; ``transfer``, the upload and download of one scene; ``stop``, from the
# end of the last scene to the end of the bill. ``uplink`` is the time in which the line of this
# machine sends a megabyte to workers.
Measure: TypeAlias = Literal["startup", "encode", "transfer", "stop", "uplink"]

# Factors by which an expected value is multiplied in the best case and in the worst case.
Range: TypeAlias = tuple[float, float]

# Case for which a run is forecast.
Case: TypeAlias = Literal["best", "expected", "worst"]

# Range of a value without uncertainty.
EXACT: Range = (1.0, 1.0)
# Range of a value that was assumed instead of measured: from half of the value to double. These
# factors are a cautious choice.
ASSUMED_RANGE: Range = (0.5, 2.0)

# Multiple of the usual start-up that is assumed to be its 90th percentile, where fewer than 10
# start-ups are known.
LATE_STARTUP_FACTOR = 1.3
# Multiple of the usual start-up, and seconds more than it, which no late start-up falls below:
# where start-ups take nearly the same time, a small delay says nothing. The values are choices.
MIN_LATE_STARTUP_FACTOR, MIN_LATE_STARTUP_SECONDS = 1.1, 5.0

# Largest difference between the start-ups of workers that are launched together, relative to the
# expected one, where few start-ups or none were measured. The value is a choice: `ASSUMED_RANGE`
# is wider, because the expected value itself may be wrong by as much.
STARTUP_SPREAD = 0.2

# Assumed seconds on Fargate from a launch to ``pullStartedAt``, where the bill begins. Five
# published API answers and events show 12 to 24 seconds, with 18 as the median: AWS's pages on
# StopTask (12) and on task state changes (18,
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html, 2026-11), and
# three users (13, 20, 24).
PLACEMENT_SECONDS = 18
# Assumed seconds on Fargate from ``pullStartedAt`` to the first successful health check. Every
# task pulls its whole image, because Fargate does not cache images
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-pull-behavior.html). A few
# hundred MB take 20 to 40 seconds from ECR in the same region, and about a minute from other
# registries (https://elasticscale.com/blog/reduce-aws-fargate-pull-times-with-soci, 2024-04: 57
# seconds for 413 MB).
PULL_SECONDS = 40
# Assumed seconds on Fargate from the end of the last scene to ``stoppedAt``, where the bill ends.
# Four published events of stopped tasks show 14, 23, 23 and 24 seconds from the exit of the
# container to ``stoppedAt``. The container exits at once when it is stopped.
STOP_SECONDS = 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Expected seconds of start-up, encode, transfer and stop of one kind of worker."""

    startup_seconds: float = 0.0
    """Seconds from the launch to the first successful health check."""
    seconds_per_scene: float = 0.0
    """Part of an encode that does not depend on the scene's length."""
    seconds_per_work: float = 1.0
    """Further seconds of an encode for each second of work."""
    transfer_seconds: float = 0.0
    """Seconds for upload and download of one scene."""
    stop_seconds: float = 0.0
    """Seconds from the end of the last scene to the end of the bill."""
    uplink_seconds_per_megabyte: float = 0.0
    """Seconds in which the shared uplink sends a megabyte; 0 if that was not measured."""
    placement_seconds: float = 0.0
    """Part of the start-up before the bill begins."""
    startup_range: Range = EXACT
    """Factors for the best and worst case of the billed part of the start-up."""
    startup_p90: float | None = None
    """90th percentile of measured start-ups; ``None`` if fewer than 10 are known."""
    encode_range: Range = EXACT
    measured: frozenset[Measure] = frozenset()
    """Phases whose values were measured, not assumed."""

    def slowed(self, factor: float) -> Performance:
        """Return the performance of a worker whose encodes take longer by a factor."""
        return replace(
            self,
            seconds_per_scene=factor * self.seconds_per_scene,
            seconds_per_work=factor * self.seconds_per_work,
        )

    def encode_seconds(self, work: float) -> float:
        """Return the expected encode time of a scene, in seconds."""
        return self.seconds_per_scene + self.seconds_per_work * work

    @property
    def late_after(self) -> float:
        """Seconds from the launch after which a start-up is late."""
        usual = self.startup_seconds
        if not usual:
            return math.inf
        p90 = LATE_STARTUP_FACTOR * usual if self.startup_p90 is None else self.startup_p90
        return max(p90, MIN_LATE_STARTUP_FACTOR * usual, usual + MIN_LATE_STARTUP_SECONDS)

    def startup_at(self, share: float) -> float:
        """Return the start-up time, in seconds, within which a share of all workers is ready."""
        low = max(self.startup_range[0], 1 - STARTUP_SPREAD) - 1
        high = min(self.startup_range[1], 1 + STARTUP_SPREAD) - 1
        relative = (1 - 2 * share) * low if share < 0.5 else (2 * share - 1) * high
        return self.startup_seconds + relative * (self.startup_seconds - self.placement_seconds)

    def encode_factor(self, case: Case) -> float:
        """Return the encode times of a case, relative to the expected ones."""
        return 1.0 if case == "expected" else self.encode_range[case == "worst"]

    def in_case(self, case: Case) -> Performance:
        """Return the performance with the start-up and encode times of a case."""
        if case == "expected":
            return self
        start, encode = self.startup_range[case == "worst"], self.encode_factor(case)
        return replace(
            self,
            startup_seconds=self.placement_seconds
            + start * (self.startup_seconds - self.placement_seconds),
            seconds_per_scene=encode * self.seconds_per_scene,
            seconds_per_work=encode * self.seconds_per_work,
            startup_range=EXACT,
            encode_range=EXACT,
        )


# Performance of a worker about which nothing is known: each second of work takes one second, and
# start-up, transfers and stop take no time.
UNKNOWN_PERFORMANCE = Performance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Measured duration of one phase of a worker."""

    kind: str
    measure: Measure
    seconds: float
    work: float = 0.0
    """Work of the scene; 0 for a start-up or stop."""


# CPU seconds that the render service needs for each second of work (weighted length of a scene),
# measured with ``benchmarks/plan.py --work`` on a core of an AMD EPYC (benchmarks/README.md). An
# encode runs on one core.
NATIVE_CPU_SECONDS_PER_WORK = 0.17
# CPU seconds that the public image needs for each second of work (weighted length of a scene):
# first the part that runs on one core, then the part that runs on all cores. In
# ``benchmarks/render.py --peer``, a scene with 30 seconds of audio, zoom and subtitles took 199
# CPU seconds in 150 seconds on two cores. Short still pictures take half of what this says.
ONESTEP_SERIAL, ONESTEP_PARALLEL = 8.0, 6.5
# Seconds that one vCPU needs, while all vCPUs are busy, for work that takes a core one second. On
# x86, two vCPUs share a core. With all vCPUs of a c6i instance busy, each vCPU does 63 % of the
# work that it does while the others are idle: AWS's "Graviton performance runbook" (System load
# and compute headroom, 2026-11). For ARM, where each vCPU is a slower core, no figure is known.
SECONDS_PER_VCPU_SECOND = 1 / 0.63
# Assumed seconds for upload and download of a scene: 5 MB each way at 40 Mbit/s.
TRANSFER_SECONDS = 2.0
# Text that stands for an unknown AWS account number in the name of a kind of worker.
UNKNOWN_ACCOUNT = "unknown"
# Text that stands for an image whose name is unknown in the name of a kind of worker.
UNKNOWN_IMAGE = "-"
# Number of words that follow ``fargate`` in the name of a kind of Fargate task.
_KIND_WORDS = 7
# Assumed start-up time of a local worker process, in seconds, measured with
# ``benchmarks/plan.py`` (benchmarks/README.md).
LOCAL_STARTUP_SECONDS = 1.5


def local_kind(*, encoder_slots: int, cores: int) -> str:
    """Return the name of the kind of local workers with this total of encoder slots."""
    return f"local, {encoder_slots} at once on {cores} cores"


def local_performance(*, encoder_slots: int, cores: int) -> Performance:
    """Return the assumed performance of the local workers."""
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
    account: str | None
    """AWS account number; ``None`` if AWS was not asked for it."""

    @classmethod
    def of(cls, endpoint_url: str | None, *, region: str, account: str | None) -> Cloud:
        """Return the cloud for an endpoint URL and a region; the URL is ``None`` for AWS itself."""
        parts = urlsplit(endpoint_url or "")
        host = parts.netloc.rpartition("@")[2].lower()
        endpoint = "aws" if endpoint_url is None else f"{parts.scheme}://{host}"
        return cls(endpoint="".join(endpoint.split()), region=region, account=account)

    def account_in(self, kind: str) -> str | None:
        """Return the account number in the name of a kind of Fargate task."""
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
    """Return the name of the kind of Fargate task with these properties."""
    # Another image takes another time to start and to encode, so its digest is a part of the
    # name.
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
    """Return the number of encoder slots of a Fargate task."""
    return encoder_slots(tier.vcpu) if protocol is Protocol.NATIVE else 1


def endpoints_kind(addresses: Sequence[str], protocol: Protocol) -> str:
    """Return the name of the kind of running containers at these addresses."""
    return f"endpoints {protocol} {' '.join(sorted(addresses))}"


def endpoints_performance(protocol: Protocol, *, encoder_slots: int) -> Performance:
    """Return the assumed performance of a container that is already running."""
    cores = max(2, encoder_slots)  # two make a difference for the public image only
    return Performance(
        seconds_per_work=_slot_seconds_per_work(protocol, cores=cores, at_once=encoder_slots),
        transfer_seconds=TRANSFER_SECONDS,
        encode_range=ASSUMED_RANGE,
    )


def _slot_seconds_per_work(protocol: Protocol, *, cores: int, at_once: int) -> float:
    if protocol is Protocol.ONESTEP:
        return ONESTEP_SERIAL + ONESTEP_PARALLEL / cores
    return NATIVE_CPU_SECONDS_PER_WORK * max(at_once / cores, 1)

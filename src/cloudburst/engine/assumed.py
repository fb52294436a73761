"""What is assumed of each kind of worker until it was measured, and what its figures go by."""

from __future__ import annotations

from collections.abc import Sequence

from cloudburst.models.pace import (
    GUESSED,
    PLACING_SECONDS,
    PULL_SECONDS,
    STOP_SECONDS,
    Pace,
)
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier, encoder_slots

NATIVE_CPU = 0.345
"""CPU-seconds of our service for a second of work: ``benchmarks/plan.py --work`` on a core of an
AMD EPYC (docs/benchmarks.md)."""
NATIVE_CORES = 1.4
"""Cores that one encode of ours can keep busy: 6.2 s of CPU in 4.3 s, by the same."""
ONESTEP_SERIAL, ONESTEP_PARALLEL = 3.1, 2.5
"""CPU-seconds of the public image for a second of work, on one core and on as many as there are:
``benchmarks/render.py --peer``, 30 s of sound with zoom and subtitles, took 199 of them in 150 s
on two cores."""
VCPU = 1 / 0.63
"""Seconds of a busy vCPU for one of a core. Two share a core on x86; AWS's "Graviton performance
runbook" (System load and compute headroom, 2026-11) has a vCPU of c6i do 63 % of its work when all
of them are busy. Nothing of the kind is known of ARM, where each is a core, but a slower one."""
MOVING = 2.0
"""Seconds that a scene's files travel: 5 MB each way at 40 Mbit/s, which lines differ from."""
LOCAL_START = 1.5
"""Seconds until a process answers: ``benchmarks/plan.py`` (docs/benchmarks.md)."""


def local_kind(*, at_once: int, cores: int) -> str:
    """Processes on this machine that together encode so many scenes at once."""
    return f"local, {at_once} at once on {cores} cores"


def local_pace(*, at_once: int, cores: int) -> Pace:
    """Of one of them."""
    ratio = _cpu(Protocol.NATIVE, cores=cores, at_once=at_once)
    return Pace(start=LOCAL_START, ratio=ratio, starts=GUESSED, encodes=GUESSED)


def fargate_kind(tier: Tier, protocol: Protocol, architecture: str) -> str:
    """Tasks of one size, protocol and architecture."""
    return f"fargate {tier.name} {protocol} {architecture}"


def fargate_pace(tier: Tier, protocol: Protocol) -> Pace:
    """Of one of them."""
    return Pace(
        start=PLACING_SECONDS + PULL_SECONDS,
        ratio=VCPU * _cpu(protocol, cores=tier.vcpu, at_once=encoders(tier, protocol)),
        moving=MOVING,
        stop=STOP_SECONDS,
        placing=PLACING_SECONDS,
        starts=GUESSED,
        encodes=GUESSED,
    )


def encoders(tier: Tier, protocol: Protocol) -> int:
    """Scenes that a task encodes at once: the public image's would get into each other's way."""
    return encoder_slots(tier.vcpu) if protocol is Protocol.NATIVE else 1


def endpoints_kind(addresses: Sequence[str], protocol: Protocol) -> str:
    """Containers that run already: each set of them is a kind of its own."""
    return f"endpoints {protocol} {' '.join(sorted(addresses))}"


def endpoints_pace(protocol: Protocol, *, at_once: int) -> Pace:
    """Of one of them, as if it had two cores, or one for each scene that it encodes at once."""
    cores = max(2, at_once)
    return Pace(ratio=_cpu(protocol, cores=cores, at_once=at_once), moving=MOVING, encodes=GUESSED)


def _cpu(protocol: Protocol, *, cores: int, at_once: int) -> float:
    """Seconds of an encoder slot on cores of its machine for a second of work."""
    if protocol is Protocol.ONESTEP:
        return ONESTEP_SERIAL + ONESTEP_PARALLEL / cores
    return NATIVE_CPU * max(at_once / cores, 1 / min(NATIVE_CORES, cores))

"""Task models: start-up, speed, slots and prices of the fake tasks on which scenarios run."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial

from cloudburst.engine.forecast.scene_work import MIN_SHARED_WORK
from cloudburst.models.performance import (
    ASSUMED_RANGE,
    NATIVE_CPU_SECONDS_PER_WORK,
    PLACEMENT_SECONDS,
    PULL_SECONDS,
    SECONDS_PER_VCPU_SECOND,
    STOP_SECONDS,
    Performance,
)
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud
from schedules.bounds import BoundWorker

TASK_USD_PER_SECOND = US_EAST_1_RATES.task_usd_per_second(Tier.STANDARD, public_ipv4=False)
"""Price of a task with 2 vCPU and 4 GB in USD per second: $0.0987 an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskModel:
    """Times of one kind of task, in seconds."""

    name: str
    """Name of the model on the command line."""
    seconds_per_work: float
    """Seconds that an encoder slot needs for each second of work (weighted length of a scene)."""
    has_goals: bool = False
    """True if the goals of the tables apply."""
    min_shared_work: float = math.inf
    """Work from which idle slots take part in the encode of a scene; infinite: never."""
    slots: int = 2
    """Number of encoder slots."""
    startup: float = PLACEMENT_SECONDS + PULL_SECONDS
    """Mean of the start-up times."""
    startup_spread: float = 0.2
    """Largest relative difference of a start-up from the mean."""
    placement: float = PLACEMENT_SECONDS
    """Part of a start-up before the bill begins."""
    transfer: float = 1.0
    """Time of one upload or one download."""
    stop: float = STOP_SECONDS
    """Time from the request to stop a task to the end of its bill."""
    usd_per_second: Decimal = TASK_USD_PER_SECOND

    @property
    def assumed(self) -> Performance:
        """Performance that the engine assumes before a measurement: the means of this model."""
        return Performance(
            startup_seconds=self.startup,
            seconds_per_work=self.seconds_per_work,
            transfer_seconds=2 * self.transfer,
            stop_seconds=self.stop,
            placement_seconds=self.placement,
            startup_range=ASSUMED_RANGE,
            encode_range=ASSUMED_RANGE,
        )

    @property
    def shared_from(self) -> float:
        """Shortest encode in which idle slots take part, in seconds; infinite: none."""
        return self.min_shared_work * self.seconds_per_work

    def bound_worker(self, *, startup: float | None = None, slowness: float = 1.0) -> BoundWorker:
        """Return a task for a lower bound, by default a usual one.

        Args:
            startup: Start-up time in seconds; ``None``: the mean.
            slowness: Factor by which encodes take longer than on a usual task.
        """
        return BoundWorker(
            startup=self.startup if startup is None else startup,
            slots=self.slots,
            transfer=self.transfer,
            slowness=slowness,
            shared_from=self.shared_from,
        )

    def startup_of(self, task: str, *, seed: int) -> float:
        """Return the start-up time that a seed draws for a task."""
        return self.startup * (1 + self.startup_spread * _deviation(task, seed))

    def cloud(self, encodes: Mapping[str, float], *, seed: int) -> FakeCloud:
        """Return a cloud with tasks of this model.

        Args:
            encodes: Encode time of each scene on a usual task, in seconds.
            seed: Seed of the start-up times.
        """
        return FakeCloud(
            encoders=self.slots,
            boot=partial(self.startup_of, seed=seed),
            pull_after=self.placement,
            upload=self.transfer,
            encode=encodes.__getitem__,
            download=self.transfer,
            shared_from=self.shared_from,
            stop_takes=0.2,
            ends_after=self.stop,
            rates=US_EAST_1_RATES,
            performance=self.assumed,
        )


@cache
def _deviation(task: str, seed: int) -> float:
    """Return the number between -1 and 1 that a seed draws for a task."""
    return random.Random(f"{seed} {task}").uniform(-1, 1)


BURSTS = TaskModel(name="bursts", seconds_per_work=0.345 / 0.63, has_goals=True)
"""Speed of the renderer of 2026-11-25: 0.345 s of a core for each second of work, on a vCPU that
does 63 % of the work of a core. Slots do not share an encode."""
RENDERER = TaskModel(
    name="renderer",
    seconds_per_work=NATIVE_CPU_SECONDS_PER_WORK * SECONDS_PER_VCPU_SECOND,
    min_shared_work=MIN_SHARED_WORK,
)
"""Speed that the client assumes for the present renderer, with shared encoding."""
MODELS = {model.name: model for model in (BURSTS, RENDERER)}

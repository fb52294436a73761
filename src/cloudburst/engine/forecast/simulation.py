"""Simulated schedules: the times at which scenes are done on given encoder slots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

from cloudburst.models.performance import Performance

MAX_SCENES_SIMULATED = 256
"""Largest number of scenes that are simulated one by one. Together they take about a millisecond.
All other scenes are shorter and are treated as work that can be divided among slots in any way. The
resulting error is less than the encode time of one simulated scene."""
_MIN_ENCODE_SECONDS = 1e-6
"""Smallest assumed encode time, in seconds, so that a division by it is possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSlot:
    """Encoder slot of a worker that is ready, is starting or may be started."""

    free_in: float
    """Seconds from now until the slot can take a scene."""
    performance: Performance
    """Performance of the slot's worker."""
    billed: bool = False
    """True if the slot's worker is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Result of a simulation: the times at which videos are complete and encoder slots are free."""

    makespan: float
    """Seconds from now until the last video is downloaded."""
    slot_ends: tuple[float, ...]
    """Seconds from now until each slot has encoded its last scene. For a slot without a scene, this
    is its ``free_in``."""


def list_schedule(works: Iterable[float], slots: Iterable[EncoderSlot]) -> Schedule:
    """Return a schedule in which each scene, longest first, gets the slot that finishes it first.

    Args:
        works: Work of each scene: see `cloudburst.engine.forecast.measurements.scene_work`.
        slots: Encoder slots, at least one unless there are no scenes.
    """
    known = tuple(slots)
    ends = [slot.free_in for slot in known]
    by_performance: dict[Performance, list[tuple[float, int]]] = {}
    for number, slot in enumerate(known):
        by_performance.setdefault(slot.performance, []).append((slot.free_in, number))
    for queue in by_performance.values():
        heapify(queue)
    groups = tuple(by_performance.items())
    makespan = 0.0
    for work in sorted(works, reverse=True):
        # Among equally fast slots, the first that is free wins.
        performance, queue = min(groups, key=lambda group: _done_at(group, work))
        begin, number = queue[0]
        end = ends[number] = begin + performance.encode_seconds(work)
        makespan = max(makespan, end + performance.transfer_seconds)
        heapreplace(queue, (end, number))
    return Schedule(makespan=makespan, slot_ends=tuple(ends))


def _done_at(group: tuple[Performance, list[tuple[float, int]]], work: float) -> float:
    performance, queue = group
    return queue[0][0] + performance.encode_seconds(work) + performance.transfer_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Scenes that are still to be encoded."""

    longest_works: Sequence[float]
    """Work of each of the longest scenes, in seconds; these scenes are simulated individually."""
    other_scenes: int = 0
    """Number of further, shorter scenes, which are not simulated one by one."""
    other_work: float = 0.0
    """Total work of the ``other_scenes``, in seconds."""
    running_seconds: float = 0.0
    """Seconds from now until all running encodes are done and downloaded."""

    @classmethod
    def from_works(cls, works: Iterable[float]) -> Load:
        """Return the load of a run that has not started.

        Args:
            works: Work of each scene: see `cloudburst.engine.forecast.measurements.scene_work`.
        """
        known = sorted(works, reverse=True)
        others = known[MAX_SCENES_SIMULATED:]
        return cls(
            longest_works=known[:MAX_SCENES_SIMULATED],
            other_scenes=len(others),
            other_work=sum(others),
        )

    @property
    def scenes(self) -> int:
        """Number of scenes whose encode has not started."""
        return len(self.longest_works) + self.other_scenes

    def schedule_on(self, slots: Sequence[EncoderSlot]) -> Schedule:
        """Simulate the load on encoder slots, and return the schedule.

        Without slots, the makespan is infinite, unless no scene is left to encode.
        """
        if not slots:
            return Schedule(
                makespan=math.inf if self.scenes else self.running_seconds, slot_ends=()
            )
        first = list_schedule(self.longest_works, slots)
        makespan, ends = max(first.makespan, self.running_seconds), first.slot_ends
        if self.other_scenes:
            mean = self.other_work / self.other_scenes
            each = [
                max(slot.performance.encode_seconds(mean), _MIN_ENCODE_SECONDS) for slot in slots
            ]
            level = fill_level(ends, each, self.other_scenes)
            transfers = [
                slot.performance.transfer_seconds
                for slot, end in zip(slots, ends, strict=True)
                if end < level
            ]
            makespan = max(makespan, level + max(transfers, default=0.0))
            ends = tuple(max(end, level) for end in ends)
        return Schedule(makespan=makespan, slot_ends=ends)


def fill_level(ends: Sequence[float], seconds_per_scene: Sequence[float], scenes: int) -> float:
    """Return the shortest time from now, in seconds, in which slots can encode equal scenes.

    Scenes are divided into fractions, so that all slots that get work end at the same time. The
    real time may be longer.

    Args:
        ends: Seconds from now until each slot is free.
        seconds_per_scene: Seconds that each slot takes to encode one scene.
        scenes: Number of scenes.
    """
    amount, speed, level = float(scenes), 0.0, 0.0
    for end, seconds in sorted(zip(ends, seconds_per_scene, strict=True)):
        if speed and level <= end:
            break
        amount += end / seconds
        speed += 1 / seconds
        level = amount / speed
    return level

"""Simulated schedules: the times at which scenes are done on given workers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from cloudburst.engine.forecast.scene_work import (
    MIN_SHARED_WORK,
    SHARED_START_WORK,
    SHORTEST_SHARED_WORK,
)
from cloudburst.models.performance import Case, Performance
from cloudburst.models.task import MINIMUM_BILLED_SECONDS

# Largest number of scenes that are simulated one by one. Together they take about a millisecond.
# All other scenes are shorter and are treated as work that can be divided among slots in any way.
# The resulting error is less than the encode time of one simulated scene.
MAX_SCENES_SIMULATED = 256
# Smallest assumed encode time, in seconds, so that a division by it is possible.
_MIN_ENCODE_SECONDS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedWorker:
    """Worker that is ready, is starting or may be started."""

    free_in: tuple[float, ...]
    """Seconds from now until each encoder slot of the worker can take a scene."""
    performance: Performance
    usd_per_second: float = 0.0
    """Price of the worker, in USD per second; 0 if nothing is billed."""
    billed_so_far: float = 0.0
    """Seconds for which the worker was billed until now; negative before its bill begins."""
    ready_in: float = 0.0
    """Usual number of seconds from now until files can be sent to the worker; 0 if it is ready."""

    def in_case(self, case: Case) -> SimulatedWorker:
        """Return the worker with the remaining start-up and encode times of a case."""
        usual, performance = self.performance, self.performance.in_case(case)
        if self.ready_in:
            factor = performance.startup_seconds / usual.startup_seconds
        else:
            factor = usual.encode_factor(case)
        return replace(
            self,
            free_in=tuple(factor * seconds for seconds in self.free_in),
            ready_in=factor * self.ready_in,
            performance=performance,
        )

    def encode_speed(self, work: float) -> float:
        """Return how many scenes with this work one encoder slot encodes in a second."""
        return 1 / max(self.performance.encode_seconds(work), _MIN_ENCODE_SECONDS)

    def shortest_encode(self, work: float) -> float:
        """Return the seconds in which the worker can encode a scene if it has no other scene."""
        slots = len(self.free_in) if work >= MIN_SHARED_WORK else 1
        return self.performance.encode_seconds(work) / slots

    def shortest_end(self, work: float) -> float:
        """Return the seconds from now in which the worker can have encoded a scene at the earliest.

        ``work`` is the weighted length of the scene, in seconds.
        """
        return min(self.free_in) + self.shortest_encode(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Result of a simulation: the times at which videos are complete and workers are free."""

    makespan: float
    """Seconds from now until the last video is downloaded."""
    worker_ends: tuple[float, ...]
    """Seconds from now until each worker has encoded its last scene, or waits for the uplink no
    more."""
    unshared_makespan: float
    """Makespan if no scene is encoded by several slots, in seconds from now."""


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
    bytes_to_send: float = 0.0
    """Number of bytes that the uplink has to send before all scenes can be encoded."""

    @classmethod
    def from_works(cls, works: Iterable[float], *, bytes_to_send: float = 0.0) -> Load:
        """Return the load of a run that has not started."""
        known = sorted(works, reverse=True)
        others = known[MAX_SCENES_SIMULATED:]
        return cls(
            longest_works=known[:MAX_SCENES_SIMULATED],
            other_scenes=len(others),
            other_work=sum(others),
            bytes_to_send=bytes_to_send,
        )

    @property
    def scenes(self) -> int:
        """Number of scenes whose encode has not started."""
        return len(self.longest_works) + self.other_scenes

    @property
    def work(self) -> float:
        """Total work of the scenes, in seconds."""
        return sum(self.longest_works) + self.other_work

    def useful_workers(self, encoder_slots: int) -> int:
        """Return the number of workers on which a long scene or short scenes use all slots."""
        long = sum(work >= MIN_SHARED_WORK for work in self.longest_works)
        return long + -(-(self.scenes - long) // encoder_slots)

    def uplink_bound(self, workers: Sequence[SimulatedWorker]) -> float:
        """Return the seconds from now before which the uplink does not let the scenes be done."""
        # The uplink is treated as a machine that sends one scene after the other, each in the
        # same time, from when a worker is ready. Workers to which it sends no files encode other
        # scenes meanwhile.
        far = [each for each in workers if each.performance.uplink_seconds_per_megabyte]
        if not far or not self.bytes_to_send or not self.scenes:
            return 0.0
        works = [*self.longest_works]
        if self.other_scenes:
            works.append(self.other_work / self.other_scenes)
        last, mean = min(works), self.work / self.scenes
        slowest = max(each.performance.uplink_seconds_per_megabyte for each in far)
        first = min(each.ready_in + each.shortest_encode(last) for each in far)
        ends, seconds = [first], [self.bytes_to_send / 1e6 * slowest / self.scenes]
        for worker in workers:
            if not worker.performance.uplink_seconds_per_megabyte:
                ends += worker.free_in
                seconds += [1 / worker.encode_speed(mean)] * len(worker.free_in)
        return fill_level(ends, seconds, self.scenes)

    def schedule_on(self, workers: Sequence[SimulatedWorker]) -> Schedule:
        """Simulate the load on workers, and return the schedule."""
        # The encodes that run now are assumed not to be shared, so the makespan may be too long
        # by what sharing would save.
        if not workers:
            makespan = math.inf if self.scenes else self.running_seconds
            return Schedule(makespan=makespan, worker_ends=(), unshared_makespan=makespan)
        simulation = _Simulation(workers)
        simulation.assign(self.longest_works)
        if self.other_scenes:
            simulation.fill(self.other_scenes, self.other_work / self.other_scenes)
        files_sent = self.uplink_bound(workers)
        earliest = max(self.running_seconds, files_sent)
        unshared = max(simulation.makespan(), earliest)
        simulation.share()
        return Schedule(
            makespan=max(simulation.makespan(), earliest),
            worker_ends=simulation.worker_ends(files_sent),
            unshared_makespan=unshared,
        )


@dataclass(slots=True)
class _Slot:
    performance: Performance
    end: float
    """Time at which the slot has encoded its last scene."""
    has_scene: bool = False
    """True if the slot gets a scene."""
    shared_since: float = math.inf
    """Start of the last scene of the slot if idle slots can share it, else infinite."""


class _EqualWorkers:
    """Equally fast workers during a simulation, in the order in which they are free."""

    def __init__(self, performance: Performance) -> None:
        self.performance = performance
        # By number of the worker: the times at which its slots are free.
        self._ends: dict[int, tuple[float, ...]] = {}
        # Heaps of entries with these times. Entries with other times than a worker has now are old.
        self._by_first_slot: list[tuple[float, float, int, tuple[float, ...]]] = []
        self._by_last_slot: list[tuple[float, float, int, tuple[float, ...]]] = []

    def put(self, number: int, slots: Sequence[_Slot]) -> None:
        """Add a worker, or note that it has got a scene."""
        self._ends[number] = ends = tuple(slot.end for slot in slots)
        first, last = min(ends), max(ends)
        # Of workers whose first slots are free at the same time, an empty one comes first.
        heappush(self._by_first_slot, (first, last, number, ends))
        heappush(self._by_last_slot, (last, first, number, ends))

    def first_done(self, work: float) -> tuple[float, int]:
        """Return when a scene is downloaded at the earliest, and the number of the worker."""
        encode = self.performance.encode_seconds(work)
        first, _, number, ends = self._top(self._by_first_slot)
        done = first + encode, number
        if work >= MIN_SHARED_WORK and len(ends) > 1:
            *_, empty, last_ends = self._top(self._by_last_slot)
            done = min(
                (_shared_level(ends, encode), number), (_shared_level(last_ends, encode), empty)
            )
        return done[0] + self.performance.transfer_seconds, done[1]

    def _top(
        self, heap: list[tuple[float, float, int, tuple[float, ...]]]
    ) -> tuple[float, float, int, tuple[float, ...]]:
        while heap[0][-1] is not self._ends[heap[0][2]]:
            heappop(heap)
        return heap[0]


def _shared_level(ends: Sequence[float], encode: float) -> float:
    """Return when slots that are free at given times have encoded a scene that they share."""
    return min(min(ends) + encode, (sum(ends) + encode) / len(ends))


class _Simulation:
    def __init__(self, workers: Sequence[SimulatedWorker]) -> None:
        self._by_worker = [
            [_Slot(worker.performance, end) for end in worker.free_in] for worker in workers
        ]
        self._slots = [slot for slots in self._by_worker for slot in slots]

    def assign(self, works: Iterable[float]) -> None:
        """Assign each scene, longest first, to the worker that finishes it first."""
        # A long scene is shared by all slots of its worker, so it may be done sooner on a worker
        # that is empty later than on the slot that is free first, beside another long scene.
        kinds = dict[Performance, _EqualWorkers]()
        for number, slots in enumerate(self._by_worker):
            kinds.setdefault(slots[0].performance, _EqualWorkers(slots[0].performance)).put(
                number, slots
            )
        for work in sorted(works, reverse=True):
            _, number = min(kind.first_done(work) for kind in kinds.values())
            slots = self._by_worker[number]
            slot = min(slots, key=lambda slot: slot.end)
            slot.has_scene = True
            slot.shared_since = slot.end if work >= MIN_SHARED_WORK else math.inf
            slot.end += slot.performance.encode_seconds(work)
            kinds[slot.performance].put(number, slots)

    def fill(self, scenes: int, mean_work: float) -> None:
        """Divide further scenes among the slots, so that all slots that get some end together."""
        each = [
            max(slot.performance.encode_seconds(mean_work), _MIN_ENCODE_SECONDS)
            for slot in self._slots
        ]
        level = fill_level([slot.end for slot in self._slots], each, scenes)
        for slot in self._slots:
            if slot.end < level:
                slot.end, slot.has_scene, slot.shared_since = level, True, math.inf

    def share(self) -> None:
        """Let the idle slots of each worker share the long scenes that are encoded last."""
        for slots in self._by_worker:
            shared = [slot for slot in slots if slot.shared_since < math.inf]
            if shared and len(slots) > 1:
                level = _shared_end(slots, shared)
                for slot in shared:
                    slot.end = min(slot.end, level)

    def makespan(self) -> float:
        """Return the time at which the last video is downloaded."""
        return max(
            (s.end + s.performance.transfer_seconds for s in self._slots if s.has_scene),
            default=0.0,
        )

    def worker_ends(self, files_sent: float) -> tuple[float, ...]:
        """Return the time at which each worker has encoded its last scene."""
        ends = list[float]()
        for slots in self._by_worker:
            far = slots[0].performance.uplink_seconds_per_megabyte
            waits = files_sent if far and any(slot.has_scene for slot in slots) else 0.0
            ends.append(max(waits, *(slot.end for slot in slots)))
        return tuple(ends)


def _shared_end(slots: Sequence[_Slot], shared: Sequence[_Slot]) -> float:
    performance = slots[0].performance
    start = performance.encode_seconds(SHARED_START_WORK)
    free = [
        slot.end + start if slot.shared_since == math.inf else slot.shared_since for slot in slots
    ]
    seconds = sum(slot.end - slot.shared_since for slot in shared)
    last = max(slot.shared_since for slot in shared)
    return max(
        fill_level(free, [1.0] * len(free), seconds),
        last + performance.encode_seconds(SHORTEST_SHARED_WORK),
    )


def fill_level(ends: Sequence[float], seconds_per_scene: Sequence[float], scenes: float) -> float:
    """Return the shortest time from now, in seconds, in which slots can encode equal scenes."""
    # Scenes are divided into fractions, so that all slots that get work end at the same time.
    amount, speed, level = float(scenes), 0.0, 0.0
    for end, seconds in sorted(zip(ends, seconds_per_scene, strict=True)):
        if speed and level <= end:
            break
        amount += end / seconds
        speed += 1 / seconds
        level = amount / speed
    return level


def billed_seconds(running: float) -> float:
    """Return the billed seconds of a task that runs for ``running`` seconds."""
    return max(float(MINIMUM_BILLED_SECONDS), running)


def paid_until(worker: SimulatedWorker) -> float:
    """Return the seconds from now until which a worker may encode without a higher bill."""
    return MINIMUM_BILLED_SECONDS - worker.billed_so_far - _until_stopped(worker)


def _until_stopped(worker: SimulatedWorker) -> float:
    return worker.performance.transfer_seconds + worker.performance.stop_seconds


def worker_usd(worker: SimulatedWorker, last_encode: float) -> float:
    """Return the bill of a worker in USD, from its launch to its stop."""
    if not worker.usd_per_second:
        return 0.0
    running = worker.billed_so_far + last_encode + _until_stopped(worker)
    return worker.usd_per_second * billed_seconds(running)

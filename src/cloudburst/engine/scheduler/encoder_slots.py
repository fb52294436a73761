"""Encoder slots of a worker: which scenes may use them, when, and in which order."""

from __future__ import annotations

import math

import anyio

from cloudburst.engine.pool_state import (
    Assignment,
    AssignmentState,
    PoolWorker,
    Ticket,
    WorkerState,
)

# States of scenes that a worker encodes or was asked to encode.
_REQUESTED = AssignmentState.QUEUED, AssignmentState.ENCODING
# Largest number of scenes on a worker, in any phase, for each of its encoder slots.
MAX_SCENES_PER_SLOT = 3


def slot_count(worker: PoolWorker) -> int:
    """Return how many scenes may encode on a worker at once; 1 if one of them is suspect."""
    return 1 if _has_suspect(worker) else worker.backend.encoder_slots


def _has_suspect(worker: PoolWorker) -> bool:
    return any(
        assignment.ticket.suspect and assignment.state is not AssignmentState.DOWNLOADING
        for assignment in worker.assignments
    )


def _count(worker: PoolWorker, *states: AssignmentState) -> int:
    return sum(assignment.state in states for assignment in worker.assignments)


def occupied_slots(worker: PoolWorker) -> int:
    """Return the number of assigned scenes that hold an encoder slot or will need one."""
    return len(worker.assignments) - _count(worker, AssignmentState.DOWNLOADING)


def spare_slots(worker: PoolWorker) -> int:
    """Return how many encoder slots no assigned scene needs; negative if scenes wait."""
    return slot_count(worker) - occupied_slots(worker)


def next_slot_free_at(worker: PoolWorker) -> float:
    """Return the expected time at which an encoder slot is free for one more scene."""
    waiting = max(0, -spare_slots(worker))
    return worker.encode_ends[waiting] if waiting < len(worker.encode_ends) else math.inf


def slot_expected_at(assignment: Assignment) -> float:
    """Return the time at which an encoder slot is, or is expected to be, free for a scene."""
    worker, before = assignment.worker, 0
    for each in worker.assignments:
        if each is assignment:
            break
        before += each.state is not AssignmentState.DOWNLOADING
    ends = before - slot_count(worker)  # number of encodes after the one that must end
    if ends < 0:
        return anyio.current_time()
    return worker.encode_ends[ends] if ends < len(worker.encode_ends) else math.inf


def may_take(worker: PoolWorker, ticket: Ticket) -> bool:
    """Return whether a scene may be assigned to a worker."""
    return not ticket.suspect or worker.backend.encoder_slots == 1 or not occupied_slots(worker)


def has_room(worker: PoolWorker, *, ahead: bool) -> bool:
    """Return whether another scene can be assigned to a worker."""
    room = MAX_SCENES_PER_SLOT * worker.backend.encoder_slots - len(worker.assignments)
    if worker.state is not WorkerState.READY or room <= 0:
        return False
    if not ahead:
        return spare_slots(worker) > 0
    slots = slot_count(worker)
    return _count(worker, *_REQUESTED) >= slots and spare_slots(worker) > -slots


def grant_slots(worker: PoolWorker) -> None:
    """Let scenes that wait on a worker be encoded, the longest first."""
    # If the worker queues jobs and all its slots encode, it is asked for all of them, so that the
    # next encode begins without a round trip.
    if worker.state in {WorkerState.FAILING, WorkerState.STOPPING}:
        return
    waiting = [each for each in worker.assignments if each.state is AssignmentState.WAITING]
    waiting.sort(key=lambda assignment: -assignment.ticket.work)
    # Two requests at the same time may arrive in any order, and the longest must come first.
    all_encode = _count(worker, AssignmentState.ENCODING) >= slot_count(worker)
    if not worker.backend.queues_jobs or _has_suspect(worker) or not all_encode:
        waiting = waiting[: max(0, slot_count(worker) - _count(worker, *_REQUESTED))]
    now = anyio.current_time()
    for assignment in waiting:
        assignment.requested_at = now
        if worker.backend.queues_jobs:
            assignment.state = AssignmentState.QUEUED
        else:
            assignment.state = AssignmentState.ENCODING
            assignment.encoding_since, assignment.has_slot = now, True
        assignment.granted.set()
    # Encoder slots are free for the queued scenes that were requested first.
    free = slot_count(worker) - _count(worker, AssignmentState.ENCODING)
    queued = [each for each in worker.assignments if each.state is AssignmentState.QUEUED]
    queued.sort(key=lambda assignment: (assignment.requested_at, -assignment.ticket.work))
    for place, assignment in enumerate(queued):
        assignment.note_slot(is_free=place < free)

"""When a number of scenes will be done, given who does them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heapreplace

from cloudburst.models.pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An encoder slot, or one that will be."""

    free: float
    """Seconds from now until it can take a scene."""
    pace: Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When everything is done; seconds from now."""

    seconds: float
    """The last scene has its video."""
    ends: tuple[float, ...]
    """By place: when it is free for good. ``free`` where it gets no scene."""


def forecast(sounds: Iterable[float], places: Iterable[Place]) -> Forecast:
    """Scenes go, longest first, to the place that will have encoded them first.

    Args:
        sounds: Seconds of work of each scene: see `cloudburst.engine.figures.work`.
        places: One at least, unless there are no scenes.
    """
    known = tuple(places)
    ends = [place.free for place in known]
    alike: dict[Pace, list[tuple[float, int]]] = {}
    for number, place in enumerate(known):
        alike.setdefault(place.pace, []).append((place.free, number))
    for waiting in alike.values():
        heapify(waiting)
    groups = tuple(alike.items())
    done = 0.0
    for sound in sorted(sounds, reverse=True):
        # Of places that are equally fast, the one that can begin first.
        pace, waiting = min(groups, key=lambda g: g[1][0][0] + g[0].encode(sound) + g[0].moving)
        begin, number = waiting[0]
        end = ends[number] = begin + pace.encode(sound)
        done = max(done, end + pace.moving)
        heapreplace(waiting, (end, number))
    return Forecast(seconds=done, ends=tuple(ends))

"""Failures of a run, grouped by their cause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TypeAlias

from cloudburst.events import FilmFailed, SceneFailed, SceneRetried, WorkerFailed
from cloudburst.models.problems import code_of, fix_of
from cloudburst.models.run_progress import RunFailure
from cloudburst.text import MAX_LINE_LENGTH, shorten

FailureEvent: TypeAlias = WorkerFailed | SceneRetried | SceneFailed | FilmFailed

_MAX_GROUPS, _MAX_SCENES, _MAX_ALL_SCENES = 20, 20, 100
"""Maximum number of failures in the progress of a run, of scenes of each one, and of all scenes."""
_IDENTIFIER = re.compile(r"arn:\S+|\b(?:[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?)?[0-9a-f]{12}\b")
"""Pattern that matches ARNs, task ids and request ids."""


@dataclass(slots=True)
class FailureGroup:
    """Failures of scenes and tasks with the same cause."""

    text: str
    """First of these failures, as ``Kind: message``."""
    first: FailureEvent | None = None
    """Event of the first failure; ``None`` if the group is made from a report."""
    scenes: list[str] = field(default_factory=list[str])
    """Scenes that failed."""
    tasks: list[str] = field(default_factory=list[str])

    @property
    def fix(self) -> str:
        """What to do; empty if the message says all."""
        return fix_of(self.text.partition(": ")[0])


def failures_progress(groups: Iterable[FailureGroup]) -> Iterator[RunFailure]:
    """Yield the failures for the progress of a run: those of most scenes first, but not all."""
    largest = nlargest(_MAX_GROUPS, groups, key=lambda group: len(group.scenes))
    for group in largest:
        kind, _, message = group.text.partition(": ")
        max_scenes = min(_MAX_SCENES, _MAX_ALL_SCENES // len(largest))
        yield RunFailure(
            code=code_of(kind),
            message=shorten(message, MAX_LINE_LENGTH),
            fix=group.fix,
            scenes=tuple(group.scenes[:max_scenes]),
            count=len(group.scenes),
        )


def key_of(event: FailureEvent) -> str:
    """Return the `failure_key` of the failure of an event."""
    scene = "" if isinstance(event, WorkerFailed | FilmFailed) else event.scene
    return failure_key(f"{event.kind}: {event.message}", scene)


def failure_key(text: str, scene: str = "") -> str:
    """Return the text of a failure without ids and without the name of its scene.

    Failures of several scenes with the same cause have the same key.
    """
    key = _IDENTIFIER.sub("…", text)
    return key.replace(f"scene {scene}", "scene …") if scene else key

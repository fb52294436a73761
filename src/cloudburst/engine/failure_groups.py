"""Failures and warnings of a run, grouped by their cause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Protocol, TypeAlias

from cloudburst.events import FilmFailed, SceneFailed, SceneRetried, WorkerFailed
from cloudburst.models.problems import code_of, fix_of
from cloudburst.models.report import Report
from cloudburst.models.run_progress import RunFailure
from cloudburst.text import MAX_LINE_LENGTH, short_task, shorten

FailureEvent: TypeAlias = WorkerFailed | SceneRetried | SceneFailed | FilmFailed

_MAX_GROUPS, _MAX_SCENES, _MAX_ALL_SCENES = 20, 20, 100
"""Maximum number of failures in the progress of a run, of scenes of each one, and of all scenes."""
_IDENTIFIER = re.compile(r"arn:\S+|\b(?:[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?)?[0-9a-f]{12}\b")
"""Pattern that matches ARNs, task ids and request ids."""


class _Warned(Protocol):
    @property
    def scene(self) -> str: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...


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
    fix_follows: bool = False
    """True if a later failure says what to do."""

    @property
    def code(self) -> str:
        """Code of the error."""
        return code_of(self.text.partition(": ")[0])

    @property
    def message(self) -> str:
        """Message of the first failure."""
        return self.text.partition(": ")[2] or self.text

    @property
    def fix(self) -> str:
        """What to do; empty if the message or a later failure says it."""
        fix = fix_of(self.text.partition(": ")[0])
        return "" if fix in self.message or self.fix_follows else fix


def failures_progress(groups: Iterable[FailureGroup]) -> Iterator[RunFailure]:
    """Yield the failures for the progress of a run: those of most scenes first, but not all."""
    largest = nlargest(_MAX_GROUPS, groups, key=lambda group: len(group.scenes))
    for group in largest:
        max_scenes = min(_MAX_SCENES, _MAX_ALL_SCENES // len(largest))
        yield RunFailure(
            code=group.code,
            message=shorten(group.message, MAX_LINE_LENGTH),
            fix=group.fix,
            scenes=tuple(group.scenes[:max_scenes]),
            count=len(group.scenes),
        )


def failures_of(report: Report) -> list[FailureGroup]:
    """Return the failures of a report, grouped by cause; failures of scenes come first.

    Of failures with the same fix, only the last one has it.
    """
    found: dict[str, FailureGroup] = {}
    for entry in report.scenes:
        if entry.error is not None:
            key = failure_key(entry.error, entry.scene)
            found.setdefault(key, FailureGroup(entry.error)).scenes.append(entry.scene)
    for worker in report.workers:
        if worker.error is not None:
            key = failure_key(worker.error)
            # Tasks that cost nothing are listed only if scenes failed for the same reason.
            if worker.cost is not None or key in found:
                failure = found.setdefault(key, FailureGroup(worker.error))
                if worker.task:
                    failure.tasks.append(short_task(worker.task))
    last = {failure.fix: failure for failure in found.values() if failure.scenes}
    for failure in found.values():
        failure.fix_follows = failure is not last.get(failure.fix, failure)
    return list(found.values())


def warnings_of(videos: Iterable[_Warned]) -> dict[str, list[str]]:
    """Return the names of the scenes whose videos have a warning, by the warning."""
    scenes: dict[str, list[str]] = {}
    for video in videos:
        for warning in video.warnings:
            scenes.setdefault(warning, []).append(video.scene)
    return scenes


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

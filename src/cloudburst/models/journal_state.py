"""State of a run as its journal describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudburst.models.journal_entries import (
    LaunchEntry,
    ProcessEndEntry,
    ProcessEntry,
    ResultEntry,
    SceneEntry,
    SceneFailureEntry,
    TaskEntry,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """Latest journal entry for each key, in the order in which the keys were first written."""

    processes: tuple[ProcessEntry, ...] = ()
    """Processes that have worked on the run, the first one first."""
    scenes: Mapping[str, SceneEntry] = field(default_factory=dict[str, SceneEntry])
    """Scenes by name."""
    launches: Mapping[str, LaunchEntry] = field(default_factory=dict[str, LaunchEntry])
    """Launches by token."""
    tasks: Mapping[str, TaskEntry] = field(default_factory=dict[str, TaskEntry])
    """Tasks by identifier."""
    results: Mapping[str, ResultEntry] = field(default_factory=dict[str, ResultEntry])
    """Finished videos by the name of their scene."""
    scene_failures: Mapping[str, SceneFailureEntry] = field(
        default_factory=dict[str, SceneFailureEntry]
    )
    """Failed attempts by the name of their scene."""
    end: ProcessEndEntry | None = None
    """Entry that the last process wrote when it ended its part of the run; ``None`` if this process
    is still running or ended abnormally."""

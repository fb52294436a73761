"""What is known of a run from what it wrote down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudburst.models.entries import (
    EndEntry,
    FaultEntry,
    LaunchEntry,
    ResultEntry,
    RunEntry,
    SceneEntry,
    TaskEntry,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The latest entry about each thing, in the order in which the things were first named."""

    lives: tuple[RunEntry, ...] = ()
    """The processes that have worked on it, the first one first."""
    scenes: Mapping[str, SceneEntry] = field(default_factory=dict[str, SceneEntry])
    """By name."""
    launches: Mapping[str, LaunchEntry] = field(default_factory=dict[str, LaunchEntry])
    """By token."""
    tasks: Mapping[str, TaskEntry] = field(default_factory=dict[str, TaskEntry])
    """By id."""
    results: Mapping[str, ResultEntry] = field(default_factory=dict[str, ResultEntry])
    """By the scene's name."""
    faults: Mapping[str, FaultEntry] = field(default_factory=dict[str, FaultEntry])
    """By the scene's name."""
    end: EndEntry | None = None
    """Of the last life; ``None``: it goes on, or it did not end in order."""

"""Progress of a run that goes on: its scenes, bill, time left and workers."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from cloudburst.models.report import Usd

WorkerPlace: TypeAlias = Literal["machine", "fargate", "endpoints"]
"""Place of a worker: a process on this machine, a task on Fargate, or a worker at an address."""

WorkerActivity: TypeAlias = Literal[
    "starting", "idle", "uploading", "encoding", "downloading", "stopping"
]
"""What a worker does. With several scenes, it is that of the scene that has come furthest, and an
encode comes before a download."""


class WorkerProgress(BaseModel):
    """State of a worker that has not stopped."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    number: int
    """Number of the worker in the order of launches, from 1."""
    task: str
    """Identifier of the task."""
    place: WorkerPlace
    size: str
    """Size of a billed task: ``2 vCPU, 4 GB``; empty if nothing is billed."""
    state: WorkerActivity
    scenes: tuple[str, ...]
    """Names of the scenes of this run on the worker, also of those that wait there."""


class RunFailure(BaseModel):
    """Failures of a run with the same cause."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    code: str
    """Code of the error: ``encode``, ``capacity``…"""
    message: str
    """Message of the first of these failures, of at most 500 characters."""
    fix: str
    """What to do: a short sentence or a command; empty if the message says all."""
    scenes: tuple[str, ...]
    """Names of scenes that failed, at most 20; with more than five causes, fewer."""
    count: int
    """Number of scenes that failed; 0 if only attempts, workers or the film failed."""


class RunProgress(BaseModel):
    """Progress of a run at one moment."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    at: float
    """Seconds since the run began."""
    scenes: int
    """Number of scenes so far; more may come to an open run."""
    done: int
    """Number of scenes with a video, also of those that an earlier process of the run made."""
    failed: int
    """Number of scenes that failed."""
    share: float
    """Share of the scenes that is done, from 0 to 1."""
    encodes: dict[str, float]
    """Share of each scene that is being encoded, from 0 to 1, by its name."""
    film: float | None
    """Share of the film that is done, from 0 to 1; ``None`` if no film is requested."""
    usd: Usd | None
    """Bill so far, in USD, of all processes of the run; ``None`` if nothing is billed."""
    max_usd: Usd | None
    """Most that the bill of the client may be, in USD; ``None``: no limit, or nothing is billed."""
    seconds_left: float | None
    """Expected seconds until all scenes of the client have a video, without the film; ``None``
    while that is not known, as no scene was encoded on such workers yet. While the film is made:
    until it is done."""
    seconds_left_low: float | None = None
    """Time left in the best case, which one run in ten reaches; ``None`` while it is not known."""
    seconds_left_high: float | None = None
    """Time left in the worst case, which nine runs in ten keep."""
    workers: tuple[WorkerProgress, ...]
    """Workers that have not stopped, in the order of their launches."""
    failures: tuple[RunFailure, ...] = ()
    """Failures so far, one for each cause: those of most scenes first, at most 20."""

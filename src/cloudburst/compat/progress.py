"""Progress of the calls of ``cloudburst-fargate``: a log record for each important event."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

from cloudburst.events import (
    Event,
    SceneCompleted,
    SceneFailed,
    SceneRetried,
    WorkerFailed,
    WorkerLaunched,
    WorkerReady,
)

logger = logging.getLogger("cloudburst.progress")
"""Logger for the progress of `execute_parallel_batches` and `execute_batch`, at INFO."""

_SHORT_ID_LENGTH = 12
"""Number of characters of a task's identifier in log messages, enough to distinguish the tasks of a
run."""


class Progress:
    """Counter of finished scenes that logs the events of one run."""

    def __init__(self, scenes: int) -> None:
        self._scenes, self._ended = scenes, 0

    def log(self, event: Event) -> None:
        """Log the event at INFO, or a failure at WARNING; minor events are not logged."""
        match event:
            case WorkerLaunched(task=task):
                logger.info("worker %s is starting", _short(task))
            case WorkerReady(task=task, at=at):
                logger.info("worker %s is ready after %.0f s", _short(task), at)
            case WorkerFailed(task=task, kind=kind, message=message):
                logger.warning("worker %s failed: %s: %s", _short(task) or "?", kind, message)
            case SceneRetried(scene=scene, kind=kind, message=message):
                logger.warning("%s will be tried again: %s: %s", scene, kind, message)
            case SceneCompleted(scene=scene, at=at):
                self._ended += 1
                logger.info("%d of %d: %s done, %.0f s", self._ended, self._scenes, scene, at)
            case SceneFailed(scene=scene, kind=kind, message=message):
                self._ended += 1
                counted = (self._ended, self._scenes)
                logger.warning("%d of %d: %s failed: %s: %s", *counted, scene, kind, message)
            case _:
                pass


@contextmanager
def log_to_terminal() -> Generator[None]:
    """Write progress to standard error within a ``with`` statement, if nothing else shows it.

    Progress is written only if standard error is a terminal and the program has not configured
    logging.
    """
    if not sys.stderr.isatty() or _shown_by_logging():
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("cloudburst: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _shown_by_logging() -> bool:
    """Return whether the program's own logging handles INFO records of progress."""
    at: logging.Logger | None = logger
    while at is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in at.handlers):
            return logger.isEnabledFor(logging.INFO)
        at = at.parent if at.propagate else None
    return False


def _short(task: str) -> str:
    return task.rpartition("/")[2][:_SHORT_ID_LENGTH]

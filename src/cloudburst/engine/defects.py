"""Unexpected exceptions: each fails only the scene or the worker in which it occurred."""

from __future__ import annotations

import logging

from cloudburst.errors import Remedy, SceneError, WorkerError

logger = logging.getLogger(__name__)


def log_defect(error: Exception, where: str) -> str:
    """Log the traceback of an unexpected exception, and return a one-line message."""
    text = f"unexpected {type(error).__name__}: {error}"
    logger.error(
        "%s: %s; this is a defect of cloudburst, please report it",
        *(where, text),
        exc_info=error,
        extra={"defect": True},
    )
    return text


def scene_defect(error: Exception, scene: str) -> SceneError:
    """Log an unexpected exception, and return it as the error of the scene where it occurred."""
    failure = SceneError(log_defect(error, f"scene {scene}"), scene=scene)
    failure.__cause__ = error
    return failure


def worker_defect(error: Exception, task: str) -> WorkerError:
    """Log an unexpected exception, and return it as the error of the worker where it occurred.

    The remedy of the returned error is to use another worker.

    Args:
        error: The exception.
        task: Id of the worker's task; empty if it is not known yet.
    """
    failure = WorkerError(log_defect(error, f"worker {task or 'that starts'}"), task=task)
    failure.remedy = Remedy.OTHER_WORKER
    failure.__cause__ = error
    return failure

"""Unexpected exceptions: each fails only the scene or the worker in which it occurred."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from cloudburst.errors import (
    CloudburstError,
    Remedy,
    SceneError,
    WorkerError,
    WorkerProtocolError,
)
from cloudburst.redaction import redact

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
    """Log an unexpected exception, and return it as the error of the worker where it occurred."""
    failure = WorkerError(log_defect(error, f"worker {task or 'that starts'}"), task=task)
    failure.remedy = Remedy.OTHER_WORKER
    failure.__cause__ = error
    return failure


@contextmanager
def worker_errors() -> Generator[None]:
    """Turn an unexpected exception of a call to a worker into `WorkerProtocolError`."""
    # Secrets are hidden in every error: a worker knows the URLs of its files, and may repeat
    # them.
    try:
        yield
    except CloudburstError as exc:
        exc.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in exc.args)
        if isinstance(exc, SceneError):
            exc.field = redact(exc.field)
        raise
    except Exception as exc:
        reason = redact(log_defect(exc, "a worker"))
        raise WorkerProtocolError(f"talking to the worker failed: {reason:.250}") from exc

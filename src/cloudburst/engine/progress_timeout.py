"""Timeout of attempts that make no progress."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager

import anyio

from cloudburst.errors import SceneTimeoutError
from cloudburst.ports.backend import Backend

BASE_ENCODE_TIMEOUT = 60.0
"""Constant part of the timeout of an encode on workers that report no progress, in seconds. A part
for the length of the audio is added."""


class ProgressTimeout:
    """Timeout of the current phase of an attempt.

    The timeout starts again with each phase and, during the encode, with each increase of progress:
    a long scene may take hours as long as it makes progress. On workers that report no progress,
    the whole encode has one timeout, which grows with the length of the audio.
    """

    def __init__(
        self, scope: anyio.CancelScope, seconds: float | None, *, reports_progress: bool
    ) -> None:
        self._scope = scope
        self._seconds = math.inf if seconds is None else seconds
        self._reports_progress = reports_progress
        self._progress = 0.0
        self.renew()

    def renew(self) -> None:
        """Start the timeout again, because a phase begins or the scene has made progress."""
        self._scope.deadline = anyio.current_time() + self._seconds

    def suspend(self) -> None:
        """Suspend the timeout while the scene waits for an encoder slot or the output folder."""
        self._scope.deadline = math.inf

    def note_progress(self, share: float) -> None:
        """Start the timeout again if the progress of the encode has increased.

        Args:
            share: Share of the encode that is done, between 0 and 1.
        """
        if share > self._progress:
            self._progress = share
            if self._reports_progress:
                self.renew()


@contextmanager
def progress_timeout(
    backend: Backend, seconds: float | None, *, audio_seconds: float, scene: str
) -> Generator[ProgressTimeout]:
    """Cancel the ``with`` block when an attempt makes no progress, and yield the timeout.

    Args:
        backend: Backend of the attempt's worker.
        seconds: ``Timeouts.scene``; ``None``: no timeout. Workers that report no progress have
            more time for long scenes.
        audio_seconds: Length of the scene's audio, in seconds.
        scene: Name of the scene, for the error.

    Raises:
        SceneTimeoutError: The attempt made no progress for too long.
    """
    reports_progress = not backend.encode_timeout_factor
    if seconds is not None and not reports_progress:
        seconds = max(seconds, BASE_ENCODE_TIMEOUT + backend.encode_timeout_factor * audio_seconds)
    with anyio.CancelScope() as scope:
        yield ProgressTimeout(scope, seconds, reports_progress=reports_progress)
    if scope.cancelled_caught:
        how = f"no progress for {seconds} s" if reports_progress else f"not done within {seconds} s"
        raise SceneTimeoutError(how, scene=scene)

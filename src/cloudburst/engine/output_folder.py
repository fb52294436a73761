"""Output folder of one run: the run is paused while the folder cannot be written to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from cloudburst.errors import CloudburstError, CredentialsError, OutputWriteError
from cloudburst.models.limits import Backoff
from cloudburst.ports.renderer import DownloadedVideo

logger = logging.getLogger(__name__)

WRITE_TIMEOUT = 60.0
"""Seconds without a written video after which the run is aborted. The value is a choice: enough
time to free space or to remount a disk, but not more than the minimum billed time of a task."""
WRITE_BACKOFF = Backoff(first=1.0, factor=2.0, cap=10.0)
"""Delays between two tries to write a video. They are long because each try downloads the video
again."""


class PausesRuns(Protocol):
    """Object that pauses, resumes and aborts runs, as the worker pool does."""

    def pause(self, run: str) -> None:
        """Start no further scene of a run until `resume` is called."""
        ...

    def resume(self, run: str) -> None:
        """Start scenes of a paused run again."""
        ...

    def abort(self, run: str, error: CloudburstError) -> None:
        """Start no further scene of a run, and fail its unfinished scenes with this error."""
        ...


class OutputFolder:
    """Output folder of a run, which pauses the run while videos cannot be written to it.

    After the first failed write, no further scene of the run is started. Encoded videos stay on
    their workers and are downloaded again, one at a time, so that they do not compete for the
    remaining disk space. When all of them are written, the run is resumed. If no video can be
    written for `WRITE_TIMEOUT`, the run is aborted. It is aborted at once if the credentials for S3
    are not accepted: a delivery has waited for newer ones before it fails.
    """

    def __init__(self, run: str, pool: PausesRuns) -> None:
        self._run = run
        self._pool = pool
        self._lock = anyio.Lock()
        self._waiting = 0  # videos that could not be written yet
        self._last_error: OutputWriteError | None = None  # of the last write, if it failed
        self._deadline = 0.0  # on anyio's clock: when the run is aborted
        self._aborted: CloudburstError | None = None

    async def fetch(self, download: Callable[[], Awaitable[DownloadedVideo]]) -> DownloadedVideo:
        """Download a video, and return it when it has its final name.

        Args:
            download: Function that downloads the video. It is called again after an
                `OutputWriteError`.

        Raises:
            OutputWriteError: No video of the run could be written for `WRITE_TIMEOUT`.
            CredentialsError: S3 does not accept the credentials.
        """
        if not self._waiting and (file := await self._try(download)):
            return file
        self._waiting += 1
        if self._waiting == 1 and self._aborted is None:
            self._pause()
        try:
            async with self._lock:
                return await self._retry(download)
        finally:
            self._waiting -= 1
            if not self._waiting and self._aborted is None:
                logger.info("run %s: videos can be written again; the run is resumed", self._run)
                self._pool.resume(self._run)

    async def _retry(self, download: Callable[[], Awaitable[DownloadedVideo]]) -> DownloadedVideo:
        for delay in WRITE_BACKOFF.delays():
            if self._aborted is not None:
                raise self._aborted
            if self._last_error is not None:
                left = self._deadline - anyio.current_time()
                if left <= 0:
                    raise self._abort(self._last_error)
                await anyio.sleep(min(delay, left))
            if file := await self._try(download):
                return file
        raise AssertionError("unreachable: delays() never ends")

    async def _try(
        self, download: Callable[[], Awaitable[DownloadedVideo]]
    ) -> DownloadedVideo | None:
        if self._aborted is not None:
            raise self._aborted
        try:
            file = await download()
        except OutputWriteError as exc:
            self._last_error = exc
            return None
        except CredentialsError as exc:
            if self._aborted is None:
                self._aborted = exc
                self._pool.abort(self._run, exc)
            raise
        self._last_error, self._deadline = None, anyio.current_time() + WRITE_TIMEOUT
        return file

    def _pause(self) -> None:
        self._deadline = anyio.current_time() + WRITE_TIMEOUT
        logger.warning(
            "run %s: %s; no scene starts until videos can be written again, for %g s at most",
            *(self._run, self._last_error, WRITE_TIMEOUT),
        )
        self._pool.pause(self._run)

    def _abort(self, cause: OutputWriteError) -> OutputWriteError:
        self._aborted = OutputWriteError(
            f"{cause}; no video could be written for {WRITE_TIMEOUT:g} s: "
            "make room, restore the folder or the permission to write to it, then resume the run"
        )
        self._aborted.__cause__ = cause
        self._pool.abort(self._run, self._aborted)
        return self._aborted

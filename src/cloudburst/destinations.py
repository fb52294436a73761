"""Destinations of videos: claims, recovery of earlier runs, and the folder of the journals."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from cloudburst.earlier_runs import newest_run_with, recover_outputs
from cloudburst.engine.recovered_state import RecoveredState
from cloudburst.errors import CloudburstError, SceneFault
from cloudburst.journal import JournalState
from cloudburst.models.locations import OutputLocation, S3Object
from cloudburst.models.scene import CheckedScene
from cloudburst.outputs import claim_outputs
from cloudburst.ports.remote_files import ConfirmClaim, unclaimed

OnLost = Callable[[CloudburstError], None]
"""Function that is called if a run loses its claim: another process has taken the run over."""


class ClaimLoss:
    """Loss of a claim of a run, which ends the run with an error.

    The claims of a run begin before it and end after it, so that they may be lost at any time.
    """

    def __init__(self) -> None:
        self._error: CloudburstError | None = None
        self._abort: OnLost | None = None

    def report(self, error: CloudburstError) -> None:
        """Record that a claim was lost, and abort the run if it has started."""
        if self._error is None:
            self._error = error
            if self._abort is not None:
                self._abort(error)

    @contextmanager
    def aborting(self, abort: OnLost) -> Generator[None]:
        """Call a function, which aborts the run, if a claim is lost during the ``with`` block.

        Raises:
            CloudburstError: A claim was lost before.
        """
        if self._error is not None:
            raise self._error
        self._abort = abort
        try:
            yield
        finally:
            self._abort = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedOutputs:
    """Videos that a run has claimed."""

    locations: Mapping[str, OutputLocation]
    """Location of each video, by the name of its scene."""
    confirm: ConfirmClaim = unclaimed
    """Function that raises `OutputClaimedError` if another process has taken the run over."""


class Destination(Protocol):
    """Place for the videos of a run."""

    @property
    def folder(self) -> Path:
        """Absolute path of the folder on this machine with the journals of its runs."""
        ...

    @property
    def replaceable(self) -> Collection[S3Object]:
        """Outdated objects of the run itself, which `recover` has found and the run replaces."""
        ...

    def video(self, scene: str) -> OutputLocation:
        """Return the location of the video of a scene."""
        ...

    async def find_faults(self, film: OutputLocation | None = None) -> Sequence[SceneFault]:
        """Return why no video can be written, as far as the destination shows that before a run.

        A folder on this machine is checked when its videos are claimed.

        Args:
            film: Location of the film of the run, which is checked as well; ``None`` for none.
        """
        ...

    def claim(
        self,
        names: Sequence[str],
        *,
        run: str,
        overwrite: bool,
        resume: bool,
        covers: Collection[str],
        on_lost: OnLost,
    ) -> AbstractAsyncContextManager[ClaimedOutputs]:
        """Return a context manager that claims the videos for a run.

        Args:
            names: Names of the scenes.
            run: Name of the run.
            overwrite: True if existing videos may be replaced.
            resume: True if existing videos are left to `recover`.
            covers: Names of the scenes whose videos have a cover, which is claimed as well.
            on_lost: Function that is called if another process takes the run over.

        Raises:
            OutputClaimedError: Another process writes one of the videos, or works on this run.
            OutputExistsError: A video exists and may not be replaced.
            ConfigurationError: The destination cannot be written to.
        """
        ...

    async def newest_run_with(self, names: Collection[str]) -> str | None:
        """Return the name of the newest run with a scene of one of these names, or ``None``."""
        ...

    async def recover(
        self,
        run: str,
        past: JournalState,
        scenes: Sequence[CheckedScene],
        locations: Mapping[str, OutputLocation],
        *,
        overwrite: bool,
    ) -> RecoveredState | None:
        """Return the state that earlier processes of the run left; ``None`` for a new run.

        Args:
            run: Name of the run.
            past: State of the run's journal on this machine.
            scenes: Scenes of the run.
            locations: Claimed videos.
            overwrite: True if videos that the run did not write may be replaced.

        Raises:
            OutputExistsError: There are videos that the run did not write and may not replace.
        """
        ...


@dataclass(frozen=True, slots=True)
class FolderDestination:
    """Folder on this machine, whose subfolder ``.cloudburst`` has the journals of its runs."""

    folder: Path
    """Absolute path of the folder."""
    replaceable: Collection[S3Object] = ()
    """None: files are replaced by a rename."""

    def video(self, scene: str) -> Path:
        """Return the path of the video of a scene."""
        return self.folder / f"{scene}.mp4"

    async def find_faults(
        self,
        film: OutputLocation | None = None,  # noqa: ARG002 - it is checked when it is claimed
    ) -> Sequence[SceneFault]:
        """Return no faults: the folder is checked when its videos are claimed."""
        return ()

    @asynccontextmanager
    async def claim(
        self,
        names: Sequence[str],
        *,
        run: str,
        overwrite: bool,
        resume: bool,
        covers: Collection[str],
        on_lost: OnLost,  # noqa: ARG002 - a lock of the operating system is never lost
    ) -> AsyncGenerator[ClaimedOutputs]:
        """Claim the videos: see `Destination.claim`."""
        async with claim_outputs(
            self.folder, names, run=run, overwrite=overwrite, resume=resume, covers=covers
        ) as paths:
            yield ClaimedOutputs(locations=paths)

    async def newest_run_with(self, names: Collection[str]) -> str | None:
        """Return the name of the newest run with a scene of one of these names, or ``None``."""
        return await anyio.to_thread.run_sync(newest_run_with, self.folder, names)

    async def recover(
        self,
        run: str,  # noqa: ARG002 - its journal is known
        past: JournalState,
        scenes: Sequence[CheckedScene],
        locations: Mapping[str, OutputLocation],
        *,
        overwrite: bool,
    ) -> RecoveredState | None:
        """Return the state that earlier processes of the run left: see `Destination.recover`."""
        paths = {name: path for name, path in locations.items() if isinstance(path, Path)}
        # Also without earlier processes: then every existing video belongs to another run.
        earlier = await anyio.to_thread.run_sync(
            lambda: recover_outputs(past, scenes, paths, overwrite=overwrite)
        )
        return earlier if past.processes else None

"""Destinations of videos: claims, recovery of earlier runs, and the folder of the journals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import anyio.to_thread

from cloudburst.engine.records import RecoveredState
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.scene import CheckedScene
from cloudburst.outputs.earlier_runs import newest_run_with, recover_outputs, recovered_state
from cloudburst.outputs.folder import ClaimMore, claim_outputs

if TYPE_CHECKING:
    from cloudburst.outputs.s3_destination import S3Destination

# Place for the videos of a run; both classes have the same methods.
Destination: TypeAlias = "FolderDestination | S3Destination"


@dataclass(frozen=True, slots=True)
class FolderDestination:
    """Folder on this machine, whose subfolder ``.cloudburst`` has the journals of its runs."""

    # Absolute path of the folder.
    folder: Path

    def video(self, scene: str) -> Path:
        """Return the path of the video of a scene."""
        return self.folder / f"{scene}.mp4"

    def claim(
        self,
        names: Sequence[str],
        *,
        run: str,
        overwrite: bool,
        resume: bool,
        covers: Collection[str],
    ) -> AbstractAsyncContextManager[ClaimMore]:
        """Return a context manager that claims the videos for a run: see `claim_outputs`."""
        return claim_outputs(
            self.folder, names, run=run, overwrite=overwrite, resume=resume, covers=covers
        )

    async def newest_run_with(self, names: Collection[str] | None) -> str | None:
        """Return the name of the newest run with a scene of one of these names, or ``None``.

        ``names=None`` stands for the newest run whose scenes come from a source.
        """
        return await anyio.to_thread.run_sync(newest_run_with, self.folder, names)

    async def recover(
        self,
        run: str,  # noqa: ARG002 - its journal is known
        past: JournalState,
        scenes: Sequence[CheckedScene],
        *,
        overwrite: bool,
        hash_inputs: HashInputs,
    ) -> RecoveredState | None:
        """Return the state that earlier processes of the run left; ``None`` for a new run.

        Raises:
            OutputExistsError: There are videos that the run did not write and may not replace.
        """
        paths = {scene.scene.name: self.video(scene.scene.name) for scene in scenes}
        # Also without earlier processes: then every existing video belongs to another run.
        results = await anyio.to_thread.run_sync(
            lambda: recover_outputs(past, scenes, paths, overwrite=overwrite)
        )
        return await recovered_state(past, scenes, results, hash_inputs) if past.processes else None

"""Request of a run, made from the arguments of a command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudburst.cli.output import short_path
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.locations import OutputFolder, absolute_location
from cloudburst.models.options import RenderOptions
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import OpenBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run as requested on the command line."""

    scenes: Sequence[Mapping[str, Any]]
    to: OutputFolder
    """Folder of the videos."""
    options: RenderOptions
    backend: OpenBackend | Sequence[OpenBackend]
    tier: Tier
    limits: Limits
    overwrite: bool
    run: str | None = None
    """Name of the run to resume; ``None`` for a new run."""
    custom_folder: bool = False
    """True if ``cloudburst resume`` needs ``--to`` to find the run."""
    film: FilmRequest | None = None
    """Film to make of all videos; ``None`` for none."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    spot: bool = False
    """True if ``--spot`` was given; the journal does not record this option."""
    settings: Settings | None = None
    """Settings with which files in S3 are accessed; ``None``: those of `Client`."""
    early_launch: bool = True
    """True to start the first tasks of a new run while input files are still read."""

    def resume_command(self, run: str) -> str:
        """Return the command that resumes the run."""
        words = ["cloudburst", "resume", run, *self._folder_words()]
        if self.overwrite:
            words.append("--overwrite")
        if self.spot:
            words.append("--spot")
        return shlex.join(words)

    def list_command(self) -> str:
        """Return the command that lists the runs of the folder."""
        return shlex.join(["cloudburst", "runs", *self._folder_words()])

    def _folder_words(self) -> list[str]:
        return ["--to", short_path(absolute_location(self.to))] if self.custom_folder else []

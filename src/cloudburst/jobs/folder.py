"""Files of jobs and uploads in the folder of the jobs. Functions that touch files block."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FILM_NAME = "film.mp4"
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Folder with the files of one job. None of its parts need exist."""

    path: Path

    @property
    def inputs(self) -> Path:
        """Folder with the input files that belong to the job; removed when the job is finished."""
        return self.path / "inputs"

    @property
    def videos(self) -> Path:
        """Folder with the videos and the journal of the run."""
        return self.path / "videos"

    @property
    def film(self) -> Path:
        """Film of the job."""
        return self.path / FILM_NAME

    def create(self) -> None:
        """Create the folder for the input files."""
        self.inputs.mkdir(mode=0o700, parents=True)

    def input_bytes(self) -> int:
        """Return the size of the input files, in bytes."""
        if not self.inputs.is_dir():
            return 0
        return sum(path.stat().st_size for path in self.inputs.iterdir())

    def output_bytes(self) -> int:
        """Return the size of the videos, the film and the files beside them, in bytes."""
        return sum(
            path.stat().st_size
            for folder in (self.path, self.videos)
            if folder.is_dir()
            for path in folder.iterdir()
            if path.is_file()
        )

    def remove_inputs(self) -> None:
        """Remove the input files."""
        shutil.rmtree(self.inputs, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class JobsFolder:
    """Folder with the files of all jobs and uploads."""

    path: Path

    @property
    def uploads(self) -> Path:
        """Folder with the uploads."""
        return self.path / "uploads"

    def job(self, job: str) -> JobFolder:
        """Return the folder of a job."""
        return JobFolder(self.path / "jobs" / job)

    def create(self) -> None:
        """Create the folders that are missing."""
        for path in (self.uploads, self.path / "jobs"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove_strays(self, known: Collection[str], before: float) -> None:
        """Remove files that belong to no job and no upload, and were not changed after a time.

        They remain when a process is killed while it receives or removes them.

        Args:
            known: Identifiers of all jobs and names of all uploaded files.
            before: Time in seconds since the epoch.
        """
        jobs = (path for path in (self.path / "jobs").iterdir() if _ID.fullmatch(path.name))
        for path in (*jobs, *self.uploads.iterdir()):
            with suppress(OSError):  # another process removes it at the same time
                if path.name in known or path.stat().st_mtime >= before:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

"""Files of jobs and uploads in the folder of the jobs. Functions that touch files block."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cloudburst.errors import JobStorageError, UnknownJobError
from cloudburst.text import describe_error, short_repr

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Folder with the files of one job. None of its parts need exist."""

    path: Path

    @property
    def inputs(self) -> Path:
        """Folder with the input files; removed when the job is complete.

        Files of scenes that were added to an open job, or changed, are in folders below it.
        """
        return self.path / "inputs"

    @property
    def videos(self) -> Path:
        """Folder with the videos and the journal of the run."""
        return self.path / "videos"

    @property
    def film(self) -> Path:
        """Film of the job."""
        return self.path / "film.mp4"

    def kept_input(self, location: str) -> Path | None:
        """Return an input file of the job; ``None`` for another location."""
        path = Path(location)
        return path if path.is_relative_to(self.inputs) else None

    def output_bytes(self) -> int:
        """Return the size of videos, film and what is beside them, in bytes."""
        return size_of_files(self.path) + size_of_files(self.videos)

    def bytes(self) -> int:
        """Return the size of all files, in bytes."""
        inputs = map(size_of_files, [self.inputs, *self.inputs.glob("*/")])
        return sum(inputs) + self.output_bytes()

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
        """Return the folder of a job; raise `UnknownJobError` for what is no identifier."""
        if not _ID.fullmatch(job):
            raise UnknownJobError(f"there is no job {short_repr(job)}")
        return JobFolder(self.path / "jobs" / job)

    def create(self) -> None:
        """Create the folders that are missing."""
        for path in (self.uploads, self.path / "jobs"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def upload(self, upload: str) -> Path:
        """Return the file of an upload."""
        return self.uploads / upload

    def remove_strays(self, known: Collection[str], before: float) -> None:
        """Remove what killed processes have left of other jobs and uploads."""
        for path in (*(self.path / "jobs").iterdir(), *self.uploads.iterdir()):
            with suppress(OSError):  # another process removes it at the same time
                if path.name in known or path.stat().st_mtime >= before:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def film_name(job: str) -> str:
    """Return the name of the film of a job in S3."""
    return f"{job}.mp4"


@contextmanager
def storage_errors(path: Path) -> Generator[None]:
    """Raise errors of files and of the database as `JobStorageError`."""
    try:
        yield
    except (OSError, sqlite3.Error) as exc:
        raise JobStorageError(f"{path} cannot be used: {describe_error(exc)}") from exc


def size_of_files(folder: Path) -> int:
    """Return the size of the files in a folder, in bytes, without those in folders below it."""
    size = 0
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                status = path.lstat()
                size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size

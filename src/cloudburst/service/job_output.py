"""Output of a render process: its lines, and the files that it leaves in the job's folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field

from cloudburst.renderer.job import (
    COVER_FILE,
    SUBTITLES_FILE,
    VIDEO_FILE,
    InputFault,
    RenderedVideo,
)

# Files that are kept until the job is deleted.
RESULT_FILES = (VIDEO_FILE, COVER_FILE, SUBTITLES_FILE)


class ChildLine(BaseModel):
    """Line in the output of a render process, with exactly one of its fields set.

    It is validated like a caller's input, because the render process decodes a caller's files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading: str | None = None
    """Name of the input that is read from now on; empty if no input is read."""
    progress: float | None = Field(default=None, ge=0, le=1)
    gops: int | None = Field(default=None, ge=2, le=100_000)
    """Number of parts of the video that other processes may help to encode from now on."""
    done: RenderedVideo | None = None
    fault: InputFault | None = None
    warnings: tuple[str, ...] = ()
    """Differences of a frame from the inputs; those of a video are in ``done``."""


async def has_results(folder: Path, done: RenderedVideo) -> bool:
    """Return whether the folder has the files that the render process reports, by their sizes."""
    sizes = {VIDEO_FILE: done.size}
    if done.cover is not None:
        sizes[COVER_FILE] = done.cover.size
    if done.subtitles is not None:
        sizes[SUBTITLES_FILE] = done.subtitles.size

    def found() -> bool:
        files = ((folder / name, size) for name, size in sizes.items())
        return all(path.is_file() and path.stat().st_size == size for path, size in files)

    return await to_thread.run_sync(found)


def clear(folder: Path, kept: Collection[str] = ()) -> None:
    """Delete everything in the folder except the ``kept`` files; without any, the folder too."""
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(OSError):  # what cannot be listed is deleted with the service's folder
        for path in folder.iterdir():
            if path.name not in kept:
                with suppress(OSError):
                    path.unlink()

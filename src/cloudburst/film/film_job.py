"""Film process of the render service: ``python -m cloudburst.film.film_job FOLDER``.

The folder has the videos, the subtitles, and a `FilmPlan` with relative paths. Lines and exit codes
are those of `cloudburst.renderer.render_process`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

from cloudburst.film.film_process import make_limited
from cloudburst.film.plan import FilmFaultError, FilmPlan, film_files, partial_files
from cloudburst.renderer.child_process import start_child, write_line
from cloudburst.renderer.job import (
    COVER_FILE,
    INPUT_FAULT_EXIT_CODE,
    JOB_FILE,
    SUBTITLES_FILE,
    VIDEO_FILE,
    InputFault,
    RenderedFile,
    RenderedVideo,
)


def main(folder: Path) -> int:
    """Make the film of the job in the folder, and return the exit code."""
    start_child(folder, threads=True)
    os.chdir(folder)  # the paths in the plan, and in errors, are relative
    plan = FilmPlan.from_json(Path(JOB_FILE).read_bytes())
    try:
        made = make_limited(plan)
    except FilmFaultError as exc:
        fault = InputFault(field="film", found=str(exc), expected="videos that can be joined")
        write_line(fault=asdict(fault))
        return INPUT_FAULT_EXIT_CODE
    _rename(Path(plan.path))
    film, subtitles = RenderedFile.measure(Path(VIDEO_FILE)), Path(SUBTITLES_FILE)
    done = RenderedVideo(
        seconds=made.seconds,
        frames=made.frames,
        width=made.width,
        height=made.height,
        size=film.size,
        sha256=film.sha256,
        cover=RenderedFile.measure(Path(COVER_FILE)),
        subtitles=RenderedFile.measure(subtitles) if subtitles.exists() else None,
    )
    write_line(done=asdict(done))
    return 0


def _rename(film: Path) -> None:
    names = dict(zip(film_files(film), (SUBTITLES_FILE, COVER_FILE, VIDEO_FILE), strict=True))
    for partial, path in partial_files(film).items():
        if partial.exists():
            partial.replace(names[path])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

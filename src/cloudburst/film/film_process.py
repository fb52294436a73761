"""Film process: ``python -m cloudburst.film.film_process PLAN``, a file with a `FilmPlan`.

It ends when its standard input is closed. It writes the lines of `cloudburst.film.plan`, and exits
with 0, with `FAULT_EXIT_CODE` if no film can be made of the videos, or with Python's exit code
after an error.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.film.plan import FAULT_EXIT_CODE, FilmFaultError, FilmPlan, partial_files
from cloudburst.renderer import process_limits
from cloudburst.renderer.child_process import ProgressReporter, own_group, watch_parent, write_line
from cloudburst.renderer.confinement.decoders import confine

if TYPE_CHECKING:
    from cloudburst.film.make import MadeFilm

# Memory limit in bytes. Cuts take 150 MB and crossfades 300 MB; the index of a film takes 20 MB
# for each hour.
MEMORY_BYTES = 1_500_000_000
CPU_SECONDS = 60.0
# CPU seconds allowed for each second of a film, in addition to `CPU_SECONDS`. Cuts take 0.01, and
# a film of which every picture is encoded again 0.4.
CPU_SHARE = 2.0


def main(plan_file: Path) -> int:
    """Make the film of a plan, and return the exit code."""
    own_group()
    plan = FilmPlan.from_json(plan_file.read_bytes())
    try:
        _confine(plan)
        done = make_limited(plan)
    except FilmFaultError as exc:
        write_line(fault=str(exc))
        return FAULT_EXIT_CODE
    write_line(done=done._asdict())
    return 0


def _confine(plan: FilmPlan) -> None:
    partial = list(partial_files(Path(plan.path)))
    try:
        for path in partial:
            path.unlink(missing_ok=True)  # a symbolic link in its place is not followed
            path.touch(exist_ok=False)
    except OSError as exc:
        raise FilmFaultError(f"{plan.path}: the film cannot be written: {exc.strerror}") from exc
    inputs = [name for scene in plan.scenes for name in (scene.video, scene.subtitle) if name]
    inputs += [file.path for file in plan.files.values()]
    readable = list(map(Path, inputs))
    confine(None, watch_parent, readable=readable, writable=partial, threads=True)


def make_limited(plan: FilmPlan) -> MadeFilm:
    """Write the partial files of a film and lines of progress, with limited memory and CPU time.

    Raises `FilmFaultError` if no film can be made of the videos.
    """
    from cloudburst.film.make import make_film  # noqa: PLC0415 - slow: the thread comes first

    process_limits.limit_memory(MEMORY_BYTES, for_good=True)

    def allow(seconds: float) -> None:
        allowed = time.process_time() + CPU_SECONDS + CPU_SHARE * seconds
        process_limits.limit_cpu_time(allowed, for_good=seconds > 0)

    allow(0)
    try:
        return make_film(plan, ProgressReporter(), allow)
    except MemoryError:
        raise FilmFaultError("videos that take too much memory to read") from None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

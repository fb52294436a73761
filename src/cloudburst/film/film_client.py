"""Client of the film process: it starts the process, follows it, and renames the finished files."""

from __future__ import annotations

import filecmp
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio import to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import ConfigurationError, FilmError
from cloudburst.film.fingerprint import read_fingerprint
from cloudburst.film.plan import FilmPlan, film_files, partial_files
from cloudburst.service.subprocesses import Subprocesses
from cloudburst.workers.temporary_folders import temporary_folder

COMMAND = (sys.executable, "-P", "-m", "cloudburst.film.film_process")
"""Command that makes the film of a plan file, which is appended as its argument. ``-P``: never
import modules from the current folder."""
REQUIRED_MODULES = ("av", "PIL")
"""Modules of the extra ``cloudburst-sdk[film]``."""
REMOVE_TIMEOUT = 10.0
"""Seconds for the removal of the partial files of a film."""


def check_modules() -> None:
    """Raise `ConfigurationError` if a module is missing without which no film can be made."""
    missing = [name for name in REQUIRED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"a film needs {', '.join(missing)}: pip install 'cloudburst-sdk[film]'"
        raise ConfigurationError(msg)


def is_up_to_date(plan: FilmPlan) -> bool:
    """Return whether the film of a plan exists with its other files, made of the same videos."""
    subtitles, cover, film = film_files(Path(plan.path))
    subtitled = any(scene.subtitle is not None for scene in plan.scenes)
    return (
        cover.is_file()
        and subtitles.is_file() == subtitled
        and read_fingerprint(film) == plan.fingerprint
    )


async def make_film(
    plan: FilmPlan, on_progress: Callable[[float], None], *, overwrite: bool = False
) -> float:
    """Make a film in a process of its own, and return its length in seconds.

    The files get their final names when all of them are complete; an earlier film is replaced. If
    this call is cancelled or fails, the process is killed and nothing is left of the film.

    Args:
        plan: Plan of the film; its folder exists.
        on_progress: Function that is called with the finished part, from 0 to 1.
        overwrite: True to replace subtitles and a cover that are not those of an earlier film.

    Raises:
        FilmError: No film can be made of the videos, or it cannot be written.
    """
    film = Path(plan.path)
    try:
        done = await _run(plan, on_progress)
        await to_thread.run_sync(_rename, film, overwrite)
    except OSError as exc:
        raise FilmError(f"{film}: {exc.strerror or exc}") from exc
    finally:
        with suppress(TimeoutError):
            await finish_despite_cancel(
                lambda: to_thread.run_sync(_remove_partial, film), seconds=REMOVE_TIMEOUT
            )
    return float(done["seconds"])


async def _run(plan: FilmPlan, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Run the film process, and return the values of its last line."""
    last = dict[str, Any]()

    def on_line(text: bytes) -> None:
        line = json.loads(text)
        if "progress" in line:
            on_progress(line["progress"])
        last.update(line)

    async with temporary_folder() as folder:
        file = folder / "plan.json"
        await to_thread.run_sync(file.write_text, plan.to_json(), "utf-8")
        ended = await Subprocesses().run([*COMMAND, str(file)], on_line)
    if "fault" in last:
        raise FilmError(last["fault"])
    if "done" not in last or ended.code != 0:
        raise FilmError(f"the film process ended with {ended.code}: {ended.errors}")
    done: dict[str, Any] = last["done"]
    return done


def _rename(film: Path, overwrite: bool) -> None:
    """Give the partial files their final names, the film last; remove earlier subtitles."""
    files = partial_files(film)
    if not overwrite:
        made_at = film.stat().st_mtime_ns if read_fingerprint(film) else 0
        for partial, path in files.items():
            if path != film and _is_foreign(path, partial, made_at):
                msg = f"{path} is not from an earlier film, or was changed since: move it away, or "
                raise FilmError(f"{msg}overwrite=True (--overwrite) replaces it")
    for partial, path in files.items():
        if partial.stat().st_size:
            partial.replace(path)
        else:
            path.unlink(missing_ok=True)


def _is_foreign(path: Path, partial: Path, made_at: int) -> bool:
    """Return whether a file exists that is neither as old as a film nor what replaces it."""
    newer = os.path.lexists(path) and path.lstat().st_mtime_ns > made_at
    return newer and not filecmp.cmp(partial, path, shallow=False)


def _remove_partial(film: Path) -> None:
    for partial in partial_files(film):
        with suppress(OSError):
            partial.unlink()

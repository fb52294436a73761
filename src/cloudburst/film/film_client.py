"""Client of the film process: it starts the process, follows it, and renames the finished files."""

from __future__ import annotations

import filecmp
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from cloudburst.concurrency import START_TIMEOUT, finish_despite_cancel
from cloudburst.errors import ConfigurationError, FilmError
from cloudburst.film.fingerprint import read_fingerprint
from cloudburst.film.plan import FilmPlan, film_files, partial_files
from cloudburst.service.process_privacy import child_environment

COMMAND = (sys.executable, "-P", "-m", "cloudburst.film.film_process")
"""Command that makes a film. ``-P``: never import modules from the current folder."""
REQUIRED_MODULES = ("av", "PIL")
"""Modules of the extra ``cloudburst-sdk[film]``."""
KILL_TIMEOUT = 10.0
"""Seconds for the end of a killed process and the removal of its files."""
_MAX_LINE_BYTES = 1024 * 1024
"""Maximum size of a line that the film process writes, in bytes."""
_MAX_ERROR_BYTES = 8192
"""Number of bytes that are kept from the end of the process's error output."""


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
                lambda: to_thread.run_sync(_remove_partial, film), seconds=KILL_TIMEOUT
            )
    return float(done["seconds"])


async def _run(plan: FilmPlan, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Run the film process, and return the values of its last line."""
    # A session of its own: Ctrl-C in the terminal reaches only this process. The process ends when
    # its standard input is closed, so it does not outlast this one.
    with anyio.fail_after(START_TIMEOUT, shield=True):
        process = await anyio.open_process(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,
        )
    lines, errors = _Lines(on_progress), bytearray()
    try:
        async with anyio.create_task_group() as tasks:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            tasks.start_soon(_keep_end, process.stderr, errors)
            with suppress(anyio.BrokenResourceError):  # it has ended
                await process.stdin.send(plan.to_json().encode() + b"\n")
            await lines.read(process.stdout)
            await process.wait()
    finally:
        _kill(process)
        with suppress(TimeoutError):
            await finish_despite_cancel(process.aclose, seconds=KILL_TIMEOUT)
    if lines.fault is not None:
        raise FilmError(lines.fault)
    if lines.done is None or process.returncode != 0:
        text = errors.decode("utf-8", "replace").strip()
        raise FilmError(f"the film process ended with {process.returncode}: {text}")
    return lines.done


class _Lines:
    """Reader of the lines that the film process writes."""

    def __init__(self, on_progress: Callable[[float], None]) -> None:
        self._on_progress = on_progress
        self.fault: str | None = None
        self.done: dict[str, Any] | None = None

    async def read(self, stream: ByteReceiveStream) -> None:
        """Read all lines, up to the end of the stream."""
        buffered = BufferedByteReceiveStream(stream)
        with suppress(anyio.EndOfStream, anyio.IncompleteRead):
            while True:
                line = json.loads(await buffered.receive_until(b"\n", _MAX_LINE_BYTES))
                if "progress" in line:
                    self._on_progress(line["progress"])
                self.fault = line.get("fault", self.fault)
                self.done = line.get("done", self.done)


async def _keep_end(stream: ByteReceiveStream, kept: bytearray) -> None:
    async for block in stream:
        kept += block
        del kept[:-_MAX_ERROR_BYTES]


def _kill(process: Process) -> None:
    """Kill the process group of a process that has not ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)


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

"""Claims of output files: two running processes never write the same video.

Inside the output folder, ``.cloudburst/<run>.lock`` is locked while a process works on the run, and
the claim file ``.cloudburst/<run>.json`` lists the videos it writes and identifies the process. The
operating system releases the lock when the process ends, so a claim without a lock is stale.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import socket
import stat
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from filelock import BaseFileLock

from cloudburst.concurrency import finish_despite_cancel, poll
from cloudburst.errors import ConfigurationError, OutputClaimedError, OutputExistsError
from cloudburst.files import parse_json, read_regular_file, replaced_file
from cloudburst.locks import release_and_remove, take_lock, try_lock
from cloudburst.models.limits import Backoff
from cloudburst.models.scene import cover_path, fold_name, validate_scene_name
from cloudburst.text import list_some, printable_line

# Largest size of a claim file in bytes, enough for the names of a hundred thousand scenes.
MAX_CLAIM_BYTES = 32 * 1024**2


def metadata_folder(folder: Path) -> Path:
    """Return the path of the folder ``.cloudburst`` in an output folder; it need not exist.

    Raises `ConfigurationError` if the path is a file, or a symbolic link, which could lead to files
    outside the output folder.
    """
    home = folder.absolute() / ".cloudburst"
    try:
        mode = home.lstat().st_mode
    except (OSError, ValueError):
        return home  # does not exist, or the caller reports the error
    if stat.S_ISDIR(mode):
        return home
    found = "a symbolic link" if stat.S_ISLNK(mode) else "not a folder"
    msg = (
        f"videos cannot be written to {folder}: {home} is {found}; expected a folder, in which "
        "cloudburst keeps its files. Move it away, or choose another folder for the videos"
    )
    raise ConfigurationError(msg)


@contextmanager
def exclusive_access(home: Path) -> Generator[bool]:
    """Try to take the lock of a ``.cloudburst`` folder, and yield whether it was taken.

    The lock is released at the end of the block. If the folder then has no claim files, its lock
    file is removed, and so is the folder if it is empty.
    """
    lock = None
    # FileNotFoundError, FileExistsError: another process removed the folder or file meanwhile.
    with suppress(FileNotFoundError, FileExistsError):
        lock = try_lock(home / "lock")
    try:
        yield lock is not None
    finally:
        if lock is not None and any(home.glob("*.json")):
            lock.release()
        elif lock is not None:
            release_and_remove(lock)
            with suppress(OSError):  # another run may be creating its claim
                home.rmdir()


def read_claim(claim_file: Path) -> tuple[list[str], str]:
    """Return the scene names in a claim file and a description of its process.

    If the file is missing or invalid, there are no names, and the description is "an unknown
    process".
    """
    try:
        text = read_regular_file(claim_file, limit=MAX_CLAIM_BYTES).decode()
        data: Any = parse_json(claim_file, text)
        names = [validate_scene_name(name) for name in data["names"]]
        return names, f"process {data['pid']:d} on {printable_line(str(data['host']))}"
    except (OSError, ValueError, LookupError, TypeError):
        return [], "an unknown process"


logger = logging.getLogger(__name__)

# Maximum number of seconds to wait for the folder's lock. Processes hold it for milliseconds.
_FOLDER_LOCK_TIMEOUT = 10.0
_FOLDER_LOCK_BACKOFF = Backoff(first=0.02, cap=0.1)

# Function that claims the videos, and the covers, of these names in addition.
ClaimMore: TypeAlias = Callable[[Sequence[str], Collection[str]], Awaitable[None]]


@asynccontextmanager
async def claim_outputs(
    folder: Path,
    names: Sequence[str],
    *,
    run: str,
    overwrite: bool,
    resume: bool = False,
    covers: Collection[str] = (),
) -> AsyncGenerator[ClaimMore]:
    """Claim ``<folder>/<name>.mp4`` for every name; yield a function that claims more.

    ``covers`` are the names of the videos that have a cover, which is claimed as well. Create the
    folder if needed. With ``resume``, existing videos and partial files are left to the
    caller. Raises `OutputClaimedError` if another process writes one of the videos or works on this
    run, `OutputExistsError` if a video exists and ``overwrite`` is false, and `ConfigurationError`
    if the folder cannot be written to.
    """
    claim = _Claim(folder, run=run, overwrite=overwrite, resume=resume)
    try:
        await claim.add(names, covers)
        yield claim.add
    finally:
        await finish_despite_cancel(
            lambda: anyio.to_thread.run_sync(claim.drop), seconds=_FOLDER_LOCK_TIMEOUT
        )


def active_runs(folder: Path) -> dict[str, str]:
    """Return the runs in a folder on which processes work, with a description of each process.

    The result is empty if the folder cannot be written to, or if another process holds its lock for
    10 seconds. Raises the same errors as `metadata_folder`. Blocks.
    """
    home = metadata_folder(folder)
    until = time.monotonic() + _FOLDER_LOCK_TIMEOUT
    with suppress(OSError):
        while home.is_dir() and time.monotonic() < until:
            # With the folder's lock, because a starting run takes its own lock at once or fails.
            with exclusive_access(home) as alone:
                if alone:
                    return _held(home)
            time.sleep(_FOLDER_LOCK_BACKOFF.first)
    return {}


@contextmanager
def lock_inactive_runs(folder: Path, runs: Iterable[str]) -> Generator[list[str]]:
    """Lock those of the given runs on which no process works, and yield their names. Blocks.

    The list is empty if another process holds the folder's lock. Raises ``OSError`` if the folder
    cannot be written to, and the same errors as `metadata_folder`.
    """
    home = metadata_folder(folder)
    with exclusive_access(home) as alone, ExitStack() as stack:
        ours = list[str]()
        for run in runs if alone else ():
            if (lock := try_lock(home / f"{run}.lock")) is not None:
                stack.callback(release_and_remove, lock)
                ours.append(run)
        yield ours


def _held(home: Path) -> dict[str, str]:
    found = dict[str, str]()
    for claim_file in sorted(home.glob("*.json")):
        if (lock := try_lock(claim_file.with_suffix(".lock"))) is None:
            found[claim_file.stem] = read_claim(claim_file)[1]
        else:
            lock.release()
    return found


class _Claim:
    """Claim of the videos of one run."""

    def __init__(self, folder: Path, *, run: str, overwrite: bool, resume: bool) -> None:
        self._folder = folder.absolute()
        self._home = self._folder / ".cloudburst"  # checked for links before each use
        self._claim_file = self._home / f"{run}.json"
        self._run_lock: BaseFileLock | None = None
        self._overwrite = overwrite
        self._resume = resume
        self._names: list[str] = []

    async def add(self, names: Sequence[str], covers: Collection[str]) -> None:
        """Claim videos, and covers, in addition: see `claim_outputs`."""
        take = partial(self._take, names, covers)  # in a thread, because names may be thousands

        async def try_claim() -> bool | None:
            call = partial(anyio.to_thread.run_sync, take)
            return await finish_despite_cancel(call, seconds=math.inf) or None

        with anyio.move_on_after(_FOLDER_LOCK_TIMEOUT) as waiting:
            await poll(try_claim, delays=_FOLDER_LOCK_BACKOFF.delays())
        if waiting.cancelled_caught:
            msg = (
                f"{self._home} has been locked by another process for {_FOLDER_LOCK_TIMEOUT:g} s: "
                "end that process, or choose another folder"
            )
            raise ConfigurationError(msg)

    def _take(self, names: Sequence[str], covers: Collection[str]) -> bool:
        """Claim the videos; return false if another process holds the folder's lock."""
        paths = {name: self._folder / f"{name}.mp4" for name in names}
        with _usable(self._folder):
            metadata_folder(self._folder)
            try:
                self._home.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                if self._home.is_file():
                    raise
                return False  # another process removed it during the call
            with exclusive_access(self._home) as alone:
                if alone:
                    self._refuse_claimed(paths)
                    if not self._resume:
                        outputs = [*paths.values(), *(cover_path(paths[name]) for name in covers)]
                        self._refuse_existing(outputs)
                    self._write_claim_file([*self._names, *names])
                    self._names += names
                return alone

    def drop(self) -> None:
        """Release the claim. Blocks."""
        if self._run_lock is not None:
            with suppress(OSError):  # a claim file without a lock is stale: it may stay
                self._claim_file.unlink()
            release_and_remove(self._run_lock)
            self._run_lock = None
            with suppress(OSError), exclusive_access(self._home):
                pass  # removes an empty folder; another process would do it as well

    def _refuse_claimed(self, paths: Mapping[str, Path]) -> None:
        ours = {fold_name(name): path for name, path in paths.items()}
        for claim_file in sorted(self._home.glob("*.json")):
            if claim_file == self._claim_file and self._run_lock is not None:
                continue
            lock = try_lock(claim_file.with_suffix(".lock"))
            names, holder = read_claim(claim_file)
            if lock is None:
                if claim_file == self._claim_file:
                    msg = f"{holder} already works on run {claim_file.stem}"
                    raise OutputClaimedError(msg, holder=holder)
                if shared := [ours[key] for name in names if (key := fold_name(name)) in ours]:
                    msg = f"{holder} is writing {list_some(shared)}"
                    raise OutputClaimedError(msg, paths=shared, holder=holder)
            else:  # the process has ended: remove its partial files
                left = self._resume and claim_file == self._claim_file
                for name, suffix in () if left else product(names, (".mp4", ".jpg")):
                    with suppress(OSError):  # not a file
                        (self._folder / f"{name}{suffix}.part").unlink()
                with suppress(OSError):  # no permission, or not a file
                    claim_file.unlink()
                release_and_remove(lock)

    def _refuse_existing(self, outputs: Iterable[Path]) -> None:
        there = [path for path in outputs if os.path.lexists(path)]
        if there and not self._overwrite:
            msg = f"videos already exist: {list_some(there)}; overwrite=True replaces them"
            raise OutputExistsError(msg, paths=there)
        if folders := [path for path in there if path.is_dir()]:
            msg = f"folders have the names of videos: {list_some(folders)}; move them away"
            raise OutputExistsError(msg, paths=folders)

    def _write_claim_file(self, names: Sequence[str]) -> None:
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        claim = {"pid": os.getpid(), "host": socket.gethostname(), "names": names}
        if self._run_lock is not None:
            with replaced_file(self._claim_file) as file:
                file.write(json.dumps(claim).encode())
            return
        try:
            with self._claim_file.open("x", encoding="utf-8") as file:  # does not follow a link
                json.dump(claim, file)
            self._run_lock = take_lock(self._claim_file.with_suffix(".lock"))
        except BaseException:
            self._claim_file.unlink(missing_ok=True)
            raise


@contextmanager
def _usable(folder: Path) -> Generator[None]:
    try:
        yield
    except ConfigurationError:
        raise  # OutputExistsError is also an OSError
    except (OSError, ValueError) as exc:  # ValueError: a NUL within the path
        # The message names the file if it is not the folder itself.
        name = getattr(exc, "filename", None)
        inside = f"{name}: " if name and Path(os.fsdecode(name)) != folder else ""
        why = getattr(exc, "strerror", None) or exc
        msg = f"videos cannot be written to {folder}: {inside}{why}"
        raise ConfigurationError(msg) from exc

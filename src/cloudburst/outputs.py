"""Who writes which video: runs that are alive never write to the same name.

Inside the output folder, ``.cloudburst/<run>.lock`` is locked for as long as its run lives, and
``.cloudburst/<run>.json`` beside it says which names it writes and who it is. The operating system
lets go of the lock when the process ends, however it ends: a claim that nobody holds is stale.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
from filelock import BaseFileLock, FileLock, Timeout

from cloudburst.engine.polling import insist, poll
from cloudburst.errors import ConfigurationError, OutputClaimedError, OutputExistsError
from cloudburst.models.policy import Backoff
from cloudburst.models.scene import checked_name, folded

_PATIENCE = 10.0
"""Seconds for which another run may hold the folder's own lock; it needs milliseconds."""
_AGAIN = Backoff(first=0.02, cap=0.1)


@asynccontextmanager
async def claimed(
    folder: Path, names: Sequence[str], *, run: str, overwrite: bool, resume: bool = False
) -> AsyncGenerator[dict[str, Path]]:
    """Own ``<folder>/<name>.mp4`` of every name while inside; yields name to absolute path.

    Makes the folder. With ``resume`` what the run itself has left, videos and halves of them, is
    the caller's affair. Raises `OutputClaimedError` when another run that is alive writes one of
    the names, or this run is alive elsewhere, `OutputExistsError` when a video is there and
    ``overwrite`` is false, and `ConfigurationError` when the folder cannot be written to.
    """
    claim = _Claim(folder, names, run=run, overwrite=overwrite, resume=resume)

    async def taken() -> bool | None:
        return await anyio.to_thread.run_sync(claim.take) or None

    try:
        with anyio.move_on_after(_PATIENCE) as waiting:
            await poll(taken, backoff=_AGAIN)
        if waiting.cancelled_caught:
            msg = f"{claim.home} has been locked for {_PATIENCE:g} s by a process that looks stuck"
            raise ConfigurationError(msg)
        yield claim.paths
    finally:
        await insist(lambda: anyio.to_thread.run_sync(claim.drop), seconds=_PATIENCE)


def holders(folder: Path) -> dict[str, str]:
    """Who has claimed names in a folder and is alive, by run: its process and host. Blocks.

    Empty where that cannot be told, for the folder is not ours to write to.
    """
    home = folder.absolute() / ".cloudburst"
    until = time.monotonic() + _PATIENCE
    with suppress(OSError):
        while home.is_dir() and time.monotonic() < until:
            # Alone, for a run that begins takes its own lock at once or not at all.
            with _alone(home) as alone:
                if alone:
                    return _held(home)
            time.sleep(_AGAIN.first)
    return {}


@contextmanager
def unclaimed(folder: Path, runs: Iterable[str]) -> Generator[list[str]]:
    """Those of the runs that nobody holds, and that nobody can begin while inside. Blocks.

    None when another run is looking at this folder just now. Raises ``OSError`` where the folder
    is not ours to write to.
    """
    home = folder.absolute() / ".cloudburst"
    with _alone(home) as alone, ExitStack() as stack:
        ours = list[str]()
        for run in runs if alone else ():
            lock = _lock(home / f"{run}.lock")
            with suppress(Timeout):
                lock.acquire(timeout=0)
                stack.callback(_let_go, lock)
                ours.append(run)
        yield ours


def _held(home: Path) -> dict[str, str]:
    found = dict[str, str]()
    for card in sorted(home.glob("*.json")):
        lock = _lock_of(card)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            found[card.stem] = _read(card)[1]
        else:
            lock.release()
    return found


class _Claim:
    """Taken and dropped in threads; once it was dropped it cannot be taken any more."""

    def __init__(
        self, folder: Path, names: Sequence[str], *, run: str, overwrite: bool, resume: bool
    ) -> None:
        folder = folder.absolute()
        self.home = folder / ".cloudburst"
        self.paths = {name: folder / f"{name}.mp4" for name in names}
        self._folder = folder
        self._card = self.home / f"{run}.json"
        self._lock = _lock_of(self._card)
        self._overwrite = overwrite
        self._resume = resume
        self._turn = threading.Lock()
        self._dropped = False

    def take(self) -> bool:
        """Claim the names; false while another run is looking at this folder."""
        with self._turn, _usable(self._folder):
            if self._dropped:
                return True
            try:
                self.home.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                if self.home.is_file():
                    raise
                return False  # it was there, and was tidied away while mkdir looked again
            with _alone(self.home) as alone:
                if alone:
                    self._refuse_claimed()
                    if not self._resume:
                        self._refuse_existing()
                    self._write_card()
                return alone

    def drop(self) -> None:
        """Give the names free, whether they were taken or not."""
        with self._turn:
            self._dropped = True
            if self._lock.is_locked:
                with suppress(OSError):  # a card that nobody holds is stale: it may stay
                    self._card.unlink()
                _let_go(self._lock)
                with suppress(OSError), _alone(self.home):
                    pass  # for what it tidies up; another run that is there will do it too

    def _refuse_claimed(self) -> None:
        ours = {folded(name): path for name, path in self.paths.items()}
        for card in sorted(self.home.glob("*.json")):
            lock = _lock_of(card)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                names, holder = _read(card)
                if card == self._card:
                    msg = f"{holder} works on run {card.stem}"
                    raise OutputClaimedError(msg, holder=holder) from None
                if shared := [ours[key] for name in names if (key := folded(name)) in ours]:
                    msg = f"{holder} is writing {_listed(shared)}"
                    raise OutputClaimedError(msg, paths=shared, holder=holder) from None
            else:  # its process is gone, and so is what it had not finished
                names, _ = _read(card)
                left = self._resume and card == self._card
                for name in () if left else names:
                    (self._folder / f"{name}.mp4.part").unlink(missing_ok=True)
                card.unlink(missing_ok=True)
                _let_go(lock)

    def _refuse_existing(self) -> None:
        there = [path for path in self.paths.values() if os.path.lexists(path)]
        if there and not self._overwrite:
            msg = f"there already: {_listed(there)}; overwrite=True replaces what is there"
            raise OutputExistsError(msg, paths=there)
        if folders := [path for path in there if path.is_dir()]:
            raise OutputExistsError(f"in the way, as folders: {_listed(folders)}", paths=folders)

    def _write_card(self) -> None:
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        card = {"pid": os.getpid(), "host": socket.gethostname(), "names": [*self.paths]}
        try:
            self._card.write_text(json.dumps(card), encoding="utf-8")
            self._lock.acquire(timeout=0)
        except BaseException:
            self._card.unlink(missing_ok=True)
            raise


@contextmanager
def _alone(home: Path) -> Generator[bool]:
    """Whether no other run looks into the folder meanwhile. Leaves no empty folder behind."""
    lock = _lock(home / "lock")
    # Not found, or there after all: another run tidied up just now, perhaps while FileLock looked.
    with suppress(Timeout, FileNotFoundError, FileExistsError):
        lock.acquire(timeout=0)
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked and any(home.glob("*.json")):
            lock.release()
        elif lock.is_locked:
            _let_go(lock)
            with suppress(OSError):  # another run may be making its claim
                home.rmdir()


def _lock_of(card: Path) -> BaseFileLock:
    return _lock(card.with_suffix(".lock"))


def _lock(path: Path) -> BaseFileLock:
    # Not thread-local: one thread takes it, another lets it go.
    return FileLock(path, thread_local=False)


def _let_go(lock: BaseFileLock) -> None:
    # Removed while it is still held, so that nobody locks a file that is about to vanish.
    with suppress(OSError):  # Windows removes it with the release, and not before
        Path(lock.lock_file).unlink()
    lock.release()


def _read(card: Path) -> tuple[list[str], str]:
    """The names on a card, and who wrote it; no names when the card is gone or half written."""
    try:
        data = json.loads(card.read_text(encoding="utf-8"))
        names = [checked_name(name) for name in data["names"]]
        return names, f"process {data['pid']} on {data['host']}"
    except (OSError, ValueError, LookupError, TypeError):
        return [], "an unknown process"


@contextmanager
def _usable(folder: Path) -> Generator[None]:
    try:
        yield
    except ConfigurationError:
        raise  # OutputExistsError is an OSError too
    except (OSError, ValueError) as exc:  # ValueError: a NUL within the path
        msg = f"videos cannot be written to {folder}: {getattr(exc, 'strerror', None) or exc}"
        raise ConfigurationError(msg) from exc


def _listed(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(map(str, paths[:5])) + more

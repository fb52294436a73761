"""What this machine knows of its runs, should nobody be left to stop their tasks.

``<state>/cloudburst/runs/<run>-<hex>.json`` is written before the first task of a run is asked
for. The ``.lock`` beside it is locked for as long as the process lives: the system lets go of it
however that ends, so anybody can tell a run that is left over from one that goes on.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from filelock import FileLock, Timeout
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from cloudburst.models.task import TaskId
from cloudburst.state import state_folder

logger = logging.getLogger(__name__)

PROBE = 0.2
"""Seconds to wait for a lock, for another may be looking whether it is free as well."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="ignore"))
class KnownRun:
    """A run that was begun on this machine and did not see all its tasks stopped."""

    run: str
    region: str
    cluster: str
    endpoint_url: str | None
    pid: int
    host: str
    started: float
    """Seconds since the epoch."""
    alive: bool = False
    """Its process lives, or may live on another machine that shares this folder."""
    path: Path


_KNOWN = TypeAdapter(KnownRun)


def runs_folder() -> Path:
    """Where the files are."""
    return state_folder() / "runs"


async def known_runs() -> tuple[KnownRun, ...]:
    """All of them, the oldest first."""
    return await to_thread.run_sync(_known_runs)


async def forget_run(run: KnownRun) -> None:
    """Remove the files of a run that is left over; one that is alive stays."""
    await to_thread.run_sync(_forget, run.path)


class HeldRuns:
    """The runs of one backend, and the tasks that each still has to stop."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self._files: dict[str, _File] = {}
        self._unsure: dict[str, str] = {}  # the run by the token of a launch that has no answer
        self._owed: dict[TaskId, str] = {}
        self._turn = anyio.Lock()

    async def launching(self, run: str, token: str) -> None:
        """A task of this run is about to be asked for."""
        self._unsure[token] = run
        await self.holding(run)

    async def holding(self, run: str) -> None:
        """There may be tasks of this run: written down, unless it is already."""
        if run not in self._files:
            async with self._turn:
                if run not in self._files:
                    file = _File(run, self._facts)
                    await _in_thread(file.hold)
                    self._files[run] = file

    async def taken_over(self, run: str, tasks: Iterable[TaskId]) -> None:
        """Tasks that another process has left are ours: nobody else need know of them."""
        self._owed |= {task: run for task in tasks if task not in self._owed}
        await _in_thread(lambda: _forget_dead(run, self._facts))
        await self._settle(run)

    def unsure(self, token: str) -> bool:
        """Whether a launch was asked for, and may have started a task that is not known."""
        return token in self._unsure

    def launched(self, token: str, task: TaskId) -> None:
        """The launch has an answer."""
        if run := self._unsure.pop(token, None):
            self._owed[task] = run

    async def refused(self, token: str) -> None:
        """Nothing was started by this launch."""
        if run := self._unsure.pop(token, None):
            await self._settle(run)

    async def given_back(self, task: TaskId) -> None:
        """Its stop was accepted, or it has stopped."""
        if run := self._owed.pop(task, None):
            await self._settle(run)

    async def close(self) -> None:
        """Let go of all files. Those of runs that may have left a task stay."""
        for run in tuple(self._files):
            if self._left(run):
                logger.warning("run %s may have left tasks: cloudburst cleanup stops them", run)
                await _in_thread(self._files.pop(run).let_go)
            else:
                await self._settle(run)

    def _left(self, run: str) -> bool:
        return run in self._owed.values() or run in self._unsure.values()

    async def _settle(self, run: str) -> None:
        """Remove the run's file, unless something of it is left, or begins meanwhile."""
        async with self._turn:
            if not self._left(run) and (file := self._files.pop(run, None)):
                await _in_thread(file.remove)


@asynccontextmanager
async def held_runs(
    *, region: str, cluster: str, endpoint_url: str | None
) -> AsyncGenerator[HeldRuns]:
    """Hold the runs of a backend, until it is left."""
    runs = HeldRuns({"region": region, "cluster": cluster, "endpoint_url": endpoint_url})
    try:
        yield runs
    finally:
        with anyio.CancelScope(shield=True):  # small files, on a disk that answers or fails
            await runs.close()


async def _in_thread(call: Any) -> None:
    try:
        await to_thread.run_sync(call)
    except OSError as exc:
        # A machine where nothing can be kept renders all the same.
        logger.warning("what this run leaves will not be known on this machine: %s", exc)


class _File:
    """One run's file and lock. Its methods block."""

    def __init__(self, run: str, facts: Mapping[str, Any]) -> None:
        name = "".join(char if char.isalnum() or char in "_-" else "_" for char in run)[:64]
        self._path = runs_folder() / f"{name}-{secrets.token_hex(3)}.json"
        self._facts = {
            "run": run,
            **facts,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": time.time(),
        }
        self._lock = _lock(self._path)

    def hold(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock.acquire(timeout=0)
        draft = self._path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(self._facts, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def let_go(self) -> None:
        self._lock.release()

    def remove(self) -> None:
        _remove(self._path, self._lock)


def _known_runs() -> tuple[KnownRun, ...]:
    found: list[KnownRun] = []
    here = socket.gethostname()
    for path in runs_folder().glob("*.json"):
        with suppress(OSError, ValueError, TypeError, AttributeError):  # gone, or nothing of ours
            facts: dict[str, Any] = from_json(path.read_bytes())
            alive = facts.get("host") != here or _is_held(path)
            found.append(_KNOWN.validate_python({**facts, "path": path, "alive": alive}))
    return tuple(sorted(found, key=lambda run: run.started))


def _forget_dead(run: str, facts: Mapping[str, Any]) -> None:
    """Remove what processes have left that are no more, of a run in one cluster."""
    for known in _known_runs():
        theirs = {name: getattr(known, name) for name in facts}
        if known.run == run and not known.alive and theirs == facts:
            _forget(known.path)


def _is_held(path: Path) -> bool:
    lock = _lock(path)
    try:
        lock.acquire(timeout=PROBE)
    except Timeout:
        return True
    lock.release()
    return False


def _forget(path: Path) -> None:
    lock = _lock(path)
    with suppress(Timeout):
        lock.acquire(timeout=PROBE)
        _remove(path, lock)


def _remove(path: Path, lock: FileLock) -> None:
    path.unlink(missing_ok=True)
    # While it is still held, so that nobody locks a file that is about to vanish.
    with suppress(OSError):  # Windows removes it with the release, and not before
        Path(lock.lock_file).unlink()
    lock.release()


def _lock(path: Path) -> FileLock:
    # Not thread-local: one thread takes it, another lets it go.
    return FileLock(path.with_suffix(".lock"), thread_local=False)

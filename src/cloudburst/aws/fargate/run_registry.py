"""Registry of runs on this machine, by which ``cloudburst cleanup`` finds tasks of ended processes.

The file ``<state>/cloudburst/runs/<run>-<hex>.json`` is written before the first task of a run is
requested. While the process of the run is running, it locks the ``.lock`` file beside that file.
The operating system releases the lock however the process ends, so that any other process can check
whether the run is active.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from filelock import BaseFileLock
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from cloudburst.files import replaced_file, state_folder
from cloudburst.locks import release_and_remove, take_lock, try_lock
from cloudburst.models.task import TaskId

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 0.2
"""Seconds to wait for a lock, which another process may hold for a moment to check the run. A run
whose lock is still held after that is active."""

ORPHAN_AGE = 3600.0
"""Seconds after which tasks of a killed run have ended by themselves, unless the settings allow a
longer lifetime."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="ignore"))
class RegisteredRun:
    """A run that was started on this machine and may still have tasks to stop."""

    run: str
    region: str
    cluster: str
    endpoint_url: str | None
    pid: int
    host: str
    started: float
    """Time of the registration, in seconds since the epoch."""
    active: bool = False
    """True if the process of the run is running, or cannot be checked because it was started on
    another machine that shares the registry's folder."""
    path: Path


_REGISTERED_RUN = TypeAdapter(RegisteredRun)


def runs_folder() -> Path:
    """Return the folder of the registry's files."""
    return state_folder() / "runs"


async def registered_runs() -> tuple[RegisteredRun, ...]:
    """Return all registered runs, the oldest first."""
    return await to_thread.run_sync(_read_runs)


async def remove_run(run: RegisteredRun) -> None:
    """Remove the files of a run from the registry, unless the run is active."""
    await to_thread.run_sync(_remove_inactive, run.path)


class RunRegistry:
    """Registry of the runs of one backend, and of the tasks that each run still has to stop."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self._files: dict[str, _RunFile] = {}
        self.open_requests: dict[str, str] = {}
        """Run by the token of a launch without an answer, which may have started a task."""
        self._tasks: dict[TaskId, str] = {}  # run by a task whose stop was not accepted
        self._lock = anyio.Lock()

    async def record_request(self, run: str, token: str) -> None:
        """Record that a task of a run is about to be requested."""
        self.open_requests[token] = run
        await self.register(run)

    async def register(self, run: str) -> None:
        """Write the file of a run that may have tasks, unless this process has written it."""
        if run not in self._files:
            async with self._lock:
                if run not in self._files:
                    file = _RunFile(run, self._facts)
                    await _in_thread(file.create)
                    self._files[run] = file

    async def record_adopted(self, run: str, tasks: Iterable[TaskId]) -> None:
        """Record that this process is now responsible for stopping tasks of a run.

        The files that earlier processes have left for the run are removed.
        """
        self._tasks |= {task: run for task in tasks if task not in self._tasks}
        await _in_thread(lambda: _remove_earlier(run, self._facts))
        await self._remove_if_done(run)

    def record_launch(self, token: str, task: TaskId) -> None:
        """Record the task that was started by the launch request with this client token."""
        if run := self.open_requests.pop(token, None):
            self._tasks[task] = run

    async def record_refusal(self, token: str) -> None:
        """Record that the launch with a token was refused, so that it has started no task."""
        if run := self.open_requests.pop(token, None):
            await self._remove_if_done(run)

    async def record_stop(self, task: TaskId) -> None:
        """Record that AWS accepted the stop of a task, or that the task has stopped."""
        if run := self._tasks.pop(task, None):
            await self._remove_if_done(run)

    @property
    def unstopped_tasks(self) -> int:
        """Number of tasks that are perhaps still running.

        These are launches that AWS has not answered, and tasks whose stop AWS has not accepted.
        """
        return len(self.open_requests) + len(self._tasks)

    async def close(self) -> None:
        """Release all locks, and keep only the files of runs whose tasks may still exist."""
        for run in tuple(self._files):
            if self._may_have_tasks(run):
                logger.warning("run %s may have left tasks: cloudburst cleanup stops them", run)
                await _in_thread(self._files.pop(run).release)
            else:
                await self._remove_if_done(run)

    def _may_have_tasks(self, run: str) -> bool:
        return run in self._tasks.values() or run in self.open_requests.values()

    async def _remove_if_done(self, run: str) -> None:
        async with self._lock:
            if not self._may_have_tasks(run) and (file := self._files.pop(run, None)):
                await _in_thread(file.remove)


# Registries of this process whose runs may have tasks.
_open_registries = set[RunRegistry]()


@asynccontextmanager
async def open_run_registry(
    *, region: str, cluster: str, endpoint_url: str | None
) -> AsyncGenerator[RunRegistry]:
    """Yield the registry of the runs of one backend."""
    registry = RunRegistry({"region": region, "cluster": cluster, "endpoint_url": endpoint_url})
    _open_registries.add(registry)
    try:
        yield registry
    finally:
        with anyio.CancelScope(shield=True):  # only small files on a local disk
            await registry.close()
        if not registry.unstopped_tasks:
            _open_registries.discard(registry)


def count_unstopped_tasks() -> int:
    """Return how many tasks of this process may still be running: their stop was not accepted."""
    return sum(registry.unstopped_tasks for registry in tuple(_open_registries))


def unstopped_tasks_message(tasks: int) -> str:
    """Return a message that tasks may still be running and how to stop them; empty for 0."""
    if not tasks:
        return ""
    count = "1 Fargate task" if tasks == 1 else f"up to {tasks} Fargate tasks"
    return f"Left before all was stopped: {count} may still run. Stop them: cloudburst cleanup"


async def orphans_message() -> str:
    """Return a message that runs which were killed in the last hour may have left tasks, or ""."""
    since = time.time() - ORPHAN_AGE
    runs = [run for run in await registered_runs() if not run.active and run.started > since]
    if not runs:
        return ""
    count = "1 killed run" if len(runs) == 1 else f"{len(runs)} killed runs"
    return f"Tasks of {count} may still run, and are billed. Stop them: cloudburst cleanup"


@atexit.register
def _print_unstopped_tasks() -> None:
    if (message := unstopped_tasks_message(count_unstopped_tasks())) and sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(message, file=sys.stderr)  # noqa: T201 - logging may be shut down already


async def _in_thread(call: Any) -> None:
    try:
        await to_thread.run_sync(call)
    except OSError as exc:
        # A machine without a writable state folder can still render.
        logger.warning("cloudburst cleanup will not find this run on this machine: %s", exc)


class _RunFile:
    """File and lock of one run in the registry. The methods block the thread."""

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
        self._lock: BaseFileLock | None = None

    def create(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = take_lock(self._path.with_suffix(".lock"))
        with replaced_file(self._path) as file:
            file.write(json.dumps(self._facts).encode())

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        if self._lock is not None:
            release_and_remove(self._lock)


def _read_runs() -> tuple[RegisteredRun, ...]:
    found: list[RegisteredRun] = []
    host = socket.gethostname()
    for path in runs_folder().glob("*.json"):
        with suppress(OSError, ValueError, TypeError, AttributeError):  # removed, or another file
            facts: dict[str, Any] = from_json(path.read_bytes())
            active = facts.get("host") != host or _is_locked(path)
            found.append(_REGISTERED_RUN.validate_python({**facts, "path": path, "active": active}))
    return tuple(sorted(found, key=lambda run: run.started))


def _remove_earlier(run: str, facts: Mapping[str, Any]) -> None:
    for registered in _read_runs():
        other_facts = {name: getattr(registered, name) for name in facts}
        if registered.run == run and not registered.active and other_facts == facts:
            _remove_inactive(registered.path)


def _is_locked(path: Path) -> bool:
    if (lock := try_lock(path.with_suffix(".lock"), seconds=LOCK_TIMEOUT)) is None:
        return True
    lock.release()
    return False


def _remove_inactive(path: Path) -> None:
    if (lock := try_lock(path.with_suffix(".lock"), seconds=LOCK_TIMEOUT)) is not None:
        path.unlink(missing_ok=True)
        release_and_remove(lock)

"""This machine as a backend: each worker is a process that serves on a loopback port."""

from __future__ import annotations

import errno
import importlib.util
import math
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import create_task_group, to_thread
from anyio.abc import TaskGroup

from cloudburst.adapters.http.files import Hashes
from cloudburst.adapters.http.native import NO_LIMITS, connect
from cloudburst.adapters.local.place import open_place
from cloudburst.adapters.local.worker import ProcessWorker
from cloudburst.engine.assumed import local_kind, local_pace
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.postmortem import LINES, page
from cloudburst.errors import CapacityError, LaunchError
from cloudburst.models.policy import Timeouts
from cloudburst.models.task import FoundTask, LaunchRequest, TaskId, TaskState, TaskStatus
from cloudburst.models.tier import encoder_slots
from cloudburst.ports import Backend
from cloudburst.service.cores import usable_cores

SERVICE = (sys.executable, "-m", "cloudburst.service")
EXTRA = ("cv2", "numpy", "starlette", "uvicorn")
"""What ``[local]`` installs and the service cannot start without."""
WORKERS = 4
"""Processes at most unless asked for: a few that encode several scenes each do as well as many,
and one that dies takes only its share along."""
STOP = 2.0
"""Seconds that the service may take from SIGTERM on: nobody waits for what it still does."""
REMEMBERED = 100
"""Workers that have ended and can still be described: more than anybody asks for."""
DAY = 86_400.0


_NO_ROOM = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


@asynccontextmanager
async def open_processes(
    *,
    workers: int | None,
    encoders: int | None,
    folder: Path | None,
    timeouts: Timeouts,
    command: Sequence[str] = SERVICE,
    needs: Sequence[str] = EXTRA,
) -> AsyncGenerator[Backend]:
    """The backend of `cloudburst.local`; when it is left, every process that it started has ended.

    Args:
        workers: As for `cloudburst.local`, like the next two.
        encoders: The same.
        folder: The same.
        timeouts: ``call``, ``silence`` and ``scene`` count here.
        command: What starts a worker.
        needs: Modules without which that is pointless.

    Raises:
        LaunchError: modules are missing.
    """
    cores, parent = await to_thread.run_sync(_look_around, needs, folder)
    workers, encoders = numbers(workers, encoders, cores=cores)
    settings = {"ENCODERS": encoders, "SCENE_SECONDS": timeouts.scene or DAY}
    with unwrapped():
        async with open_place(parent) as place, create_task_group() as tasks:
            launcher = ProcessLauncher(tasks, command, place, capacity=workers, settings=settings)
            try:
                yield Backend(
                    name="local",
                    launcher=launcher,
                    connect=partial(connect, timeouts=timeouts, hashes=Hashes()),
                    capacity=workers,
                    encoders=encoders,
                    cancels=True,
                    kind=local_kind(at_once=workers * encoders, cores=cores),
                    pace=local_pace(at_once=workers * encoders, cores=cores),
                )
            finally:
                launcher.close()


def numbers(workers: int | None, encoders: int | None, *, cores: int) -> tuple[int, int]:
    """Workers, and scenes that each encodes at once, where they are not said.

    Together they have at least so many slots as there should be: one too many costs little, one
    too few leaves a core idle.
    """
    slots = encoder_slots(cores)
    encoders = encoders or math.ceil(slots / (workers or min(slots, WORKERS)))
    return workers or min(math.ceil(slots / encoders), WORKERS), encoders


class ProcessLauncher:
    """Starts and stops workers, each kept by a task of the backend's group.

    A launch that is cancelled leaves its worker there: the same token finds it, ``stop`` ends it,
    and so does the end of the backend.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        command: Sequence[str],
        place: Path,
        *,
        capacity: int,
        settings: Mapping[str, object],
    ) -> None:
        self._tasks = tasks
        self._command = command
        self._place = place
        self._capacity = capacity
        self._settings = settings
        self._by_token: dict[str, ProcessWorker] = {}
        self._by_task: dict[TaskId, ProcessWorker] = {}
        self._requests: dict[TaskId, LaunchRequest] = {}
        self._closed = False

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a worker, or name the one that this very request started before.

        Raises:
            CapacityError: so many run as there may be, or the system has no room for a process.
            LaunchError: it cannot be started at all.
        """
        worker = self._by_token.get(request.token) or self._begin(request)
        await worker.started.wait()
        if worker.fault is None:
            return worker.task
        # Nothing was started: the same request may be made again.
        if self._by_token.get(request.token) is worker:
            del self._by_token[request.token]
        kind = CapacityError if worker.fault.errno in _NO_ROOM else LaunchError
        msg = f"{self._command[0]} cannot be started: {worker.fault.strerror}"
        raise kind(msg) from worker.fault

    async def describe(self, task: TaskId, *, anew: bool = False) -> TaskStatus:  # noqa: ARG002
        """What we know of a worker."""
        worker = self._by_task.get(task)
        if worker is None:
            return TaskStatus(state=TaskState.STOPPED, reason="no worker of this backend")
        return worker.status

    async def stop(self, task: TaskId, *, reason: str) -> None:
        """Ask a worker to end, and do not wait for it."""
        if worker := self._by_task.get(task):
            worker.stop(reason)

    async def find(self, run: str) -> Sequence[FoundTask]:  # noqa: ARG002
        """None: workers end with the process that has started them."""
        return ()

    async def post_mortem(self, task: TaskId) -> str | None:
        """What a worker's log says; it is there as long as the backend."""
        if (worker := self._by_task.get(task)) is None:
            return None
        key = self._requests[task].secrets.key
        lines = await to_thread.run_sync(worker.last_lines, LINES)
        facts = {"reason": worker.status.reason.partition("\n")[0], "log": worker.log}
        text = page(task, failure=worker.failure, facts=facts, lines=lines)
        return text.replace(key, "***")

    def close(self) -> None:
        """Start nothing any more, and ask all workers to end."""
        self._closed = True
        for worker in self._by_task.values():
            worker.stop("the backend was closed")

    def _begin(self, request: LaunchRequest) -> ProcessWorker:
        if self._closed:
            msg = "the backend was closed"
            raise LaunchError(msg)
        if sum(worker.lives for worker in self._by_task.values()) >= self._capacity:
            msg = f"{self._capacity} workers run on this machine; there may be no more"
            raise CapacityError(msg)
        task = TaskId(f"local-{secrets.token_hex(4)}")
        worker = ProcessWorker(task, self._command, self._place / f"{task}.log")
        self._by_token[request.token] = self._by_task[task] = worker
        self._requests[task] = request
        self._forget()
        self._tasks.start_soon(worker.keep, self._environment(request.secrets.key), name=task)
        return worker

    def _forget(self) -> None:
        """A client may live for weeks: of the workers that have ended the latest are known."""
        ended = [worker for worker in self._by_task.values() if worker.ended]
        for worker in ended[:-REMEMBERED]:
            del self._by_task[worker.task]
            self._by_token.pop(self._requests.pop(worker.task).token, None)

    def _environment(self, key: str) -> dict[str, str]:
        theirs = {k: v for k, v in os.environ.items() if not k.startswith("CLOUDBURST_")}
        ours = {
            "HOST": "127.0.0.1",
            "PORT": 0,
            "PARENT_FD": 0,  # its standard input
            "FOLDER": self._place,
            "STOP_SECONDS": STOP,
            **NO_LIMITS,
            **self._settings,
        }
        return {
            **theirs,
            **{f"CLOUDBURST_{name}": str(value) for name, value in ours.items()},
            "AUTHENTICATION_KEY": key,
            "PYTHONSAFEPATH": "1",  # what lies in the current folder is not its to import
        }


def _look_around(needs: Sequence[str], folder: Path | None) -> tuple[int, Path]:
    """The cores that we may use, and the folder in which ours is made."""
    if missing := [name for name in needs if importlib.util.find_spec(name) is None]:
        msg = (
            f"this machine cannot render: {', '.join(missing)} missing; "
            "pip install 'cloudburst-sdk[local]'"
        )
        raise LaunchError(msg)
    return usable_cores(), (folder or Path(tempfile.gettempdir())).absolute()

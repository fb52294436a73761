"""Local backend: each worker is a process on this machine that listens on a loopback port."""

from __future__ import annotations

import errno
import math
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from anyio import create_task_group, to_thread
from anyio.abc import TaskGroup

from cloudburst.concurrency import collapse_single
from cloudburst.errors import CapacityError, ConfigurationError, LaunchError
from cloudburst.models.limits import Timeouts
from cloudburst.models.performance import local_kind, local_performance
from cloudburst.models.post_mortem_page import MAX_OUTPUT_LINES, build_page
from cloudburst.models.task import FoundTask, LaunchRequest, TaskId, TaskState, TaskStatus
from cloudburst.models.tier import encoder_slots
from cloudburst.ports.backend import Backend
from cloudburst.renderer.fonts import check_font_package
from cloudburst.service.cpu import usable_cores
from cloudburst.service.subprocesses import child_environment
from cloudburst.workers.http.native import FEATURES, connect, service_limits
from cloudburst.workers.local import MODULES, missing_requirements
from cloudburst.workers.local.shared_folder import open_shared_folder
from cloudburst.workers.local.worker_process import WorkerProcess

SERVICE_COMMAND = (sys.executable, "-m", "cloudburst.service")  # command that starts a worker
DEFAULT_MAX_WORKERS = 4  # maximum number of worker processes if the caller does not set it
MAX_ENCODERS = 256  # maximum number of encoder slots of a worker: see ``ServiceSettings.encoders``
# Seconds that a worker may take to stop after SIGTERM. The time is short, because the videos of
# the worker's current jobs are no longer needed.
SERVICE_STOP_TIMEOUT = 2.0
MAX_ENDED_WORKERS = 100  # number of ended workers whose status is kept, more than a client asks for
DAY = 86_400.0
# Environment variables that name the certificate authorities to trust. Workers fetch files on web
# servers and must trust the same servers as the client, which has checked these files.
CERTIFICATE_VARIABLES = ("SSL_CERT_DIR", "SSL_CERT_FILE")


_OUT_OF_RESOURCES = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


@asynccontextmanager
async def open_local_backend(
    *,
    workers: int | None,
    encoders: int | None,
    folder: Path | None,
    timeouts: Timeouts,
    command: Sequence[str] = SERVICE_COMMAND,
    required_modules: Sequence[str] = MODULES,
) -> AsyncGenerator[Backend]:
    """Open the local backend; when it is closed, wait for the end of its worker processes."""
    cores, parent = await to_thread.run_sync(_inspect_machine, required_modules, folder)
    workers, encoders = choose_worker_counts(workers, encoders, cores=cores)
    settings = {"ENCODERS": encoders, "SCENE_SECONDS": timeouts.scene or DAY}
    slots = workers * encoders
    with collapse_single():
        async with open_shared_folder(parent) as shared_folder, create_task_group() as tasks:
            launcher = ProcessLauncher(
                tasks, command, shared_folder, capacity=workers, settings=settings
            )
            try:
                yield Backend(
                    name="local",
                    launcher=launcher,
                    connect=partial(connect, timeouts=timeouts),
                    place="machine",
                    capacity=workers,
                    encoder_slots=encoders,
                    kind=local_kind(encoder_slots=slots, cores=cores),
                    performance=local_performance(encoder_slots=slots, cores=cores),
                    **FEATURES,
                )
            finally:
                launcher.close()


def choose_worker_counts(
    workers: int | None, encoders: int | None, *, cores: int
) -> tuple[int, int]:
    """Return the number of workers and the encoder slots of each; choose those that are ``None``.

    By default there is one worker with a slot for each core, because only slots of the same worker
    share the encoding of a long scene. Each further process would also import the service.
    Scenes are rendered in processes of their own, so a crash of a render does not end the worker.

    If only ``workers`` is given, all of them together have a slot for each core: a surplus slot
    costs little, a missing slot leaves a core idle.
    """
    slots = encoder_slots(cores)
    if workers is None:
        workers = min(math.ceil(slots / (encoders or MAX_ENCODERS)), DEFAULT_MAX_WORKERS)
    return workers, encoders or math.ceil(slots / workers)


@dataclass(eq=False, slots=True, repr=False)
class ProcessLauncher:
    """Launcher of worker processes on this machine.

    If a launch is cancelled, its worker keeps running. A launch with the same token returns that
    worker; `stop`, or the end of the backend, stops it.
    """

    _tasks: TaskGroup
    _command: Sequence[str]
    _folder: Path
    capacity: int
    settings: Mapping[str, object]
    _by_token: dict[str, WorkerProcess] = field(default_factory=dict[str, WorkerProcess])
    _by_task: dict[TaskId, WorkerProcess] = field(default_factory=dict[TaskId, WorkerProcess])
    _requests: dict[TaskId, LaunchRequest] = field(default_factory=dict[TaskId, LaunchRequest])
    _closed: bool = False

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a worker, or return the worker that the same request has started before."""
        worker = self._by_token.get(request.token) or self._start_worker(request)
        await worker.started.wait()
        if worker.start_error is None:
            return worker.task
        # Nothing was started, so the same request may be made again.
        if self._by_token.get(request.token) is worker:
            del self._by_token[request.token]
        kind = CapacityError if worker.start_error.errno in _OUT_OF_RESOURCES else LaunchError
        msg = f"{self._command[0]} cannot be started: {worker.start_error.strerror}"
        raise kind(msg) from worker.start_error

    async def describe(
        self,
        task: TaskId,
        *,
        refresh: bool = False,  # noqa: ARG002
    ) -> TaskStatus:
        """Return the status of a worker; an unknown worker counts as stopped."""
        worker = self._by_task.get(task)
        if worker is None:
            return TaskStatus(state=TaskState.STOPPED, reason="not a worker of this backend")
        return worker.status

    async def stop(self, task: TaskId, *, reason: str) -> None:
        """Ask a worker to stop, without waiting until it has stopped."""
        if worker := self._by_task.get(task):
            worker.stop(reason)

    async def find(self, run: str) -> Sequence[FoundTask]:  # noqa: ARG002
        """Return an empty sequence, because workers end with the process that started them."""
        return ()

    async def post_mortem(self, task: TaskId) -> str | None:
        """Return the last log lines of a worker and why it ended; ``None`` for an unknown worker.

        The log exists as long as the backend is open.
        """
        if (worker := self._by_task.get(task)) is None:
            return None
        key = self._requests[task].secrets.key
        lines = await to_thread.run_sync(worker.last_lines, MAX_OUTPUT_LINES)
        facts = {"reason": worker.status.reason.partition("\n")[0], "log": worker.log}
        text = build_page(task, failure=worker.failure, facts=facts, lines=lines)
        return text.replace(key, "***")

    def close(self) -> None:
        """Ask all workers to stop, and refuse to start further workers."""
        self._closed = True
        for worker in self._by_task.values():
            worker.stop("the backend was closed")

    def _start_worker(self, request: LaunchRequest) -> WorkerProcess:
        if self._closed:
            msg = "the backend was closed"
            raise LaunchError(msg)
        if sum(worker.active for worker in self._by_task.values()) >= self.capacity:
            msg = f"{self.capacity} workers run on this machine, which is the maximum"
            raise CapacityError(msg)
        task = TaskId(f"local-{secrets.token_hex(4)}")
        worker = WorkerProcess(task, self._command, self._folder / f"{task}.log")
        self._by_token[request.token] = self._by_task[task] = worker
        self._requests[task] = request
        self._forget_oldest()
        self._tasks.start_soon(worker.run, self._environment(request), name=task)
        return worker

    def _forget_oldest(self) -> None:
        ended = [worker for worker in self._by_task.values() if worker.ended]
        for worker in ended[:-MAX_ENDED_WORKERS]:
            del self._by_task[worker.task]
            self._by_token.pop(self._requests.pop(worker.task).token, None)

    def _environment(self, request: LaunchRequest) -> dict[str, str]:
        settings = {
            "HOST": "127.0.0.1",
            "PORT": 0,
            "PARENT_FD": 0,  # standard input
            "FOLDER": self._folder,
            "STOP_SECONDS": SERVICE_STOP_TIMEOUT,
            "TEST_RENDER": False,  # it would cost a third of a short scene
            **service_limits(request.spec.limits),
            **self.settings,
        }
        return {
            **child_environment(),  # no credentials: a worker's processes decode untrusted files
            **{name: os.environ[name] for name in CERTIFICATE_VARIABLES if name in os.environ},
            **{f"CLOUDBURST_{name}": str(value) for name, value in settings.items()},
            "AUTHENTICATION_KEY": request.secrets.key,
            "PYTHONSAFEPATH": "1",  # never import modules from the current folder
        }


def _inspect_machine(required_modules: Sequence[str], folder: Path | None) -> tuple[int, Path]:
    if missing := missing_requirements(*required_modules):
        raise ConfigurationError(f"this machine cannot render: {missing}")
    check_font_package()
    return usable_cores(), (folder or Path(tempfile.gettempdir())).absolute()

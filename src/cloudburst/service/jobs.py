"""Jobs: from a folder with inputs to a video, in turn, each in processes of its own."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import anyio
from anyio import CancelScope, current_time, move_on_after, to_thread
from anyio.abc import TaskGroup
from pydantic import ValidationError

from cloudburst.service.children import Children, Ended
from cloudburst.service.config import ServiceSettings
from cloudburst.service.job import FAULT_EXIT, VIDEO, ChildLine, Done, InputFault

log = logging.getLogger("cloudburst.service")

RENDER = (sys.executable, "-m", "cloudburst.service.child")
"""The command that renders a job's folder, which is its last argument."""

REASON_CHARS = 300
"""Of a failed child's last line, which is the error when it was Python that ended it."""

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class QueueFullError(Exception):
    """So many jobs wait that another would wait too long."""


class StoppingError(Exception):
    """The service is about to end."""


class Outcome(NamedTuple):
    """How a job ends."""

    state: State
    error: str | None = None
    done: Done | None = None
    fault: InputFault | None = None


class Job:
    """One video in the making, and what is known of it."""

    def __init__(self, ident: str, folder: Path, *, attachment: str | None = None) -> None:
        self.id = ident
        self.folder = folder
        self.attachment = attachment
        """Under which name onestep hands it out; ``None`` for the jobs of native."""
        self.state: State = "queued"
        self.progress = 0.0
        self.done: Done | None = None
        self.fault: InputFault | None = None
        self.error: str | None = None
        self.touched = current_time()
        """When it ended or was last asked for, on the loop's clock."""
        self.delivered = False
        """Whether its video was sent to its last byte."""
        self.ended = anyio.Event()
        self.scope = CancelScope()
        self.ending: Literal["cancelled", "interrupted"] = "interrupted"
        """What a cancel of the scope means."""
        self._changed = anyio.Event()

    @property
    def video(self) -> Path:
        """Where its video lies when it is done."""
        return self.folder / VIDEO

    def snapshot(self) -> dict[str, Any]:
        """The job as JSON has it."""
        facts = self.fault.model_dump() if self.fault else {}
        blank = {"field": None, "found": None, "expected": None}
        return {
            "id": self.id,
            "state": self.state,
            "progress": round(self.progress, 4),
            "done": self.done.model_dump() if self.done else None,
            "error": {"error": self.error, **blank, **facts} if self.error else None,
        }

    @property
    def changed(self) -> anyio.Event:
        """Set at the next change of state or progress: take it before you look at the state."""
        return self._changed

    def become(self, state: State) -> None:
        """Enter a state."""
        self.state = state
        self._tell()

    def advance(self, progress: float) -> None:
        """Take a share of the work as done; it never goes down."""
        if progress > self.progress:
            self.progress = progress
            self._tell()

    def end(self, outcome: Outcome) -> None:
        """Enter a final state."""
        self.done, self.fault, self.error = outcome.done, outcome.fault, outcome.error
        self.progress = 1.0 if outcome.done else self.progress
        self.touched = current_time()
        self.ended.set()
        self.become(outcome.state)

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class Jobs:
    """All jobs of this service. Rendering is a task of its group: no request owns it."""

    def __init__(
        self,
        tasks: TaskGroup,
        children: Children,
        settings: ServiceSettings,
        *,
        render: Sequence[str] = RENDER,
    ) -> None:
        self._tasks = tasks
        self._children = children
        self._settings = settings
        self._render = render
        self._encoders = anyio.Semaphore(settings.encoders)
        self._jobs: dict[str, Job] = {}
        self._stopping = False
        self.last_end = current_time()
        """When a job ended, on the loop's clock."""

    def get(self, ident: str) -> Job | None:
        """A job by its id; asking keeps it."""
        if job := self.find(ident):
            job.touched = current_time()
        return job

    def find(self, ident: str) -> Job | None:
        """A job by its id; asking changes nothing."""
        return self._jobs.get(ident)

    def all(self) -> list[Job]:
        """Every job that is known, oldest first."""
        return list(self._jobs.values())

    def active(self) -> list[Job]:
        """Those that wait or run."""
        return [job for job in self._jobs.values() if not job.ended.is_set()]

    def check_room(self) -> None:
        """Whether another job would be taken.

        Raises:
            QueueFullError, StoppingError: it would not.
        """
        if self._stopping:
            raise StoppingError
        if len(self.active()) >= self._settings.encoders + self._settings.waiting:
            raise QueueFullError

    def submit(self, job: Job) -> None:
        """Put a job with a complete folder in the queue. The folder is ours from here on.

        Raises:
            QueueFullError, StoppingError: the folder stays the caller's.
        """
        self.check_room()
        self._jobs[job.id] = job
        self._tasks.start_soon(self._keep, job)

    async def cancel(self, job: Job) -> None:
        """Return when nothing of the job runs any more."""
        await self._stop([job], "cancelled")

    async def drop(self, unwanted: Callable[[Job], bool]) -> None:
        """Cancel and forget jobs; return when nothing of them runs or is left."""
        jobs = [job for job in self.all() if unwanted(job)]
        await self._stop([job for job in jobs if not job.ended.is_set()], "cancelled")
        for job in jobs:
            await self.forget(job)

    async def interrupt(self, *, queued_only: bool = False) -> None:
        """Take no further jobs, and stop those that wait or also those that run."""
        self._stopping = True
        await self._stop(
            [job for job in self.active() if not queued_only or job.state == "queued"],
            "interrupted",
        )

    async def forget(self, job: Job) -> None:
        """Delete a job that has ended, with its video."""
        self._jobs.pop(job.id, None)
        await to_thread.run_sync(_clear, job.folder, False)

    async def expire(self, seconds: float) -> int:
        """Forget ended jobs that nobody asked for in so many seconds; return how many."""
        limit = current_time() - seconds
        old = [job for job in self.all() if job.ended.is_set() and job.touched < limit]
        for job in old:
            await self.forget(job)
        return len(old)

    async def _stop(self, jobs: Sequence[Job], ending: Literal["cancelled", "interrupted"]) -> None:
        for job in jobs:
            job.ending = ending
            job.scope.cancel()
        for job in jobs:
            await job.ended.wait()

    async def _keep(self, job: Job) -> None:
        """See a job through; it always reaches a final state, and then only a video is left."""
        outcome: Outcome | None = None
        try:
            with job.scope:
                async with self._encoders:
                    job.become("running")
                    outcome = await self._run(job)
        except Exception:  # one job's trouble must not end the others
            log.exception("job %s failed", job.id)
            outcome = Outcome("failed", "the service failed; its log says why")
        finally:
            outcome = outcome or Outcome(job.ending)
            with CancelScope(shield=True):
                await to_thread.run_sync(_clear, job.folder, outcome.state == "done")
            job.end(outcome)
            self.last_end = current_time()

    async def _run(self, job: Job) -> Outcome:
        last: list[ChildLine] = []

        def hear(line: bytes) -> None:
            try:
                said = ChildLine.model_validate_json(line)
            except ValidationError:
                log.warning("job %s: its child said %r", job.id, line[:200])
                return
            if said.progress is not None:
                job.advance(said.progress)
            else:
                last[:] = [said]

        limit = self._settings.scene_seconds
        ended = None
        with move_on_after(limit):
            ended = await self._children.run([*self._render, str(job.folder)], hear)
        if ended is None:
            return Outcome("failed", f"the render was not done within {limit:g} s")
        return await self._judge(job, ended, last[0] if last else ChildLine())

    async def _judge(self, job: Job, ended: Ended, said: ChildLine) -> Outcome:
        if said.done and ended.code == 0 and await _size(job.video) == said.done.size:
            return Outcome("done", done=said.done)
        if said.fault and ended.code == FAULT_EXIT:
            fault = said.fault
            text = f"{fault.field}: {fault.found}; expected {fault.expected}"
            return Outcome("failed", text, fault=fault)
        log.error("job %s: its child ended with %d: %s", job.id, ended.code, ended.errors)
        reason = ended.errors.rpartition("\n")[2][:REASON_CHARS] or "no word of it"
        return Outcome("failed", f"the render failed (exit {ended.code}: {reason})")


async def _size(path: Path) -> int | None:
    def look() -> int | None:
        return path.stat().st_size if path.is_file() else None

    return await to_thread.run_sync(look)


def _clear(folder: Path, keep_video: bool) -> None:
    """Delete the folder, or all of it but the video."""
    if not keep_video:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != VIDEO:
            with suppress(OSError):
                path.unlink()

"""Jobs of the render service: their queue, render processes and results."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import anyio
from anyio import CancelScope, current_time, to_thread
from anyio.abc import TaskGroup
from pydantic import ValidationError

from cloudburst.renderer.job import (
    COVER_FILE,
    INPUT_FAULT_EXIT_CODE,
    SUBTITLES_FILE,
    VIDEO_FILE,
    InputFault,
    RenderedVideo,
)
from cloudburst.renderer.process_limits import fault_from_exit
from cloudburst.service.config import ServiceSettings
from cloudburst.service.encoder_slots import GOP_COMMAND, EncoderSlots, GopProcesses
from cloudburst.service.http_errors import RejectedRequestError
from cloudburst.service.job_output import RESULT_FILES, ChildLine, clear, has_results
from cloudburst.service.subprocesses import ExitedProcess, Subprocesses

log = logging.getLogger("cloudburst.service")

# Command that renders a job; the job's folder is appended as the last argument.
RENDER_COMMAND = (sys.executable, "-m", "cloudburst.renderer.render_process")

# Command that makes a film; the job's folder is appended as the last argument.
FILM_COMMAND = (sys.executable, "-m", "cloudburst.film.film_job")

# Maximum number of characters reported from the last line of a render process's error output.
# After a Python exception, that line is the message of the exception.
MAX_REASON_CHARS = 300

JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class JobOutcome(NamedTuple):
    """Final state of a job and its result or error."""

    state: JobState
    error: str | None = None
    done: RenderedVideo | None = None
    fault: InputFault | None = None


class ServiceJob:
    """Job: one scene or film at the render service, with its state and result."""

    def __init__(self, ident: str, folder: Path, *, is_film: bool = False) -> None:
        self.id = ident
        self.folder = folder
        self.is_film = is_film
        """True if the job makes a film of finished videos."""
        self.name = "film" if is_film else ident
        """Name for log messages: that of the scene."""
        self.state: JobState = "queued"
        self.progress = 0.0
        self.done: RenderedVideo | None = None
        self.fault: InputFault | None = None
        self.error: str | None = None
        self.shared_seconds = 0.0
        """Seconds for which other encoder slots have encoded GOPs of the job."""
        self.touched = current_time()
        """Time at which the job ended or was last requested, in seconds of the event loop's
        clock."""
        self.delivered = False
        """True after the whole video was sent."""
        self.begun = anyio.Event()
        """Event that is set when the job has an encoder slot, or has ended without one."""
        self.ended = anyio.Event()
        self.scope = CancelScope()
        self.stop_state: Literal["cancelled", "interrupted"] = "interrupted"
        """State that the job enters if its cancel scope is cancelled."""
        self.changed = anyio.Event()
        """Event that is set at the next change of state or progress. Get it before reading the
        state, so that no change is missed."""

    @property
    def video(self) -> Path:
        """Path of the finished video."""
        return self.folder / VIDEO_FILE

    @property
    def cover(self) -> Path:
        """Path of the cover of the finished video."""
        return self.folder / COVER_FILE

    @property
    def subtitles(self) -> Path:
        """Path of the subtitles of the finished film."""
        return self.folder / SUBTITLES_FILE

    def snapshot(self) -> dict[str, Any]:
        """Return the job's present state as JSON values."""
        facts = asdict(self.fault) if self.fault else {}
        blank = {"field": None, "found": None, "expected": None}
        return {
            "id": self.id,
            "state": self.state,
            "progress": round(self.progress, 4),
            "done": asdict(self.done) if self.done else None,
            "shared_seconds": round(self.shared_seconds, 3),
            "error": {"error": self.error, **blank, **facts} if self.error else None,
        }

    def enter_state(self, state: JobState) -> None:
        """Change the state and wake everything that waits for a change."""
        self.state = state
        self.begun.set()
        self._notify()

    def set_progress(self, progress: float) -> bool:
        """Set the progress if it is higher than before; return whether it has changed."""
        if progress <= self.progress:
            return False
        self.progress = progress
        self._notify()
        return True

    def add_shared_seconds(self, seconds: float) -> None:
        """Add the seconds for which another encoder slot has encoded GOPs of the job."""
        self.shared_seconds += seconds

    def end(self, outcome: JobOutcome) -> None:
        """Enter a final state, with the result or error of the job."""
        self.done, self.fault, self.error = outcome.done, outcome.fault, outcome.error
        self.progress = 1.0 if outcome.done else self.progress
        self.touched = current_time()
        self.ended.set()
        self.enter_state(outcome.state)

    def _notify(self) -> None:
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


class ServiceJobs:
    """Registry of all jobs of the service.

    Renders run in the service's task group, so they are independent of the request that started
    them.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        subprocesses: Subprocesses,
        settings: ServiceSettings,
        *,
        render: Sequence[str] = RENDER_COMMAND,
        gop_command: Sequence[str] = GOP_COMMAND,
        on_broken_render: Callable[[], None] = lambda: None,
    ) -> None:
        self._tasks = tasks
        self._subprocesses = subprocesses
        self._settings = settings
        self._render = render
        self._on_broken_render = on_broken_render
        self._slots = EncoderSlots(settings.encoders)
        self._gop_processes = GopProcesses(self._slots, subprocesses, gop_command)
        self._jobs: dict[str, ServiceJob] = {}
        self._stopping = False
        self.last_end = current_time()
        """Time at which the last job ended, in seconds of the event loop's clock; the start of the
        service if none has ended."""

    def get(self, ident: str) -> ServiceJob | None:
        """Return a job and restart its expiry time; ``None`` if no job has this id."""
        if job := self.find(ident):
            job.touched = current_time()
        return job

    def find(self, ident: str) -> ServiceJob | None:
        """Return a job, but do not restart its expiry time; ``None`` if no job has this id."""
        return self._jobs.get(ident)

    def all(self) -> list[ServiceJob]:
        """Return all jobs, oldest first."""
        return list(self._jobs.values())

    def active(self) -> list[ServiceJob]:
        """Return the jobs that are waiting or running."""
        return [job for job in self._jobs.values() if not job.ended.is_set()]

    def check_accepts(self) -> None:
        """Raise status 429 if the queue is full, 503 if the service is stopping."""
        if self._stopping:
            raise RejectedRequestError(503, "the service is stopping")
        if len(self.active()) >= self._settings.encoders + self._settings.waiting:
            raise RejectedRequestError(429, "too many jobs are waiting; try again later")

    def submit(self, job: ServiceJob) -> None:
        """Add a job with a complete folder to the queue, which owns the folder from then on.

        Raises the same as `check_accepts`; the caller then still owns the folder.
        """
        self.check_accepts()
        self._jobs[job.id] = job
        self._tasks.start_soon(self._run_to_end, job)

    async def cancel(self, job: ServiceJob) -> None:
        """Cancel a job, and wait until all of its processes have ended."""
        await self._stop([job], "cancelled")

    async def delete_all(self) -> None:
        """Cancel and delete all jobs.

        When this returns, no process and no file of these jobs is left.
        """
        jobs = self.all()
        await self._stop(self.active(), "cancelled")
        for job in jobs:
            await self.delete(job)

    async def interrupt(self, *, queued_only: bool = False) -> None:
        """Accept no more jobs, and interrupt all unfinished jobs.

        With ``queued_only``, jobs that are already running continue.
        """
        self._stopping = True
        await self._stop(
            [job for job in self.active() if not queued_only or job.state == "queued"],
            "interrupted",
        )

    async def delete(self, job: ServiceJob) -> None:
        """Delete a job that has ended, with its video."""
        if self._jobs.get(job.id) is job:  # another request may have deleted it already
            del self._jobs[job.id]
        await to_thread.run_sync(clear, job.folder)

    async def expire(self, seconds: float) -> None:
        """Delete ended jobs that were not requested for ``seconds``."""
        limit = current_time() - seconds
        for job in self.all():
            if job.ended.is_set() and job.touched < limit:
                await self.delete(job)

    async def _stop(
        self, jobs: Sequence[ServiceJob], ending: Literal["cancelled", "interrupted"]
    ) -> None:
        for job in jobs:
            job.stop_state = ending
            job.scope.cancel()
        for job in jobs:
            await job.ended.wait()

    async def _run_to_end(self, job: ServiceJob) -> None:
        """Run a job until a final state; afterwards its folder holds at most video and cover."""
        outcome: JobOutcome | None = None
        began = current_time()
        try:
            with job.scope:
                async with self._slots.for_job():
                    began = current_time()
                    job.enter_state("running")
                    outcome = await self._run(job)
        except Exception:  # an error in one job must not end the others
            log.exception("job %s failed", job.id)
            outcome = JobOutcome("failed", "the service failed; see its log")
        finally:
            outcome = outcome or JobOutcome(job.stop_state)
            with CancelScope(shield=True):
                await to_thread.run_sync(
                    clear, job.folder, RESULT_FILES if outcome.state == "done" else ()
                )
            job.end(outcome)
            self.last_end = current_time()
            details = f"{outcome.done.size} bytes" if outcome.done else outcome.error or ""
            log.info("%r: %s, %.1f s, %s", job.name, job.state, self.last_end - began, details)

    async def _run(self, job: ServiceJob) -> JobOutcome:
        last: list[ChildLine] = []
        limit = self._settings.scene_seconds
        timeout = CancelScope(deadline=current_time() + limit)
        reading = ""
        shared = anyio.Event()

        def on_line(line: bytes) -> None:
            nonlocal reading
            try:
                output = ChildLine.model_validate_json(line)
            except ValidationError:
                log.warning(
                    "job %s: unexpected output of its render process: %r", job.id, line[:200]
                )
                return
            if output.progress is not None:
                if job.set_progress(output.progress):
                    timeout.deadline = current_time() + limit
            elif output.reading is not None:
                reading = output.reading
            elif output.gops is not None:
                if not shared.is_set():
                    shared.set()
                    sharing.start_soon(
                        self._gop_processes.run, job.folder, output.gops, job.add_shared_seconds
                    )
            else:
                last[:] = [output]

        ended = None
        async with anyio.create_task_group() as sharing:
            with timeout:
                command = FILM_COMMAND if job.is_film else self._render
                ended = await self._subprocesses.run([*command, str(job.folder)], on_line)
            sharing.cancel_scope.cancel()
        if ended is None:
            return JobOutcome("failed", f"the render made no progress for {limit:g} s")
        output = last[0] if last else ChildLine(fault=fault_from_exit(reading, ended.code))
        return await self._judge(job, ended, output)

    async def _judge(self, job: ServiceJob, ended: ExitedProcess, output: ChildLine) -> JobOutcome:
        if output.done and ended.code == 0 and await has_results(job.folder, output.done):
            return JobOutcome("done", done=output.done)
        if output.fault and (ended.code == INPUT_FAULT_EXIT_CODE or ended.code < 0):
            return JobOutcome("failed", str(output.fault), fault=output.fault)
        log.error("job %s: its render process exited with %d: %s", job.id, ended.code, ended.errors)
        self._on_broken_render()
        reason = ended.errors.rpartition("\n")[2][:MAX_REASON_CHARS] or "no error output"
        return JobOutcome("failed", f"the render failed (exit {ended.code}: {reason})")

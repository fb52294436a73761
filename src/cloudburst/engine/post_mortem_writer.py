"""Post-mortems: pages about failed tasks, written before the backend forgets the tasks."""

from __future__ import annotations

import logging

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.worker_record import WorkerRecord
from cloudburst.errors import ClosedError, WorkerStoppedError
from cloudburst.models.failures import is_spot_interruption
from cloudburst.models.post_mortem_page import file_name, printable
from cloudburst.models.task import TaskId
from cloudburst.ports.backend import Backend
from cloudburst.ports.journal import Journal
from cloudburst.text import short_task

logger = logging.getLogger(__name__)

POST_MORTEM_TIMEOUT = 15.0
"""Timeout of one post-mortem, in seconds. It takes a few requests to the backend, each of which may
be repeated."""
POST_MORTEM_GRACE = 5.0
"""Longest time for which a post-mortem delays the end of a run, in seconds from the start of the
post-mortem."""


class PostMortems:
    """Writer of post-mortems, each in a background task.

    A post-mortem never delays the stop of a task and never makes a run fail. It delays the end of a
    run by `POST_MORTEM_GRACE` at most.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._open: dict[WorkerRecord, float] = {}  # by record: time of its start
        self._changed = anyio.Event()

    def start(self, backend: Backend, record: WorkerRecord, journal: Journal | None) -> None:
        """Start the post-mortem of a worker, if it failed and its run has a journal."""
        if journal is None or not (record.task and has_failed(record)):
            return
        self._open[record] = anyio.current_time()
        name = f"cloudburst post-mortem of {record.task}"
        self._tasks.start_soon(self._write, backend, record, journal, name=name)

    async def done(self, run: str) -> None:
        """Wait until the post-mortems of a run are written.

        The wait ends `POST_MORTEM_GRACE` after the start of the last one.
        """
        while started := [since for record, since in self._open.items() if record.run == run]:
            left = max(started) + POST_MORTEM_GRACE - anyio.current_time()
            if left <= 0:
                return
            with anyio.move_on_after(left):
                await self._changed.wait()

    async def _write(self, backend: Backend, record: WorkerRecord, journal: Journal) -> None:
        task = TaskId(record.task)
        try:
            with anyio.move_on_after(POST_MORTEM_TIMEOUT) as scope:
                text = await backend.launcher.post_mortem(task)
                if text is not None:
                    text = _with_error(text, record)
                    record.post_mortem = await journal.save_file(file_name(task), text)
                    logger.warning("task %s failed; see %s", short_task(task), record.post_mortem)
            if scope.cancelled_caught:
                logger.warning("%s: no post-mortem within %g s", task, POST_MORTEM_TIMEOUT)
        except Exception:  # a post-mortem fails no run
            logger.warning("%s: no post-mortem", task, exc_info=True)
        finally:
            del self._open[record]
            self._changed.set()
            self._changed = anyio.Event()


def has_failed(record: WorkerRecord) -> bool:
    """Return whether a worker failed, other than by a deliberate stop or a Spot interruption."""
    error = record.failure
    if error is None or isinstance(error, ClosedError):
        return False
    return not (isinstance(error, WorkerStoppedError) and is_spot_interruption(error.stop_code))


def _with_error(text: str, record: WorkerRecord) -> str:
    """Return the text of a post-mortem, with the client's error inserted below the title.

    The backend's reason alone may mislead: if the client stopped the task because of its own error,
    the backend's reason is only that stop.
    """
    title, blank, rest = text.partition("\n\n")
    error = record.error
    seen = printable(f"{type(error).__name__}: {error}".replace("\n", " "))
    return f"{title}{blank}Seen from here: {seen}\n\n{rest}"

"""What is kept of a task that failed, before the backend has forgotten why."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.slot import WorkerRecord
from cloudburst.errors import ClosedError, WorkerStoppedError
from cloudburst.models.failures import SPOT, Failure
from cloudburst.models.task import TaskId
from cloudburst.ports import Backend, Journal

logger = logging.getLogger(__name__)

LINES = 100
"""Of its output, the last ones."""
EXAMINE = 15.0
"""Seconds for one: a few calls, each of which may be made again."""
LAST = 5.0
"""Seconds after its begin for which the end of a run waits for one."""


class PostMortems:
    """Writes them aside. None holds up a stop, fails a run, or delays its end for long."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._open: dict[WorkerRecord, float] = {}  # since when
        self._changed = anyio.Event()

    def begin(self, backend: Backend, record: WorkerRecord, journal: Journal | None) -> None:
        """A worker is no more: look into it, if it failed and there is a place to write to."""
        if journal is None or not (record.task and has_failed(record)):
            return
        self._open[record] = anyio.current_time()
        name = f"cloudburst post-mortem of {record.task}"
        self._tasks.start_soon(self._write, backend, record, journal, name=name)

    async def done(self, run: str) -> None:
        """Wait for those of a run, each for a while."""
        while begun := [since for record, since in self._open.items() if record.run == run]:
            left = max(begun) + LAST - anyio.current_time()
            if left <= 0:
                return
            with anyio.move_on_after(left):
                await self._changed.wait()

    async def _write(self, backend: Backend, record: WorkerRecord, journal: Journal) -> None:
        task = TaskId(record.task)
        try:
            with anyio.move_on_after(EXAMINE) as scope:
                text = await backend.launcher.post_mortem(task)
                if text is not None:
                    text = _with_error(text, record)
                    record.post_mortem = await journal.keep(file_name(task), text)
                    logger.warning("%s failed; what is known is in %s", task, record.post_mortem)
            if scope.cancelled_caught:
                logger.warning("%s: no post-mortem within %g s", task, EXAMINE)
        except Exception:  # whatever it is: a post-mortem costs no run
            logger.warning("%s: no post-mortem", task, exc_info=True)
        finally:
            del self._open[record]
            self._changed.set()
            self._changed = anyio.Event()


def has_failed(record: WorkerRecord) -> bool:
    """Whether its end was neither our own choice nor Spot's."""
    error = record.error
    if error is None or record.ours or isinstance(error, ClosedError):
        return False
    return not (isinstance(error, WorkerStoppedError) and SPOT.fits(error.stop_code))


def file_name(task: str) -> str:
    """Of the post-mortem of a task."""
    return f"post-mortem-{re.sub(r'[^A-Za-z0-9._-]+', '_', task.rpartition('/')[2])}.md"


def page(
    task: str,
    *,
    failure: Failure | None,
    facts: Mapping[str, object],
    lines: Sequence[str] | str,
    more: Mapping[str, str] | None = None,
) -> str:
    """One in Markdown, the most important things first.

    Args:
        task: Its name.
        failure: What the table of failures says of its end.
        facts: By their names; empty ones are left out.
        lines: Of its output, or why there are none.
        more: Long texts by their headings.
    """
    parts = [f"# Task {task} failed"]
    if failure is not None:
        parts.append(f"**{_sentence(failure.means)}**")
        if failure.do:
            parts.append(f"What to do: {failure.do}.")
    known = (f"- {name}: {_visible(str(fact))}" for name, fact in facts.items() if fact)
    parts.append("\n".join(known))
    parts.append("## Last lines")
    parts.append(lines if isinstance(lines, str) else _block("\n".join(lines)))
    for heading, text in (more or {}).items():
        parts += [f"## {heading}", _block(text)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _with_error(text: str, record: WorkerRecord) -> str:
    """With what was seen of it from here: by then we may have stopped it ourselves."""
    title, blank, rest = text.partition("\n\n")
    error = record.error
    seen = _visible(f"{type(error).__name__}: {error}".replace("\n", " "))
    return f"{title}{blank}Seen from here: {seen}\n\n{rest}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _block(text: str) -> str:
    """Indented, so that nothing in it can end it."""
    return "\n".join(f"    {_visible(line)}" for line in text.splitlines())


def _visible(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() or char == "\t" else "�" for char in text)

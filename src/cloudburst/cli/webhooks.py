"""``cloudburst webhooks``: lists webhook messages that are not delivered, and replays them."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import anyio
from cyclopts import App, Parameter
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from cloudburst.cli.output import (
    pluralize,
    print_output,
    safe_text,
    short_path,
    unwrapped,
    write_line,
)
from cloudburst.errors import ConfigurationError
from cloudburst.jobs.database import DATABASE_NAME, JobDatabase, open_database
from cloudburst.text import short_repr
from cloudburst.webhooks import outbox
from cloudburst.webhooks.outbox import Message, MessageState

MAX_SHOWN = 100
"""Maximum number of dead letters, and of other messages, in the tables."""
MAX_LISTED = 10_000
"""Maximum number of dead letters, and of other messages, in the JSON."""
_T = TypeVar("_T")

webhooks_command = App(name="webhooks")


@webhooks_command.default
def list_command(
    folder: Path, /, *, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False
) -> int:
    """List webhook messages that are not delivered, and dead letters.

    A message that could not be delivered within about four days is a dead letter: it is not tried
    again until it is replayed. The backend may be running.

    Parameters
    ----------
    folder
        Folder of the jobs, as in the program: Jobs(client, folder=FOLDER).
    as_json
        Print one JSON object.
    """
    read = partial(_read, limit=MAX_LISTED if as_json else MAX_SHOWN)
    found = _in_database(folder, lambda database: database.read(read))
    if as_json:
        write_line(json.dumps(found.to_json()))
    else:
        print_output(MessageList(found, folder))
    return 0


@webhooks_command.command(name="replay")
def replay_command(
    folder: Path,
    /,
    *chosen: str,
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
) -> int:
    """Deliver dead letters again, with the same ids and in the order of their events.

    Parameters
    ----------
    folder
        Folder of the jobs.
    chosen
        Jobs, or ids of single messages.
    everything
        Replay all dead letters.
    """
    if everything == bool(chosen):
        msg = "name jobs or messages, or pass --all: cloudburst webhooks replay FOLDER JOB"
        raise ConfigurationError(msg)
    replay = partial(_replay, chosen=chosen or (None,))
    number = _in_database(folder, lambda database: database.write(replay))
    print_output(
        f"{pluralize(number, 'message')} ready: the running backend sends {_them(number)} at once, "
        "or the next one when it starts."
    )
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMessages:
    """Messages in an outbox."""

    dead_letters: Sequence[Message]
    """Newest dead letters."""
    undelivered: Sequence[tuple[Message, int]]
    """First undelivered message of each job and webhook, the oldest first, and the number of
    messages that wait behind it."""
    numbers: Mapping[MessageState, int]
    """Number of all messages in each state."""

    def to_json(self) -> dict[str, Any]:
        """Return the messages as JSON, with times in UTC."""
        undelivered = [_to_json(message) | {"behind": n} for message, n in self.undelivered]
        letters = [_to_json(message) for message in self.dead_letters]
        return {"numbers": self.numbers, "dead_letters": letters, "undelivered": undelivered}


class MessageList:
    """Printed tables of dead letters and of other undelivered messages."""

    def __init__(self, found: FoundMessages, folder: Path) -> None:
        self._found = found
        self._folder = folder

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the tables for the width of the terminal."""
        found, folder = self._found, safe_text(short_path(self._folder))
        if not (found.dead_letters or found.undelivered):
            yield unwrapped("No undelivered webhook messages in ", folder, ".")
        waiting = [
            _Row(message, f"{message.type} +{behind}" if behind else message.type, message.due_at)
            for message, behind in found.undelivered
        ]
        yield from _tables(
            "not delivered yet", "next attempt", waiting, found.numbers[MessageState.READY]
        )
        given_up = [_Row(letter, letter.type, letter.ended_at) for letter in found.dead_letters]
        number = found.numbers[MessageState.GIVEN_UP]
        yield from _tables("dead letters", "given up", given_up, number)
        if given_up:
            command = Text.assemble("cloudburst webhooks replay ", folder, " --all", style="bold")
            yield unwrapped("replay with: ", command)


class _Row(NamedTuple):
    """Row of a table."""

    message: Message
    event: str
    time: float | None


def _tables(title: str, time_header: str, rows: Sequence[_Row], number: int) -> RenderResult:
    """Yield a table for each webhook, and a note if there are more messages than rows."""
    by_webhook = sorted(rows, key=lambda row: row.message.webhook)
    for webhook, group in groupby(by_webhook, key=lambda row: row.message.webhook):
        yield unwrapped(safe_text(f"{title}: webhook {webhook}", "bold"))
        shown = [(safe_text(row.message.job), safe_text(row.event), row) for row in group]
        jobs = max(job.cell_len for job, _, _ in shown)
        events = max(event.cell_len for _, event, _ in shown)
        yield unwrapped(Text(f"{'job':{jobs}}  {'event':{events}}  {time_header}", "dim"))
        for job, event, row in shown:
            job.pad_right(jobs - job.cell_len)
            event.pad_right(events - event.cell_len)
            yield unwrapped(job, "  ", event, "  ", Text(_local(row.time), "dim"))
            if row.message.error:  # a line of its own: it may be long
                yield Padding(safe_text(row.message.error, "red"), (0, 0, 0, 2))
        yield Text()
    if number > len(rows):
        yield Text(f"… and {number - len(rows)} more: see --json", "dim")
        yield Text()


def _read(connection: sqlite3.Connection, limit: int) -> FoundMessages:
    return FoundMessages(
        dead_letters=outbox.dead_letters(connection, limit=limit),
        undelivered=outbox.undelivered(connection, limit=limit),
        numbers=outbox.count(connection),
    )


def _replay(connection: sqlite3.Connection, chosen: Sequence[str | None]) -> int:
    """Replay dead letters, or raise `ConfigurationError` if one of those chosen does not exist."""
    number, now = 0, time.time()
    for one in dict.fromkeys(chosen):
        replayed = outbox.replay(connection, one, now=now)
        if one is not None and not replayed:
            msg = (
                f"{short_repr(one)}: no dead letter has this id or belongs to this job, so nothing "
                "is replayed; see cloudburst webhooks FOLDER"
            )
            raise ConfigurationError(msg)
        number += replayed
    return number


def _in_database(folder: Path, call: Callable[[JobDatabase], Awaitable[_T]]) -> _T:
    """Return the result of a call of an existing database of jobs."""
    if not (folder / DATABASE_NAME).is_file():
        msg = (
            f"{short_path(folder)} has no file {DATABASE_NAME}; expected the folder of the jobs of "
            "a backend, as in Jobs(client, folder=FOLDER)"
        )
        raise ConfigurationError(msg)

    async def open_and_call() -> _T:
        async with open_database(folder) as database:
            return await call(database)

    return anyio.run(open_and_call)


def _to_json(message: Message) -> dict[str, Any]:
    times = {"queued_at": message.queued_at, "due_at": message.due_at, "ended_at": message.ended_at}
    return asdict(message) | {name: _utc(seconds) for name, seconds in times.items()}


def _utc(seconds: float | None) -> str | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()


def _local(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone().strftime("%m-%d %H:%M")


def _them(number: int) -> str:
    return "it" if number == 1 else "them"

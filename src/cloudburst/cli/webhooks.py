"""``cloudburst webhooks``: lists webhook messages that are not delivered, and replays them."""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
from cyclopts import App, Parameter
from rich.padding import Padding

from cloudburst.cli.output import print_output, write_json
from cloudburst.display.terminal_texts import safe_text, unwrapped
from cloudburst.display.texts import pluralize, short_path
from cloudburst.errors import ConfigurationError
from cloudburst.jobs.database import DATABASE_NAME, JobDatabase, open_database
from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.outbox import Message, MessageState
from cloudburst.text import short_repr

MAX_LISTED = 10_000
"""Maximum number of dead letters, and of other messages, in the list."""
_T = TypeVar("_T")

webhooks_command = App(name="webhooks", group_commands="Commands")


@webhooks_command.default
def list_command(
    folder: Path, /, *, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False
) -> int:
    """List webhook messages that are not delivered, and dead letters.

    A message that could not be delivered within about four days is a dead letter: it is not tried
    again until it is replayed. The backend may be running.

    $ cloudburst webhooks jobs
    $ cloudburst webhooks replay jobs --all

    Parameters
    ----------
    folder
        Folder of the jobs, as in the program: Jobs(client, folder=FOLDER).
    as_json
        Print one JSON object.
    """
    letters, undelivered, numbers = _in_database(folder, lambda database: database.read(_read))
    if as_json:
        found = {
            "numbers": numbers,
            "dead_letters": [_to_json(letter) for letter in letters],
            "undelivered": [_to_json(message) | {"behind": n} for message, n in undelivered],
        }
        write_json(found)
        return 0
    place = safe_text(short_path(folder))
    if not (letters or undelivered):
        print_output(unwrapped("No undelivered webhook messages in ", place, "."))
    if undelivered:
        number = numbers[MessageState.READY]
        print_output(f"not delivered yet, by the time of the next attempt ({number}):")
        for message, behind in undelivered:
            _print(message, message.due_at, f" +{behind}" if behind else "")
    if letters:
        number = numbers[MessageState.GIVEN_UP]
        print_output(f"dead letters, by the time at which they were given up ({number}):")
        for letter in letters:
            _print(letter, letter.ended_at or 0.0)
        print_output(unwrapped("replay with: cloudburst webhooks replay ", place, " --all"))
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
        f"{pluralize(number, 'message')} ready: sent at once by the running backend, "
        "or by the next one when it starts."
    )
    return 0


def _print(message: Message, seconds: float, behind: str = "") -> None:
    when = dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone().strftime("%m-%d %H:%M")
    print_output(safe_text(f"  {when}  {message.job}  {message.webhook}  {message.type}{behind}"))
    if message.error:
        print_output(Padding.indent(safe_text(message.error, "red"), 4))


def _read(
    connection: sqlite3.Connection,
) -> tuple[list[Message], list[tuple[Message, int]], dict[MessageState, int]]:
    """Return dead letters, other messages with the numbers of those behind each, and all numbers.

    The newest dead letters are returned, and the messages that are tried first.
    """
    return (
        outbox.dead_letters(connection, limit=MAX_LISTED),
        outbox.undelivered(connection, limit=MAX_LISTED),
        outbox.count(connection),
    )


def _replay(connection: sqlite3.Connection, chosen: Sequence[str | None]) -> int:
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

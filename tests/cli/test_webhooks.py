"""Webhook messages as an operator sees and replays them, also while a backend runs."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from cloudburst.cli import main
from cloudburst.jobs.database import open_database
from cloudburst.jobs.webhooks import outbox

NOON = 1_790_000_000.0
JOBS = [digit * 32 for digit in "abc"]
T = TypeVar("T")


@pytest.fixture(autouse=True)
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def in_database(work: Callable[[sqlite3.Connection], T]) -> T:
    async def call() -> T:
        async with open_database(Path("jobs")) as database:
            return await database.write(work)

    return anyio.run(call)


def add(
    connection: sqlite3.Connection,
    job: str,
    number: int = 1,
    *,
    webhook: str = "main",
    error: str = "",
    event_type: str = "job.finished",
) -> str:
    message = outbox.enqueue(
        connection,
        job=job,
        webhook=webhook,
        url=None,
        owner="ann",
        event_number=number,
        event_type=event_type,
        payload="{}",
        now=NOON,
    )
    if error:
        outbox.give_up(connection, message, error=error, now=NOON + 60, all_of_job=False)
    return message


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines() if "replay with" not in line), out
    return out


def test_an_empty_outbox(capsys: pytest.CaptureFixture[str]) -> None:
    in_database(lambda _: None)
    assert main(["webhooks", "jobs"]) == 0
    assert printed(capsys) == "No undelivered webhook messages in jobs.\n"
    assert main(["webhooks", "jobs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "numbers": {"ready": 0, "waiting": 0, "given up": 0},
        "dead_letters": [],
        "undelivered": [],
    }


def fill(connection: sqlite3.Connection) -> None:
    add(connection, JOBS[0], error="HTTP 500")
    add(connection, JOBS[1], error="hooks.example has an address that is not public")
    add(connection, JOBS[1], webhook="billing", error="HTTP 410")
    add(connection, JOBS[2], 1, event_type="scene.completed")
    add(connection, JOBS[2], 2)


def test_dead_letters_and_messages_that_wait(capsys: pytest.CaptureFixture[str]) -> None:
    in_database(fill)
    assert main(["webhooks", "jobs"]) == 0
    assert (
        printed(capsys)
        == f"""\
not delivered yet, by the time of the next attempt (1):
  09-21 14:13  {JOBS[2]}  main  scene.completed +1
dead letters, by the time at which they were given up (3):
  09-21 14:14  {JOBS[0]}  main  job.finished
    HTTP 500
  09-21 14:14  {JOBS[1]}  main  job.finished
    hooks.example has an address that is not public
  09-21 14:14  {JOBS[1]}  billing  job.finished
    HTTP 410
replay with: cloudburst webhooks replay jobs --all
"""
    )


def test_the_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    in_database(fill)
    assert main(["webhooks", "jobs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["numbers"] == {"ready": 1, "waiting": 1, "given up": 3}
    first = found["dead_letters"][0]
    assert (first["job"], first["error"], first["attempts"]) == (JOBS[0], "HTTP 500", 1)
    assert first["ended_at"] == "2026-09-21T14:14:20+00:00"
    assert first["id"].startswith("msg_")
    (waiting,) = found["undelivered"]
    assert (waiting["job"], waiting["behind"], waiting["ended_at"]) == (JOBS[2], 1, None)


def states() -> dict[str, int]:
    query = "SELECT state, count(*) FROM webhook_messages GROUP BY state"
    return in_database(lambda c: dict(c.execute(query).fetchall()))


def test_replay_of_all_while_a_backend_runs(capsys: pytest.CaptureFixture[str]) -> None:
    async def run_beside_a_backend() -> int:
        async with open_database(Path("jobs")) as database:
            await database.write(fill)
            # A command of its own process in a thread, while this connection is open.
            return await anyio.to_thread.run_sync(main, ["webhooks", "replay", "jobs", "--all"])

    assert anyio.run(run_beside_a_backend) == 0
    assert printed(capsys).startswith("3 messages ready: sent at once by the running backend")
    assert states() == {"ready": 4, "waiting": 1}


def test_replay_of_jobs_and_messages(capsys: pytest.CaptureFixture[str]) -> None:
    in_database(fill)
    message = outbox.message_id(job=JOBS[0], webhook="main", number=1)
    assert main(["webhooks", "replay", "jobs", message, message]) == 0
    assert printed(capsys).startswith("1 message ready: sent at once by the running backend")
    assert main(["webhooks", "replay", "jobs", JOBS[1]]) == 0
    assert printed(capsys).startswith("2 messages ready")
    assert states() == {"ready": 4, "waiting": 1}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "name jobs or messages, or pass --all"),
        (["--all", "x"], "name jobs or messages, or pass --all"),
        ([JOBS[0], "x"], "'x': no dead letter has this id or belongs to this job"),
    ],
)
def test_replay_of_nothing(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    in_database(fill)
    assert main(["webhooks", "replay", "jobs", *arguments]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())
    assert states() == {"given up": 3, "ready": 1, "waiting": 1}, "nothing is replayed"


@pytest.mark.parametrize("words", [["webhooks", "jobs"], ["webhooks", "replay", "jobs", "--all"]])
def test_a_folder_without_jobs(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(words) == 2
    assert "jobs has no file jobs.sqlite; expected the folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    Path("jobs").mkdir()
    Path("jobs/jobs.sqlite").write_bytes(b"no database" * 1000)
    assert main(["webhooks", "jobs"]) == 1
    assert "jobs.sqlite cannot be used: file is not a database" in capsys.readouterr().err


def test_planted_texts_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    in_database(partial(add, job="\x1b[2J[bold]x", webhook="\x9b31m", error="\x1b]0;t\x07"))
    assert main(["webhooks", "jobs"]) == 0
    out = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in out), repr(out)
    assert "[bold]x" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["webhooks", "--help"], "A message that could not be delivered within about four days"),
        (["webhooks", "replay", "--help"], "with the same ids and in the order of their events."),
        (["--help"], "webhooks List webhook messages that are not delivered"),
    ],
)
def test_help(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed_help = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert sentence in printed_help
    assert "Parameters ---" not in printed_help

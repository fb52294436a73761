"""The pages about webhooks: their code runs, and their figures are those of the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from cloudburst.cli import app as cli
from cloudburst.jobs.database import open_database
from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.delivery import DEFAULT_POLICY
from cloudburst.jobs.webhooks.signature import decode_secrets, signed_headers
from cloudburst.web import Jobs
from support.doc_blocks import run_page
from support.doc_pages import blocks, prose_of
from support.webhook_receiver import SECRET

PAGE = "docs/reference/webhooks.md"
RECIPES = "docs/cookbook/fastapi.md"
JOB = "5d0c6a1f7f525d0c6a1f7f525d0c6a1f"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BILLING_SECRET", SECRET)
    monkeypatch.setenv("WEBHOOK_SECRET_ADA", SECRET)
    monkeypatch.chdir(tmp_path)


def run(containing: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    (code,) = [block for block in blocks(RECIPES, "python") if containing in block]
    exec(compile(code, RECIPES, "exec"), space)
    return space


def test_the_sender() -> None:
    space = run("billing = Webhook(")
    assert isinstance(space["jobs"], Jobs)
    assert space["billing"].receives("job.settled")


@pytest.mark.anyio
async def test_the_receiver(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks(PAGE, "json")
    body = json.dumps(json.loads(example)).encode()
    keys = decode_secrets(os.environ["BILLING_SECRET"])
    headers = signed_headers(body, message="msg_1", timestamp=int(time.time()), keys=keys)
    transport = httpx.ASGITransport(run("verify_webhook")["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        good = await http.post("/cloudburst", content=body, headers=headers)
        bad = await http.post("/cloudburst", content=body + b" ", headers=headers)
    assert (good.status_code, bad.status_code) == (204, 400)
    assert "no signature matches its body and the secret" in bad.text
    assert capsys.readouterr().out == f"job.finished {JOB} complete\n"


def test_every_block_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The job of the page and another one have dead letters."""

    def give_up(connection: sqlite3.Connection) -> None:
        for job in (JOB, JOB[::-1]):
            message = outbox.enqueue(
                connection,
                job=job,
                webhook="billing",
                url=None,
                owner="ann",
                event_number=17,
                event_type="job.finished",
                payload="{}",
                now=time.time(),
            )
            outbox.give_up(connection, message, error="HTTP 500", now=time.time(), all_of_job=False)

    async def make_dead_letters() -> None:
        async with open_database(Path("jobs")) as database:
            await database.write(give_up)

    def run_commands(code: str) -> None:
        for command in re.findall(r"(?m)^\$ cloudburst (.*)", code):
            assert cli.run(shlex.split(command)) == 0, command

    anyio.run(make_dead_letters)
    space: dict[str, Any] = {}
    run_page(PAGE, space, instead={"$ cloudburst": run_commands})
    printed = capsys.readouterr().out
    assert JOB in printed
    assert printed.count("1 message ready") == 2
    assert anyio.run(space["secrets_of"], "ada") == [SECRET]


def test_the_delays_are_those_of_the_policy() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    sentence = prose_of(PAGE).partition("repeated after 5")[2].partition(", each")[0]
    words = f"5{sentence}".replace(" and ", ", ").split(", ")
    delays = [float(number) * units[unit] for number, unit in map(str.split, words)]
    assert delays == list(DEFAULT_POLICY.delays)
    assert "up to a fifth" in prose_of(PAGE)
    assert DEFAULT_POLICY.jitter == 0.2

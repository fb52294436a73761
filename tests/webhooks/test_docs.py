"""The page about webhooks: its code runs, and its figures are those of the code."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloudburst.jobs.webhooks.definitions import EVENT_TYPES
from cloudburst.jobs.webhooks.delivery import DEFAULT_POLICY
from cloudburst.jobs.webhooks.signature import decode_secrets, signed_headers
from cloudburst.web import Jobs
from support.doc_pages import blocks, prose_of, quoted, table_of
from support.webhook_receiver import SECRET

PAGE = "docs/webhooks.md"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BILLING_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)


def run(containing: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    (code,) = [block for block in blocks(PAGE, "python") if containing in block]
    exec(compile(code, PAGE, "exec"), space)
    return space


def test_the_sender() -> None:
    space = run("Jobs(")
    assert isinstance(space["jobs"], Jobs)
    assert space["billing"].receives("job.settled")


@pytest.mark.anyio
async def test_the_receiver(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks(PAGE, "json")
    body = json.dumps(json.loads(example)).encode()
    keys = decode_secrets(os.environ["BILLING_SECRET"])
    headers = signed_headers(body, message="msg_1", timestamp=int(time.time()), keys=keys)
    transport = httpx.ASGITransport(run("FastAPI")["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        good = await http.post("/cloudburst", content=body, headers=headers)
        bad = await http.post("/cloudburst", content=body + b" ", headers=headers)
    assert (good.status_code, bad.status_code) == (204, 400)
    assert "no signature matches its body and the secret" in bad.text
    assert capsys.readouterr().out == "job.finished 5d0c6a1f7f525d0c6a1f7f525d0c6a1f complete\n"


def test_all_events_are_listed() -> None:
    listed = [kind for row in table_of(PAGE, "`job.queued`") for kind in quoted(row[0])]
    assert listed == list(EVENT_TYPES)


def test_the_delays_are_those_of_the_policy() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    sentence = prose_of(PAGE).partition("failed attempts are ")[2].partition(", each")[0]
    words = sentence.replace(" and ", ", ").split(", ")
    delays = [float(number) * units[unit] for number, unit in map(str.split, words)]
    assert delays == list(DEFAULT_POLICY.delays)
    assert "up to a fifth" in prose_of(PAGE)
    assert DEFAULT_POLICY.jitter == 0.2

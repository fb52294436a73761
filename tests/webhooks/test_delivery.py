"""Delivery over real connections, to receivers that break the rules, and after a SIGKILL."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path

import anyio
import pytest
import standardwebhooks
from anyio import to_thread

from cloudburst.concurrency import poll
from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.definitions import Webhook, Webhooks
from cloudburst.jobs.webhooks.delivery import (
    DEFAULT_POLICY,
    LOCK_NAME,
    DeliveryPolicy,
    deliver_webhooks,
)
from cloudburst.net.session import open_session
from support import hostile_servers as servers
from support.hostile_servers import Authority, Handler, Peer, resolve_to_loopback, serving
from support.outbox import Outbox

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SECRET, NEW_SECRET = "whsec_" + "c2VjcmV0" * 6, "whsec_" + "bmV3ZXIu" * 6
QUICK = replace(DEFAULT_POLICY, delays=(0.05,) * 100, poll_interval=0.02, attempt_timeout=0.4)
ONE_TRY = replace(QUICK, delays=())
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Recorder:
    """Receiver that keeps id and payload of each message, and answers as a test wants."""

    def __init__(self, *answers: Handler) -> None:
        self._answers = list(answers)
        self.messages: list[tuple[str, int]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            body = await peer.read_body()
            lines = peer.head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            raw = dict(line.split(": ", 1) for line in lines[1:] if line)
            headers["webhook-signature"] = next(
                value for name, value in raw.items() if name.lower() == "webhook-signature"
            )
            self.headers.append(headers)
            self.bodies.append(body)
            if self._answers:
                await self._answers.pop(0)(peer)
                return
            self.messages.append((headers["webhook-id"], json.loads(body)["number"]))
            await peer.send(OK)
            await peer.read_head()


def payload(number: int) -> str:
    return json.dumps({"number": number})


def filled(*numbers: int) -> Outbox:
    box = Outbox()
    for number in numbers or (1,):
        box.add(number=number, payload=payload(number), now=time.time())
    return box


def hook(port: int, *, path: str = "/in") -> Webhook:
    url = f"http://127.0.0.1:{port}{path}"
    return Webhook(url=url, secrets=[SECRET], name="main", private=True)


@asynccontextmanager
async def delivering(
    box: Outbox, webhook: Webhook, folder: Path, policy: DeliveryPolicy = QUICK
) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(deliver_webhooks, box, Webhooks([webhook]), folder=folder, policy=policy)
        )
        yield
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async def probe() -> bool | None:
        return bool(condition()) or None

    with anyio.fail_after(seconds):
        await poll(probe, delays=repeat(0.01))


def dead_letter(box: Outbox) -> str | None:
    letters = box(outbox.dead_letters, limit=1)
    return letters[0].error if letters else None


async def test_a_receiver_with_the_reference_library_accepts_our_messages(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over TLS, with path and query; neither they nor a secret are in any log."""
    caplog.set_level(logging.DEBUG)
    recorder, box = Recorder(), filled(1, 2, 3)
    async with serving(recorder, authority.server("hooks.example")) as server:
        url = f"https://hooks.example:{server.port}/in/path-token?key=query-token"
        webhook = Webhook(url=url, secrets=[NEW_SECRET, SECRET], name="main", private=True)
        opened = partial(open_session, verify=authority.trusting, resolve=resolve_to_loopback)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(
                    deliver_webhooks,
                    box,
                    Webhooks([webhook]),
                    folder=tmp_path,
                    policy=QUICK,
                    open_client=opened,
                )
            )
            await until(lambda: not box.states())
            tasks.cancel_scope.cancel()
        assert len(server.peers) == 1, "one connection for all messages"
        assert server.heads[0].startswith(b"POST /in/path-token?key=query-token HTTP/1.1\r\n")
    assert [number for _, number in recorder.messages] == [1, 2, 3]
    for headers, body in zip(recorder.headers, recorder.bodies, strict=True):
        assert headers["content-type"] == "application/json"
        assert headers["host"] == f"hooks.example:{server.port}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 10
        for secret in (SECRET, NEW_SECRET):
            assert standardwebhooks.Webhook(secret).verify(body, headers) == json.loads(body)
    assert "hooks.example" in caplog.text
    for secret in ("path-token", "query-token", "c2VjcmV0", "bmV3ZXIu", "v1,"):
        assert secret not in caplog.text


FAILURES: dict[str, tuple[Handler, str]] = {
    "500": (servers.answer(b"HTTP/1.1 500 Error\r\n", b"sorry"), "HTTP 500"),
    "404": (servers.answer(b"HTTP/1.1 404 Error\r\n", b""), "HTTP 404"),
    "no HTTP": (servers.no_http, ""),
    "silent": (servers.silent_head, "no answer within 0.4 s"),
    "slow head": (servers.slow_head, "no answer within 0.4 s"),
    "slow early hints": (servers.slow_early_hints, "no answer within 0.4 s"),
    "10 GB header": (servers.huge_header, "the head of the answer has more than"),
    "endless early hints": (servers.endless_early_hints, "the head of the answer has more than"),
    "reset": (servers.cut_after_request, ""),
    "reset in the head": (servers.cut_in_head, ""),
    "101": (servers.answer(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n", b""), "without a pending"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failures_leave_the_message_in_the_outbox(name: str, tmp_path: Path) -> None:
    handler, reason = FAILURES[name]
    box, recorder = filled(), Recorder(handler)
    async with (
        serving(recorder, None) as server,
        delivering(box, hook(server.port), tmp_path, ONE_TRY),
    ):
        await until(lambda: dead_letter(box))
        assert reason in (dead_letter(box) or "")
        assert max(peer.sent for peer in server.peers) < 20_000_000
        box(outbox.replay, None, now=time.time())
        await until(lambda: recorder.messages, 15)
    assert len({headers["webhook-id"] for headers in recorder.headers}) == 1


@pytest.mark.parametrize(
    "handler",
    [
        servers.endless_body,
        servers.endless_body_without_length,
        servers.silent_body,
        servers.cut_in_body,
        servers.cut_in_chunk,
        servers.tiny_chunks,
        servers.answer(b"HTTP/1.1 204 No Content\r\n", b""),
        servers.answer(b"HTTP/1.1 299 Fine\r\nContent-Encoding: gzip\r\n", b"no gzip"),
    ],
)
async def test_the_body_of_an_answer_does_not_matter(handler: Handler, tmp_path: Path) -> None:
    box, closed = filled(1, 2), list[int]()

    async def answer(peer: Peer) -> None:
        await peer.read_body()
        try:
            await handler(peer)
        finally:
            closed.append(peer.sent)

    async with (
        serving(answer, None) as server,
        delivering(box, hook(server.port), tmp_path, replace(QUICK, attempt_timeout=5.0)),
    ):
        await until(lambda: not box.states())
        assert len(server.heads) == 2
        await until(lambda: len(closed) == 2)
        assert max(closed) < 20_000_000, "the connection is closed after 64 KiB"


async def test_redirects_are_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    box, path = filled(), "/in?key=abc-of-the-query"
    async with serving(Recorder(), None) as other:
        redirect = servers.redirect(f"http://127.0.0.1:{other.port}{path}", 307)
        async with (
            serving(Recorder(redirect), None) as server,
            delivering(box, hook(server.port, path=path), tmp_path, ONE_TRY),
        ):
            await until(lambda: dead_letter(box))
        assert dead_letter(box) == "HTTP 307 (redirects are not followed)"
        assert other.peers == []
    assert "/in?key=***" in caplog.text, "httpcore logs the headers of the answer"
    assert "abc-of-the-query" not in caplog.text


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::1"]])
async def test_a_name_that_leads_to_this_machine_is_refused_before_a_connection(
    addresses: Sequence[str], authority: Authority, tmp_path: Path
) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    box = filled()
    async with serving(Recorder(), authority.server("hooks.example")) as server:
        webhook = Webhook(url=f"https://hooks.example:{server.port}/", secrets=SECRET, name="main")
        opened = partial(open_session, verify=authority.trusting, resolve=resolve)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(
                    deliver_webhooks,
                    box,
                    Webhooks([webhook]),
                    folder=tmp_path,
                    policy=ONE_TRY,
                    open_client=opened,
                )
            )
            await until(lambda: dead_letter(box))
            tasks.cancel_scope.cancel()
        assert server.peers == []
    assert re.fullmatch(r"hooks\.example has an address that is not public", dead_letter(box) or "")


async def test_a_receiver_that_disappears_and_returns_gets_everything_in_order(
    tmp_path: Path,
) -> None:
    box, recorder = filled(1, 2), Recorder()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with delivering(box, hook(port), tmp_path):
        for number in (3, 5):
            await until(lambda: box(outbox.undelivered, limit=1)[0][0].attempts > 1)
            ((message, waiting),) = box(outbox.undelivered, limit=1)
            assert "Connection refused" in (message.error or "")
            assert waiting == 1
            async with serving(recorder, None, port=port):
                await until(lambda: not box.states())
            if number == 3:
                box.add(number=3, payload=payload(3), now=time.time())
                box.add(number=4, payload=payload(4), now=time.time())
    assert [number for _, number in recorder.messages] == [1, 2, 3, 4]


async def test_timeouts_leave_no_connections(tmp_path: Path) -> None:
    ended = list[int]()

    async def hang(peer: Peer) -> None:
        await peer.wait()
        ended.append(peer.number)

    box = Outbox()
    for number in range(8):
        box.add(f"j{number}", payload=payload(1))
    policy = replace(ONE_TRY, attempt_timeout=1.0, at_once_for_each=8)
    async with (
        serving(hang, None) as server,
        delivering(box, hook(server.port), tmp_path, policy),
    ):
        await until(lambda: len(box(outbox.dead_letters, limit=9)) == 8)
        await until(lambda: len(ended) == 8 == len(server.peers))


CHILD = """
import sys, anyio
from functools import partial
from itertools import repeat
from pathlib import Path
from cloudburst.jobs.webhooks.definitions import Webhook, Webhooks
from cloudburst.jobs.webhooks.delivery import deliver_webhooks
from support.outbox import Outbox

box, port = Outbox(sys.argv[1]), sys.argv[2]
webhook = Webhook(url=f"http://127.0.0.1:{port}/", secrets=sys.argv[3], name="main", private=True)
folder = Path(sys.argv[1]).parent
anyio.run(partial(deliver_webhooks, box, Webhooks([webhook]), folder=folder))
"""


async def test_another_process_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message that was being sent comes again, with the same id; meanwhile only one sends."""
    monkeypatch.setattr("cloudburst.jobs.webhooks.delivery.LOCK_INTERVAL", 0.05)
    path = tmp_path / "jobs.sqlite"
    box = Outbox(path)
    for number in (1, 2):
        box.add(number=number, payload=payload(number), now=time.time())
    recorder = Recorder(servers.silent_head)
    async with serving(recorder, None) as server:
        command = [sys.executable, "-c", CHILD, str(path), str(server.port), SECRET]
        tests = Path(__file__).parents[1]
        child = await to_thread.run_sync(partial(subprocess.Popen, command, cwd=tests))
        try:
            await until(lambda: recorder.headers, 20)
            async with delivering(box, hook(server.port), tmp_path):
                await anyio.sleep(0.3)
                assert len(recorder.headers) == 1
                os.kill(child.pid, signal.SIGKILL)
                await until(lambda: not box.states())
        finally:
            child.kill()
            await to_thread.run_sync(child.wait)
    assert [number for _, number in recorder.messages] == [1, 2]
    first, second, _ = (headers["webhook-id"] for headers in recorder.headers)
    assert first == second


async def test_a_lock_that_cannot_be_taken_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cloudburst.jobs.webhooks.delivery.STORAGE_INTERVAL", 0.05)
    lock = tmp_path / "webhooks.lock"
    lock.symlink_to(tmp_path / "elsewhere")
    box, recorder = filled(), Recorder()
    async with serving(recorder, None) as server, delivering(box, hook(server.port), tmp_path):
        await until(lambda: "webhooks.lock: not a regular file; remove it" in caplog.text)
        assert recorder.messages == []
        lock.unlink()
        await until(lambda: not box.states())


async def test_certificate_authorities_that_cannot_be_read_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cloudburst.jobs.webhooks.delivery.STORAGE_INTERVAL", 0.05)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    box, recorder = filled(), Recorder()
    async with serving(recorder, None) as server, delivering(box, hook(server.port), tmp_path):
        await until(lambda: "no webhooks are sent: " in caplog.text)
        assert box.states() == [("job1", "main", 1, "ready")]
        monkeypatch.delenv("SSL_CERT_FILE")
        await until(lambda: not box.states())


async def test_a_process_without_webhooks_leaves_the_delivery_to_others(tmp_path: Path) -> None:
    box, recorder = filled(), Recorder()
    await deliver_webhooks(box, Webhooks(), folder=tmp_path)
    assert not await anyio.Path(tmp_path / LOCK_NAME).exists()
    async with serving(recorder, None) as server, delivering(box, hook(server.port), tmp_path):
        await until(lambda: not box.states())

"""What somebody without the key can hold at the service: little, and not for long."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from cloudburst.service.connections import MAX_OPEN_CONNECTIONS, Connections, connection_limit
from cloudburst.workers.http.certificates import new_secrets
from support.project import TESTS
from support.service_caller import KEY, service_settings

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

SCRIPT = str(TESTS / "support" / "serve_stand_in.py")
HEAD_SECONDS = 1.0


class Service:
    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.url = process.stdout.readline().split()[-1]
        self.process = process
        self._log = log

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return self._log.read_text()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    with starting(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    """A service that soon closes connections on which nothing comes."""
    with starting(tmp_path_factory.mktemp("hasty")) as start:
        yield start(stall_seconds="1")


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    """A service that waits long for the head of a request."""
    with starting(tmp_path_factory.mktemp("patient")) as start:
        yield start(head_seconds="20")


@contextmanager
def starting(parent: Path) -> Generator[Start]:
    folder = parent / "service"
    folder.mkdir()
    with ExitStack() as stack:

        def start(*, descriptors: int = 0, **settings: str) -> Service:
            def limit() -> None:
                if descriptors:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

            usual = {"encoders": "1", "head_seconds": str(HEAD_SECONDS)}
            log = parent / "log"
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, SCRIPT],
                    env=os.environ | service_settings(folder, **usual | settings),
                    stdout=subprocess.PIPE,
                    stderr=stack.enter_context(log.open("wb")),
                    text=True,
                    preexec_fn=limit,  # noqa: PLW1509 - this process has no thread yet
                )
            )
            stack.callback(process.kill)
            return Service(process, log)

        yield start


def seconds_until_closed(line: socket.socket, drip: bytes = b"") -> float:
    """Read until the other side closes, sending a byte of the drip every 0.1 s."""
    began = time.monotonic()
    line.settimeout(0.1)
    rest = iter(drip)
    while time.monotonic() - began < 20:
        with suppress(TimeoutError):
            try:
                if not line.recv(65536):
                    return time.monotonic() - began
                continue
            except ConnectionError:
                return time.monotonic() - began
        with suppress(ConnectionError):
            line.sendall(bytes([byte for byte in (next(rest, None),) if byte is not None]))
    raise AssertionError("still open after 20 s")


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n"


SLOW_HEADS = {
    "silent": (b"", b""),
    "half line": (b"GET /hea", b""),
    "half head": (HEALTH, b""),
    "drip": (b"", HEALTH + b"X-Slow: " + b"x" * 300),
    "second head drips": (HEALTH + b"\r\n", b"GET /health HTTP/1.1\r\nX-Slow: " + b"x" * 300),
    "second half head": (HEALTH + b"\r\n" + HEALTH, b""),
}


def test_a_head_that_does_not_come_closes_the_connection(hasty: Service) -> None:

    def seconds(sent: bytes, drip: bytes) -> float:
        with hasty.connect() as line:
            line.sendall(sent)
            return seconds_until_closed(line, drip)

    with ThreadPoolExecutor(len(SLOW_HEADS)) as pool:
        waits = {name: pool.submit(seconds, *case) for name, case in SLOW_HEADS.items()}
        found = {name: wait.result() for name, wait in waits.items()}
    assert all(HEAD_SECONDS / 2 < taken < 8 * HEAD_SECONDS for taken in found.values()), found
    assert health(hasty) == 200


def test_a_tls_handshake_that_does_not_come_closes_the_connection(start: Start) -> None:
    ours = new_secrets()
    service = start(certificate=ours.certificate, private_key=ours.private_key)
    with service.connect() as silent, service.connect() as half:
        half.sendall(b"\x16\x03\x01\x02\x00")  # the beginning of a ClientHello
        assert seconds_until_closed(silent) < 8 * HEAD_SECONDS
        assert seconds_until_closed(half) < 8 * HEAD_SECONDS
    assert "Traceback" not in service.log


def test_a_tls_handshake_that_does_not_come_costs_little_memory(start: Start) -> None:
    ours = new_secrets()
    service = start(certificate=ours.certificate, private_key=ours.private_key, head_seconds="60")

    def resident_kb() -> int:
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    before = resident_kb()
    with silent(service, 200):
        time.sleep(1)
        assert (resident_kb() - before) / 200 < 220


def test_a_body_that_was_refused_has_to_end(hasty: Service) -> None:
    with hasty.connect() as line:
        line.sendall(b"PUT /files/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert seconds_until_closed(line, drip=b"x" * 300) < 15  # an answer, 2 s of grace, 1 s


def test_a_peer_that_does_not_read_its_answers_is_cut_off(hasty: Service) -> None:
    with hasty.connect() as line:
        line.settimeout(0.5)
        deadline = time.monotonic() + 30
        with pytest.raises(ConnectionError):  # noqa: PT012 - whichever of them comes too late
            while time.monotonic() < deadline:
                with suppress(TimeoutError):  # the service reads no further: that is the point
                    line.sendall((HEALTH + b"\r\n") * 200)


def test_a_head_that_is_too_long_is_refused(patient: Service) -> None:
    with patient.connect() as line:
        line.sendall(HEALTH + b"X-Long: " + b"x" * 20_000)
        assert line.recv(100).startswith(b"HTTP/1.1 400 ")


UPLOAD = f"PUT /files/{'0' * 64} HTTP/1.1\r\nHost: x\r\n".encode()
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
WITH_KEY = f"X-Authentication-Key: {KEY}\r\n".encode()


def test_a_broken_body_after_its_refusal_ends_the_connection_quietly(hasty: Service) -> None:
    with hasty.connect() as line:
        line.sendall(UPLOAD + CHUNKED)
        time.sleep(0.1)
        line.sendall(b"zz\r\n" + HEALTH + b"\r\n")
        received = b""
        with suppress(ConnectionError):
            while piece := line.recv(65536):
                received += piece
    assert received.count(b"HTTP/1.1") <= 1
    assert health(hasty) == 200
    assert "Traceback" not in hasty.log


def test_a_body_in_tiny_chunks_ends_its_connection(patient: Service) -> None:
    with patient.connect() as line:
        line.sendall(UPLOAD + CHUNKED + b"1\r\nx\r\n" * 5_000)
        assert seconds_until_closed(line) < 10


def test_callers_with_the_key_send_chunked_bodies_on_one_connection(hasty: Service) -> None:
    body = b"4\r\nsome\r\n" * 500 + b"0\r\n\r\n"
    with hasty.connect() as line:
        for expect in (b"", b"Expect: 100-continue\r\n", b""):
            line.sendall(UPLOAD + WITH_KEY + expect + CHUNKED)
            if expect:
                assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            line.sendall(body)
            received = b""
            while not received.endswith(b"}"):
                received += line.recv(1000)
            assert received.startswith(b"HTTP/1.1 400 ")  # it was read: its hash is another
            assert b"connection: close" not in received


def test_requests_of_strangers_do_not_fill_the_log(tmp_path: Path) -> None:
    env = {"CLOUDBURST_HOST": "127.0.0.1", "CLOUDBURST_PORT": "0", "AUTHENTICATION_KEY": KEY}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "cloudburst.service"],
            env={**os.environ, **env, "CLOUDBURST_FOLDER": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            service = Service(process, tmp_path / "log")
            for raw in (
                b"nonsense\r\n\r\n",
                HEALTH + b"Upgrade: x\r\nConnection: upgrade\r\n\r\n",
                UPLOAD + CHUNKED + b"zz\r\n",
                b"GET /download/x%0aERROR HTTP/1.1\r\nHost: x\r\n\r\n",
            ):
                with service.connect() as line:
                    line.sendall(raw)
                    assert line.recv(100).startswith(b"HTTP/1.1 ")
            assert not re.search("WARNING|ERROR", service.log)
        finally:
            process.kill()


def health(service: Service) -> int:
    return httpx.get(f"{service.url}/health", timeout=10).status_code


@contextmanager
def silent(service: Service, number: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(service.connect()) for _ in range(number)]


@pytest.mark.few(1)
@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_health_is_answered_while_strangers_hold_more_connections_than_there_are_descriptors(
    start: Start, tls: bool
) -> None:
    ours = new_secrets()
    secrets = {"certificate": ours.certificate, "private_key": ours.private_key} if tls else {}
    service = start(descriptors=256, head_seconds="60", **secrets)
    check = [sys.executable, "-m", "cloudburst.service.health"]
    env = {**os.environ, "CLOUDBURST_PORT": str(service.port)}
    env |= {f"CLOUDBURST_{name.upper()}": text for name, text in secrets.items()}
    with silent(service, 400):
        for _ in range(3):
            assert subprocess.run(check, env=env, check=False, timeout=20).returncode == 0
        held = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))
        assert held < 256
    assert "Traceback" not in service.log


def test_strangers_do_not_push_out_who_has_shown_the_key(start: Start) -> None:
    service = start(descriptors=256, head_seconds="60")
    with service.connect() as upload:
        head = f"PUT /files/{'0' * 64} HTTP/1.1\r\nHost: x\r\nX-Authentication-Key: {KEY}\r\n"
        upload.sendall(head.encode() + b"Content-Length: 10\r\n\r\n12345")
        time.sleep(0.3)
        with silent(service, 400):
            assert health(service) == 200
        upload.sendall(b"67890")
        assert upload.recv(100).startswith(b"HTTP/1.1 400 ")  # it was read: its hash is another


class Open:
    """Plays a connection."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_when_everybody_has_shown_the_key_a_newcomer_has_to_wait() -> None:
    connections = Connections(2)
    first, second = Open(), Open()
    for one in (first, second):
        connections.add(one)  # type: ignore[arg-type]
        connections.protect(one)  # type: ignore[arg-type]
    assert not connections.has_room()
    connections.unprotect(second)  # type: ignore[arg-type]
    assert connections.has_room()
    assert second.aborted, "cut for the newcomer"
    assert not first.aborted
    assert connections.has_room()
    assert not first.aborted, "there was room"


def test_the_limit_leaves_descriptors_for_files_and_children() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        assert 2 * connection_limit() < 1024
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, soft), hard))
        assert connection_limit() == MAX_OPEN_CONNECTIONS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

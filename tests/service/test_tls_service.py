"""The service over TLS: what it shows, what it keeps to itself, and how it refuses to start."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from cryptography.hazmat.primitives import serialization as pem
from PIL import Image

from cloudburst.errors import ConfigurationError
from cloudburst.models.limits import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.service.config import ServiceSettings
from cloudburst.service.connections import server_context
from cloudburst.service.lifecycle import listening_socket
from cloudburst.workers.http import native
from cloudburst.workers.http.certificates import new_secrets
from support.checked_scenes import as_checked
from support.project import TESTS
from support.service_caller import KEY, read_pids

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


def client_context(certificate: str) -> ssl.SSLContext:
    """What a client needs that trusts this certificate and no other, whatever the host's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    return context


STAND_IN = (sys.executable, str(TESTS / "support" / "serve_stand_in.py"))
SERVICE = (sys.executable, "-m", "cloudburst.service")
HEALTH = (sys.executable, "-m", "cloudburst.service.health")
OURS, OTHERS = new_secrets(), new_secrets()
SHOWN = {"certificate": OURS.certificate, "private_key": OURS.private_key}
PRIVATE = "".join(OURS.private_key.splitlines()[1:-1])


def environment(folder: Path, settings: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "TMPDIR": str(folder),
        "AUTHENTICATION_KEY": KEY,
        "CLOUDBURST_HOST": "127.0.0.1",
        "CLOUDBURST_PORT": "0",
        "CLOUDBURST_ENCODERS": "1",
        "CLOUDBURST_RESERVE_BYTES": "0",
        **{f"CLOUDBURST_{name.upper()}": value for name, value in settings.items()},
    }


class Running:
    """A service that shows our certificate."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("listening on https://127.0.0.1:"), line + log.read_text()
        self.url = line.split()[-1]
        self.port = int(self.url.rpartition(":")[2])
        self.process = process
        self.log = log

    def client(self) -> httpx.Client:
        headers = {"X-Authentication-Key": KEY}
        context = client_context(OURS.certificate)
        return httpx.Client(base_url=self.url, headers=headers, verify=context, timeout=20)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    folder = tmp_path / "service"
    folder.mkdir()
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: tuple[str, ...] = STAND_IN, **settings: str) -> Running:
        log = tmp_path / "log"
        with log.open("wb") as errors:
            env = environment(folder, {**SHOWN, **settings})
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors)
        processes.append(process)
        return Running(process, log)

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    told = (tmp_path / "log").read_text()
    assert KEY not in told
    assert PRIVATE[:40] not in told
    assert "BEGIN" not in told


def ended(
    command: tuple[str, ...], folder: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    env = environment(folder, settings)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)


def test_a_service_with_a_certificate_speaks_tls_only(start: Start) -> None:
    """Its stop waits neither for a handshake nor for an idle connection."""
    service = start()
    with service.client() as http:
        assert http.get("/health").status_code in {200, 500}
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{service.port}/health", trust_env=False)
    context = client_context(OURS.certificate)
    with (
        socket.create_connection(("127.0.0.1", service.port)) as raw,
        context.wrap_socket(raw) as secured,
    ):
        assert secured.version() == "TLSv1.3"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", service.port)) as raw,
        context.wrap_socket(raw) as secured,
    ):
        assert secured.version() == "TLSv1.2"
    with (
        socket.create_connection(("127.0.0.1", service.port)) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        client_context(OTHERS.certificate).wrap_socket(raw)
    with (
        socket.create_connection(("127.0.0.1", service.port)) as silent,
        socket.create_connection(("127.0.0.1", service.port)) as raw,
        client_context(OURS.certificate).wrap_socket(raw) as idle,
    ):
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(15).startswith(b"HTTP/1.1 ")
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 0
        assert time.monotonic() - began < 4
        assert silent.fileno() >= 0


def test_no_half_of_an_answer_waits_for_the_other() -> None:
    with (
        listening_socket(ServiceSettings(host="127.0.0.1", port=0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_its_children_inherit_no_secret_and_no_file_has_the_private_key(
    start: Start, tmp_path: Path
) -> None:
    service = start()
    with service.client() as http:
        todo = {"do": "fork", "pids": str(tmp_path / "pids")}
        hashes = {}
        for name, content in (("image", json.dumps(todo).encode()), ("audio", b"sound")):
            hashes[name] = hashlib.sha256(content).hexdigest()
            http.put(f"/files/{hashes[name]}", content=content)
        assert http.post("/jobs", json={"name": "s", **hashes}).status_code == 201
        for pid in read_pids(tmp_path / "pids"):
            environ = Path(f"/proc/{pid}/environ")
            while not (inherited := environ.read_bytes()):  # it is just being started
                time.sleep(0.01)
            assert b"PATH=" in inherited
            assert b"CLOUDBURST_PORT=" not in inherited
            for secret in (b"AUTHENTICATION_KEY", KEY.encode(), b"BEGIN", PRIVATE[:40].encode()):
                assert secret not in inherited
    for path in (tmp_path / "service").rglob("*"):
        assert not path.is_file() or b"PRIVATE" not in path.read_bytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"certificate": OURS.certificate}, "one is set; expected both"),
        ({"private_key": OURS.private_key}, "one is set; expected both"),
        ({"certificate": OURS.certificate, "private_key": OTHERS.private_key}, "that certificate"),
        ({"certificate": "x", "private_key": OURS.private_key}, "a certificate in PEM"),
        ({"certificate": OURS.certificate, "private_key": "x"}, "a certificate in PEM"),
        ({"certificate": OURS.private_key, "private_key": OURS.private_key}, "a certificate in"),
        ({"certificate": "ä", "private_key": OURS.private_key}, "a certificate in PEM"),
        ({"certificate": "x" * 70_000, "private_key": OURS.private_key}, "a certificate in PEM"),
    ],
)  # fmt: skip
@pytest.mark.few(1)
def test_what_is_no_pair_does_not_start(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    refused = ended(SERVICE, tmp_path, **settings)
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert PRIVATE[:40] not in refused.stderr
    assert "BEGIN" not in refused.stderr


def test_an_encrypted_key_asks_nobody() -> None:
    private = pem.load_pem_private_key(OURS.private_key.encode(), None)
    locked = private.private_bytes(
        pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"secret")
    ).decode()
    with pytest.raises(ConfigurationError, match="a certificate in PEM"):
        server_context(OURS.certificate, locked)


@pytest.mark.nightly
def test_empty_variables_are_none(tmp_path: Path) -> None:
    env = environment(tmp_path, {"certificate": "", "private_key": ""})
    with subprocess.Popen(SERVICE, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("listening on http://")
        finally:
            with suppress(ProcessLookupError):
                process.terminate()


@pytest.mark.anyio
async def test_a_scene_is_rendered_over_it_and_its_health_check_follows(
    start: Start, tmp_path: Path
) -> None:
    Image.effect_noise((640, 360), 90).save(tmp_path / "i.png")
    _write_wave(tmp_path / "a.wav")
    scene = Scene(name="one", image=tmp_path / "i.png", audio=tmp_path / "a.wav")
    service = await anyio.to_thread.run_sync(lambda: start(SERVICE))
    secrets = Secrets(key=KEY, certificate=OURS.certificate)
    async with native.connect(service.url, secrets=secrets, timeouts=Timeouts()) as renderer:
        while not await renderer.is_healthy():  # noqa: ASYNC110 - a process rings no bell
            await anyio.sleep(0.1)  # it starts
        upload = await renderer.upload(as_checked(scene))
        output = await renderer.encode(upload, progress=lambda share: None)
        download = await renderer.download(output, tmp_path / "one.mp4")
    assert download.size == (tmp_path / "one.mp4").stat().st_size > 10_000
    assert download.seconds == pytest.approx(1.0, abs=0.05)
    check = partial(ended, HEALTH, tmp_path, port=str(service.port))
    checks = [
        await anyio.to_thread.run_sync(partial(check, **settings))
        for settings in (SHOWN, {}, {"certificate": OTHERS.certificate})
    ]
    assert [check.returncode for check in checks] == [0, 1, 1]
    assert not checks[-1].stderr


def _write_wave(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))

"""A worker is recognized by its certificate, and no other program receives the key."""

from __future__ import annotations

import ipaddress
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from cloudburst.errors import ConfigurationError, WorkerStoppedError
from cloudburst.models.limits import Timeouts
from cloudburst.models.task import Secrets
from cloudburst.net.session import UNSENT_BYTES
from cloudburst.service.connections import server_context
from cloudburst.workers.http import connection, native, onestep
from cloudburst.workers.http.certificates import new_secrets

pytestmark = pytest.mark.anyio

OURS, OTHERS = new_secrets(), new_secrets()
HEALTHY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n"
    b'{"status": "healthy"}'
)


@pytest.fixture(params=[native.connect, onestep.connect], ids=["native", "onestep"])
def connect(request):
    def to(address, secrets=OURS):
        return request.param(address, secrets=secrets, timeouts=Timeouts(silence=0.3, call=0.3))

    return to


GONE = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    ssl.SSLError,
    OSError,
)


@asynccontextmanager
async def listening(answer=HEALTHY, context=None):
    """Somebody on loopback; ``heard`` is what came, decrypted if it was TLS for them."""
    there = SimpleNamespace(heard=bytearray(), versions=set())

    async def carry(raw):
        async with raw:
            with suppress(*GONE):
                stream = raw
                if context:
                    stream = await TLSStream.wrap(
                        raw, server_side=True, ssl_context=context, standard_compatible=False
                    )
                    there.versions.add(stream.extra(TLSAttribute.tls_version))
                while answer is not None:
                    there.heard += await stream.receive()
                    if b"\r\n\r\n" in there.heard or not context:
                        await stream.send(answer)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        there.port = listener.extra(SocketAttribute.local_port)
        tasks.start_soon(listener.serve, carry)
        yield there
        tasks.cancel_scope.cancel()


def shown(secrets):
    return server_context(secrets.certificate, secrets.private_key)


async def test_a_worker_with_its_certificate_is_accepted(connect):
    async with (
        listening(context=shown(OURS)) as there,
        connect(f"https://127.0.0.1:{there.port}") as renderer,
    ):
        assert await renderer.is_healthy()
    assert there.versions == {"TLSv1.3"}
    assert b"GET /health" in there.heard
    assert OURS.key.encode() not in there.heard


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_host_name_does_not_matter(connect, host):
    async with (
        listening(context=shown(OURS)) as there,
        connect(f"https://{host}:{there.port}") as renderer,
    ):
        assert await renderer.is_healthy()


def signed_by(secrets, **how):
    """A certificate that the worker's key has signed for another key."""
    return made(issuer_key=load_pem_private_key(secrets.private_key.encode(), None), **how)


def made(*, issuer_key=None, days=2, address="127.0.0.1"):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudburst")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .sign(issuer_key or key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Secrets(
        key=OURS.key,
        certificate=certificate.public_bytes(Encoding.PEM).decode(),
        private_key=private.decode(),
    )


EXPIRED = made(days=-1)


@pytest.mark.parametrize(
    ("theirs", "trusted"),
    [(OTHERS, OURS), (signed_by(OURS), OURS), (EXPIRED, EXPIRED)],
    ids=["another", "signed by ours", "expired"],
)
async def test_another_certificate_is_refused(connect, theirs, trusted):
    async with (
        listening(context=shown(theirs)) as there,
        connect(f"https://127.0.0.1:{there.port}", trusted) as renderer,
    ):
        assert not await renderer.is_healthy()
        await insist_on_work(renderer)
    assert not there.heard


@pytest.mark.parametrize("answer", [HEALTHY, b"\x15\x03\x03\x00\x02\x02\x28", None])
async def test_a_server_without_tls_receives_nothing(connect, answer):
    async with (
        listening(answer) as there,
        connect(f"https://127.0.0.1:{there.port}") as renderer,
    ):
        assert not await renderer.is_healthy()
        await insist_on_work(renderer)
    assert OURS.key.encode() not in there.heard
    assert b"HTTP" not in there.heard


async def insist_on_work(renderer):
    """Make a request although the worker is not healthy; the key must not be sent."""
    with pytest.raises(WorkerStoppedError):
        await renderer._connection.request_with_retries("HEAD", "/files/x")


async def test_over_plain_http_a_health_check_carries_no_key(connect):
    secrets = Secrets(key=OURS.key)
    async with (
        listening() as there,
        connect(f"http://127.0.0.1:{there.port}", secrets) as renderer,
    ):
        assert await renderer.is_healthy()
    assert b"GET /health" in there.heard
    assert OURS.key.encode() not in there.heard
    assert b"authentication" not in there.heard.lower()


async def test_a_certificate_is_never_ignored_for_plain_http(connect):
    with pytest.raises(ConfigurationError, match="https only"):
        async with connect("http://127.0.0.1:5000"):
            pass


async def test_an_invalid_certificate(connect):
    broken = Secrets(key="k", certificate="-----BEGIN CERTIFICATE-----\nx\n")
    with pytest.raises(ConfigurationError, match="not PEM"):
        async with connect("https://127.0.0.1:5000", broken):
            pass


@pytest.fixture
def authorities(monkeypatch, tmp_path):
    """Return a function that makes this system trust a certificate."""

    def trust(secrets):
        (tmp_path / "authorities.pem").write_text(secrets.certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
        connection._system_context.cache_clear()

    yield trust
    connection._system_context.cache_clear()


@pytest.mark.parametrize(
    ("theirs", "known"), [(made(), True), (made(address="127.0.0.9"), False), (OTHERS, False)]
)
async def test_without_a_certificate_the_systems_authorities_decide(
    connect, authorities, theirs, known
):
    authorities(theirs)
    async with (
        listening(context=shown(theirs)) as there,
        connect(f"https://127.0.0.1:{there.port}", Secrets(key="k")) as renderer,
    ):
        assert await renderer.is_healthy() is known


async def test_old_tls_is_refused(connect):
    context = shown(OURS)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with (
        listening(context=context) as there,
        connect(f"https://127.0.0.1:{there.port}") as renderer,
    ):
        assert not await renderer.is_healthy()


@pytest.mark.few(20, spread=True)
@pytest.mark.parametrize(
    ("address", "warns"),
    [
        ("http://8.8.8.8:5000", True),
        ("http://[2606:4700::1]:5000", True),
        ("http://render.example.com", True),
        ("http://10.1.2.3:5000", False),
        ("http://192.168.1.1", False),
        ("http://127.0.0.1:5000", False),
        ("http://[::1]:5000", False),
        ("http://worker:5000", False),
        ("http://ip-10-0-0-5.ec2.internal:5000", False),
        ("https://8.8.8.8", False),
    ],
)
async def test_a_key_in_clear_text_is_reported_once(connect, caplog, address, warns):
    connection._warn_about_plain_http.cache_clear()
    for _ in range(3):
        async with connect(address, Secrets(key="k-3")):
            pass
    async with connect(address, Secrets(key="")):
        pass
    assert caplog.text.count("plain HTTP") == int(warns)
    assert "k-3" not in caplog.text


async def test_without_a_key_nothing_is_reported(connect, caplog):
    connection._warn_about_plain_http.cache_clear()
    async with connect("http://8.8.8.8:5000", Secrets(key="")):
        pass
    assert not caplog.text


async def test_a_password_in_an_address_is_refused_and_not_shown(connect):
    with pytest.raises(ConfigurationError) as caught:
        async with connect("http://me:geheim@w:5000", Secrets(key="k")):
            pass
    assert "geheim" not in str(caught.value)


async def test_a_silent_connection_is_watched_and_little_waits_to_be_sent(connect):
    import socket

    raw = []
    async with (
        listening() as there,
        connect(f"http://127.0.0.1:{there.port}", Secrets(key="k")) as renderer,
    ):

        async def look(event, facts):
            if event == "connection.connect_tcp.complete":
                raw.append(facts["return_value"].get_extra_info("socket"))
                option = raw[0].getsockopt
                assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
                assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 90_000
                assert option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES

        await renderer._connection.http_client.get("/health", extensions={"trace": look})
    assert raw

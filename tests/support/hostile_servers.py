"""Web servers over TLS on loopback that break the rules, one way each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "files.example"
CONTENT = bytes(range(256)) * 40
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
GIGABYTES = 10 * 1024**3
HASTY = {
    "connect_timeout": 0.3,
    "answer_timeout": 0.3,
    "pace_window": 0.3,
    "pace_bytes": 4096,
    "total_timeout": 2.0,
}
"""Limits of transfers with which the slow ones of these servers are given up soon."""

Handler = Callable[["Peer"], Awaitable[None]]


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.path = folder / "ca.pem"
        self._certificate = self._signed("test CA", self._key, ca=True)
        self.path.write_bytes(self._certificate.public_bytes(Encoding.PEM))
        self.trusting = ssl.create_default_context(cafile=str(self.path))

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        days: tuple[int, int] = (-2, 2),
        self_signed: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            # From Python 3.13 on, a certificate without both identifiers is not trusted, nor an
            # authority that does not say that it signs certificates.
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (key if self_signed else self._key).public_key()
                ),
                critical=False,
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not ca,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(key if self_signed else self._key, SHA256())

    def server(
        self, name: str = HOST, *, days: tuple[int, int] = (-2, 2), self_signed: bool = False
    ) -> ssl.SSLContext:
        """The TLS settings of a server with a certificate of this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(name, key, days=days, self_signed=self_signed)
        path = self._folder / f"{certificate.serial_number:x}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class Peer:
    """The server's side of a connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.number = number
        """How many connections there were before."""
        self.sent = 0
        self.head = b""

    async def read_head(self) -> bytes:
        self.head = await self._reader.readuntil(b"\r\n\r\n")
        return self.head

    async def read_body(self) -> bytes:
        head = self.head.lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r")[0] or 0)
        return await self._reader.readexactly(length)

    async def read(self, size: int) -> bytes:
        return await self._reader.read(size)

    async def send(self, data: bytes) -> None:
        if self._writer.transport.is_closing():  # asyncio would ignore it, and not even wait
            raise ConnectionResetError
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def send_up_to(self, size: int, block: bytes) -> None:
        while self.sent < size:
            await self.send(block)

    async def wait(self) -> None:
        """Send nothing until the client goes."""
        while await self._reader.read(65536):
            pass

    def reset(self) -> None:
        self._writer.transport.abort()


async def resolve_to_loopback(_host: str, _port: int) -> Sequence[str]:
    """Resolve each name to this machine."""
    return ["127.0.0.1"]


class Server(NamedTuple):
    port: int
    heads: list[bytes]
    peers: list[Peer]


@asynccontextmanager
async def serving(
    handler: Handler, context: ssl.SSLContext | None, *, port: int = 0
) -> AsyncGenerator[Server]:
    """A server for whose connections the handler is called, after the head of the request."""
    heads: list[bytes] = []
    peers: list[Peer] = []
    tasks: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, len(peers))
        peers.append(peer)
        tasks.add(asyncio.current_task())
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                heads.append(await peer.read_head())
                await handler(peer)
                writer.close()
                await writer.wait_closed()
        except asyncio.CancelledError:
            pass  # asyncio would log it
        finally:
            peer.reset()

    server = await asyncio.start_server(
        connected, "127.0.0.1", port, ssl=context, ssl_handshake_timeout=2 if context else None
    )
    try:
        yield Server(server.sockets[0].getsockname()[1], heads, peers)
    finally:
        server.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        await asyncio.sleep(0)  # for transports that were aborted


def answer(head: bytes = OK, body: bytes = CONTENT, *, length: int | None = -1) -> Handler:
    """Answer with these headers and this body, of a length that may be a lie."""
    if length is not None:
        head += b"Content-Length: %d\r\n" % (len(body) if length < 0 else length)

    async def handle(peer: Peer) -> None:
        await peer.send(head + b"\r\n" + body)

    return handle


def redirect(to: str, status: int = 302) -> Handler:
    return answer(b"HTTP/1.1 %d Found\r\nLocation: %s\r\n" % (status, to.encode()), b"")


def error(status: int, code: str = "", message: str = "", headers: bytes = b"") -> Handler:
    """An error as S3 answers it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return answer(b"HTTP/1.1 %d Error\r\n%s" % (status, headers), body.encode() if code else b"")


async def endless_body(peer: Peer) -> None:
    await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    await peer.send_up_to(GIGABYTES, b"10000\r\n" + bytes(65536) + b"\r\n")


async def endless_body_without_length(peer: Peer) -> None:
    await peer.send(OK + b"Connection: close\r\n\r\n")
    await peer.send_up_to(GIGABYTES, bytes(65536))


async def slow_body(peer: Peer) -> None:
    await peer.send(OK + b"Content-Length: 10240\r\n\r\n")
    while True:
        await peer.send(b"x")
        await asyncio.sleep(0.02)


async def silent_body(peer: Peer) -> None:
    await peer.send(OK + b"Content-Length: 10240\r\n\r\n" + CONTENT[:5000])
    await peer.wait()


async def slow_head(peer: Peer) -> None:
    for char in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
        await peer.send(bytes([char]))
        await asyncio.sleep(0.02)


async def silent_head(peer: Peer) -> None:
    await peer.wait()


async def huge_header(peer: Peer) -> None:
    await peer.send(OK + b"X-Huge: ")
    await peer.send_up_to(GIGABYTES, b"h" * 65536)


async def many_headers(peer: Peer) -> None:
    await peer.send(OK + b"".join(b"X-%d: v\r\n" % n for n in range(100_000)) + b"\r\n")
    await peer.wait()


async def endless_early_hints(peer: Peer) -> None:
    await peer.send_up_to(GIGABYTES, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)


async def slow_early_hints(peer: Peer) -> None:
    while True:
        await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.05)


async def tiny_chunks(peer: Peer) -> None:
    await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    await peer.send_up_to(GIGABYTES, b"1\r\nx\r\n" * 10_000)


async def cut_after_request(peer: Peer) -> None:
    peer.reset()


async def cut_in_head(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 O")
    peer.reset()


async def cut_in_body(peer: Peer) -> None:
    await peer.send(OK + b"Content-Length: 10240\r\n\r\n" + CONTENT[:5000])
    peer.reset()


async def cut_in_chunk(peer: Peer) -> None:
    await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n100\r\nabc")


async def no_http(peer: Peer) -> None:
    await peer.send(CONTENT)


async def slow_error(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\n")
    await peer.wait()


async def error_in_crumbs(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await peer.send(b"x")
        await asyncio.sleep(0.02)

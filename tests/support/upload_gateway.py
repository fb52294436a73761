"""A proxy before ``docker-registry`` that breaks uploads, and lets clients continue them.

``docker-registry`` 2 refuses to continue an upload that was cut within a chunk: the URL of the
upload contains its size. Version 3 reports the size (https://github.com/distribution/distribution/pull/3755),
as the specification says. The gateway adds that: it keeps the latest URL of each upload.

It counts the bytes of chunks that it receives, and can reset connections while a chunk or its
answer is under way.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlencode, urlsplit

from support.http_server import http_server

_UPLOAD = re.compile(r"/v2/.+/blobs/uploads/([^/?]+)")
BLOCK = 16 * 1024


@dataclass
class Gateway:
    """Counters and plans of a gateway. Tests may change the plans at any time."""

    url: str = ""
    received: int = 0
    """Bytes of chunks received, with those of cut chunks."""
    cut_bytes: int = 0
    """Bytes of chunks that were cut, or whose answer was lost before the registry had them."""
    cuts: int = 0
    repeated: int = 0
    """Bytes of complete chunks that the registry already had."""
    cut_at: int | None = None
    """Value of ``received`` at which the connection is reset, or `on_cut` is called."""
    lose_answer: bool = False
    """Whether the chunk reaches the registry before the connection is reset."""
    keep_part: bool = False
    """Whether the registry gets the bytes that were received before the cut."""
    on_cut: object = None
    """Function that is called in place of a reset, for example to kill the client."""
    chunks: list = field(default_factory=list)
    """Uploads and ranges of the chunks that the registry has accepted."""
    locations: dict = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._forward(b"")

    do_HEAD = do_POST = do_GET  # noqa: N815

    def do_PUT(self):
        self._forward(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_PATCH(self):
        expected = int(self.headers["Content-Length"])
        start = int(self.headers["Content-Range"].partition("-")[0])
        body, cut = self._receive(expected)
        if len(body) < expected or cut:
            self._break(body, start, expected)
            return
        self._forward(body, start)

    def _receive(self, expected):
        """Return the bytes of a chunk, and whether its connection is to be cut."""
        gateway, body = self.server.gateway, bytearray()
        while len(body) < expected:
            with gateway.lock:
                planned = gateway.cut_at
            left = expected - len(body)
            if planned is not None and gateway.received >= planned and not gateway.lose_answer:
                return bytes(body), True
            block = b""
            with suppress(OSError):
                block = self.rfile.read1(min(BLOCK, left))
            if not block:
                return bytes(body), False  # the client has gone
            body += block
            with gateway.lock:
                gateway.received += len(block)
        with gateway.lock:
            return bytes(body), gateway.cut_at is not None and gateway.received >= gateway.cut_at

    def _break(self, body, start, expected):
        gateway = self.server.gateway
        if gateway.lose_answer:
            stored = body if len(body) == expected else b""
        else:
            stored = body[: expected - 1] if gateway.keep_part else b""
        if stored:
            self._send(stored, start)
        with gateway.lock:
            gateway.cuts += 1
            gateway.cut_at = None
            gateway.cut_bytes += len(body) - len(stored)
            call = gateway.on_cut
        if call is not None:
            call()
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _forward(self, body, start=0):
        with suppress(OSError):  # the client has gone
            status, headers, content = self._send(body, start)
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in {"connection", "transfer-encoding"}:
                    self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in headers):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def _send(self, body, start):
        """Send the request to the registry, with the latest state of its upload."""
        gateway, found = self.server.gateway, _UPLOAD.match(self.path)
        path, headers = self.path, dict(self.headers.items())
        if body or "Content-Length" in headers:
            headers["Content-Length"] = str(len(body))
        if found and found[1] in gateway.locations:
            digest = [one for one in parse_qsl(urlsplit(path).query) if one[0] == "digest"]
            latest = urlsplit(gateway.locations[found[1]])
            query = latest.query + (f"&{urlencode(digest)}" if digest else "")
            path = f"{latest.path}?{query}"
        if self.command == "PATCH":
            refused = self._refuse(gateway, found[1], start, len(body))
            if refused:
                return refused
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            connection.request(self.command, path, body or None, headers)
            answer = connection.getresponse()
            content = b"" if self.command == "HEAD" else answer.read()
            self._record(gateway, answer, start, body)
            return answer.status, answer.getheaders(), content
        finally:
            connection.close()

    def _refuse(self, gateway, upload, start, size):
        """Return the answer to a chunk that does not begin at the end of the upload."""
        with gateway.lock:
            ends = [end for one, _, end in gateway.chunks if one == upload]
            if start == max(ends, default=0):
                return None
            gateway.repeated += size
        return 416, [("Content-Length", "0")], b""

    def _record(self, gateway, answer, start, body):
        location = answer.getheader("Location", "")
        found = _UPLOAD.match(urlsplit(location).path)
        with gateway.lock:
            if found:
                gateway.locations[found[1]] = location
            if self.command == "PATCH" and answer.status == 202:
                upload = _UPLOAD.match(self.path)[1]
                gateway.chunks.append((upload, start, start + len(body)))


@contextmanager
def upload_gateway(registry_url):
    """A gateway before a registry: ``with upload_gateway(server.url) as gateway``."""
    with http_server(_Handler) as server:
        server.target = urlsplit(registry_url).netloc
        server.gateway = gateway = Gateway(server.url)
        yield gateway

"""A proxy in front of an emulated account that answers some calls in place of AWS."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from support.http_server import http_server

LOGIN = b"<!DOCTYPE html><html><body><form>Please sign in to the guest network</form></body></html>"
JSON, PAGE, XML = "application/x-amz-json-1.1", "text/html; charset=utf-8", "text/xml"


@dataclass(frozen=True)
class Told:
    """An answer in place of AWS's."""

    body: bytes
    kind: str | None = None
    """Content type; ``None``: as AWS's answer has it."""
    status: int = 200
    location: str | None = None


KINDS = {
    "login page": lambda _: Told(LOGIN, PAGE),
    "login page that calls itself JSON": lambda _: Told(LOGIN),
    "refusal of a proxy": lambda _: Told(LOGIN, PAGE, status=403),
    "redirection": lambda _: Told(b"", PAGE, status=302, location="/login"),
    "nothing": lambda _: Told(b""),
    "braces": lambda _: Told(b"{}"),
    "null": lambda _: Told(b"null"),
    "list": lambda _: Told(b"[]"),
    "number": lambda _: Told(b"7"),
    "bytes": lambda _: Told(b"\xff\xfe\x00" * 100),
    "half": lambda body: Told(body[: len(body) // 2]),
    "deep": lambda _: Told(b"[" * 200_000),
}


class Garbler:
    """Says which answers are garbled. May be changed at any time."""

    def __init__(self):
        self.operations = frozenset()
        self.kind = "login page"
        self.done = True
        """Whether AWS does what it was asked all the same."""
        self.left = 0
        """Answers that are still to be garbled."""
        self.garbled = 0
        self.url = ""
        self._lock = threading.Lock()

    def garble(self, operations, kind, *, times, done=True):
        with self._lock:
            self.operations, self.kind = frozenset(operations), kind
            self.left, self.done = times, done

    def stop(self):
        self.left = 0

    def takes(self, operation):
        with self._lock:
            wanted = "*" in self.operations or operation in self.operations
            if not wanted or self.left <= 0:
                return None
            self.left -= 1
            self.garbled += 1
            return KINDS[self.kind]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._send(Told(LOGIN, PAGE))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.headers.get("X-Amz-Target", "").partition(".")[2]
        if not operation:
            operation = parse_qs(body.decode()).get("Action", [""])[0]
        garble = self.server.garbler.takes(operation)
        status, kind, answer = 200, JSON if self.headers.get("X-Amz-Target") else XML, b"{}"
        if garble is None or self.server.garbler.done:
            status, kind, answer = self._forward(body)
        told = Told(answer, kind, status) if garble is None else garble(answer)
        self._send(told, kind)

    def _forward(self, body):
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in {"connection", "content-length"}
            }
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type"), answer.read()
        finally:
            connection.close()

    def _send(self, told, kind=PAGE):
        try:
            self.send_response(told.status)
            self.send_header("Content-Type", told.kind or kind)
            self.send_header("Content-Length", str(len(told.body)))
            if told.location:
                self.send_header("Location", told.location)
            self.end_headers()
            self.wfile.write(told.body)
        except OSError:
            self.close_connection = True  # nobody listens any more


@contextmanager
def garbling(target):
    """A proxy in front of this address: ``with garbling(emulator.url) as garbler``."""
    with http_server(_Handler) as server:
        server.target = urlsplit(target).netloc
        server.garbler = garbler = Garbler()
        garbler.url = server.url
        yield garbler

"""Stub worker: a simulated render service with the onestep protocol.

The videos of the stub worker are MP4 files without content. Environment variables control its
behaviour; times are in seconds, sizes in bytes.

``CLOUDBURST_HOST``, ``CLOUDBURST_PORT``
    Address and port at which the stub worker listens.
``AUTHENTICATION_KEY``
    Key that callers must send in ``X-Authentication-Key``; no key is needed by default.
``STUB_BOOT_SECONDS``
    Time until the stub worker listens.
``STUB_NEVER_HEALTHY``
    If set and not ``0``, the stub worker answers every health check with 503.
``STUB_GENERATE_SECONDS``
    Time to render a video: a number, or a JSON object with a number for each pattern of names of
    output files, such as ``{"scene_*.mp4": 3, "*": 1}``.
``STUB_READ_BYTES_PER_SECOND``, ``STUB_WRITE_BYTES_PER_SECOND``
    Rate limits of each connection; no limit by default.
``STUB_VIDEO_BYTES``
    Size of a video; 100000 by default.
``STUB_FAIL_CREATE``, ``STUB_CRASH_CREATE``
    Requests for a video that are answered with 500, and requests at which the process exits. Each
    is a list such as ``0,2``: the first and the third request. ``*`` means all requests.
``STUB_FAIL_DOWNLOAD``, ``STUB_CUT_DOWNLOAD``
    Downloads that are answered with 500, and downloads whose connection is closed in the middle.
    Each is a list such as ``0,2``: the first and the third download. ``*`` means all downloads.
``STUB_TERM``
    Reaction to SIGTERM: ``ignore``, ``drain`` (finish the current videos and exit), or ``die``
    (exit at once). By default, the stub worker does not change how its process handles SIGTERM.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hmac
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, cast

MAX_STEP_BYTES = 64 * 1024
# Reads or writes per second on a connection with a rate limit.
STEPS_PER_SECOND = 20
CRASH_EXIT_CODE = 70


class Behaviour:
    """Settings of the stub worker, read from environment variables."""

    def __init__(self) -> None:
        env = os.environ.get
        self.host = env("CLOUDBURST_HOST", "127.0.0.1")
        self.port = int(env("CLOUDBURST_PORT", "5000"))
        self.key = env("AUTHENTICATION_KEY", "")
        self.boot = float(env("STUB_BOOT_SECONDS", "0"))
        self.never_healthy = env("STUB_NEVER_HEALTHY", "") not in {"", "0"}
        self.seconds: Any = json.loads(env("STUB_GENERATE_SECONDS", "0"))
        self.read_rate = float(env("STUB_READ_BYTES_PER_SECOND", "0"))
        self.write_rate = float(env("STUB_WRITE_BYTES_PER_SECOND", "0"))
        self.video_bytes = int(env("STUB_VIDEO_BYTES", "100000"))
        self.term = env("STUB_TERM", "")

    def generate_seconds(self, name: str) -> float:
        """Return the seconds to render a video, by the name of its output file."""
        seconds: Any = self.seconds
        if isinstance(seconds, dict):
            table = cast("dict[str, float]", seconds)
            seconds = next((s for p, s in table.items() if fnmatch.fnmatch(name, p)), 0)
        return float(seconds)


class Worker:
    """State of the stub worker that all connections share."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.videos: dict[str, bytes] = {}
        self.encoder = threading.Lock()
        self.busy = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def next_call_fails(self, kind: str) -> bool:
        """Count a call of a kind such as ``FAIL_CREATE``, and return whether the call must fail."""
        wanted = os.environ.get(f"STUB_{kind}", "")
        with self._lock:
            number = self._counts.get(kind, 0)
            self._counts[kind] = number + 1
        return wanted == "*" or str(number) in wanted.split(",")

    def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Simulate the rendering of a video, and return the content of the response."""
        name = str(request.get("output_filename") or "output.mp4")
        with self._lock:
            self.busy += 1
        try:
            with self.encoder:
                say(f"{name}: rendering")
                time.sleep(self.behaviour.generate_seconds(name))
        finally:
            with self._lock:
                self.busy -= 1
        ident = str(uuid.uuid4())
        self.videos[ident] = ident.encode()
        say(f"{name}: done as {ident}")
        return {
            "success": True,
            "file_id": ident,
            "download_endpoint": f"/download/{ident}",
            "filename": name,
            "size": self.behaviour.video_bytes,
        }


class Handler(BaseHTTPRequestHandler):
    """Handler of the HTTP requests on one connection."""

    protocol_version = "HTTP/1.1"
    worker: Worker

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Suppress the log lines of the HTTP server."""

    def do_GET(self) -> None:
        """Answer health checks, downloads and requests for cleanup."""
        if self.path == "/health":
            self._health()
        elif not self._admitted():
            self._answer(401, {"error": "Invalid authentication key"})
        elif self.path.startswith("/download/"):
            self._download(self.path.rpartition("/")[2])
        elif self.path == "/cleanup":
            self._answer(200, {"cleaned": 0, "active_files": len(self.worker.videos)})
        else:
            self._answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        """Answer a request for a video, after a simulated rendering."""
        worker = self.worker
        body = self._body()  # also of a refused request: the caller reads no answer before its end
        if not self._admitted():
            return self._answer(401, {"error": "Invalid authentication key"})
        if self.path != "/create_video_onestep":
            return self._answer(404, {"error": "not found"})
        if worker.next_call_fails("CRASH_CREATE"):
            say("crashing")
            os._exit(CRASH_EXIT_CODE)
        if worker.next_call_fails("FAIL_CREATE"):
            say("failing to render")
            return self._answer(500, {"error": "ffmpeg failed"})
        try:
            request = json.loads(body)
            for name in ("input_image", "input_audio"):
                base64.b64decode(request[name], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error) as exc:
            return self._answer(400, {"error": f"bad input: {exc!r}"})
        del body
        return self._answer(200, worker.make(request))

    def _health(self) -> None:
        if self.worker.behaviour.never_healthy:
            return self._answer(503, {"status": "starting"})
        mode = "secure" if self.worker.behaviour.key else "default"
        facts = {"status": "healthy", "ffmpeg_version": "none", "authentication": {"mode": mode}}
        return self._answer(200, facts)

    def _admitted(self) -> bool:
        key = self.worker.behaviour.key
        sent = self.headers.get("X-Authentication-Key") or ""
        return not key or hmac.compare_digest(sent.encode(), key.encode())

    def _download(self, ident: str) -> None:
        if ident not in self.worker.videos:
            return self._answer(404, {"error": "File not found"})
        if self.worker.next_call_fails("FAIL_DOWNLOAD"):
            return self._answer(500, {"error": "disk failed"})
        size = self.worker.behaviour.video_bytes
        cut = size // 2 if self.worker.next_call_fails("CUT_DOWNLOAD") else size
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self._send_paced(ident.encode(), size, cut)
        self.close_connection = self.close_connection or cut < size
        return None

    def _send_paced(self, seed: bytes, size: int, cut: int) -> None:
        pace, sent, head = Pace(self.worker.behaviour.write_rate), 0, video_head(size)
        block = seed * (MAX_STEP_BYTES // len(seed))
        while sent < cut:
            chunk = head[sent:] or block
            chunk = chunk[: min(cut - sent, pace.step)]
            sent += len(chunk)
            pace.wait(sent)  # before the write, because written data has arrived
            self.wfile.write(chunk)
        self.wfile.flush()

    def _body(self) -> bytes:
        pace, parts, got = Pace(self.worker.behaviour.read_rate), list[bytes](), 0
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            part = self.rfile.read(min(pace.step, left))
            if not part:
                raise ConnectionError("the body ended early")
            parts.append(part)
            got += len(part)
            left -= len(part)
            pace.wait(got)
        return b"".join(parts)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Pace:
    """Rate limit of a connection, in bytes per second; 0 means no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began = time.monotonic()
        self.step = (
            max(1, min(MAX_STEP_BYTES, int(rate / STEPS_PER_SECOND))) if rate else MAX_STEP_BYTES
        )
        """Maximum number of bytes per read or write."""

    def wait(self, moved: int) -> None:
        """Wait until the rate limit allows a total of ``moved`` bytes since the start."""
        if self._rate:
            time.sleep(max(0.0, moved / self._rate - (time.monotonic() - self._began)))


class Server(ThreadingMixIn, TCPServer):
    """TCP server with a thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors that occur while a connection is handled."""


def video_head(size: int) -> bytes:
    """Return the start of an MP4 file of ``size`` bytes: its boxes up to the media data."""
    index = box(b"mvhd", bytes(12) + (1000).to_bytes(4) + (1000).to_bytes(4) + bytes(80))
    head = box(b"ftyp", b"isom" + bytes(4) + b"isom") + box(b"moov", index)
    return head + (size - len(head)).to_bytes(4) + b"mdat"


def box(kind: bytes, content: bytes) -> bytes:
    """Return an MP4 box, the unit of an MP4 file: ISO/IEC 14496-12, 4.2."""
    return (len(content) + 8).to_bytes(4) + kind + content


def say(text: str) -> None:
    """Write a log line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def obey_sigterm(worker: Worker) -> None:
    """Handle SIGTERM as configured by ``STUB_TERM``."""

    def drain() -> None:
        while worker.busy:
            time.sleep(0.02)
        say("drained")
        os._exit(0)

    def on_sigterm(*_: object) -> None:
        say("SIGTERM")
        if worker.behaviour.term == "drain":
            threading.Thread(target=drain, daemon=True).start()
        elif worker.behaviour.term == "die":
            os._exit(128 + signal.SIGTERM)

    if worker.behaviour.term:
        signal.signal(signal.SIGTERM, on_sigterm)


def main() -> int:
    """Run the stub worker until it is killed."""
    worker = Worker()
    obey_sigterm(worker)
    say(f"starting on {worker.behaviour.host}:{worker.behaviour.port}")
    time.sleep(worker.behaviour.boot)
    handler = type("WorkerHandler", (Handler,), {"worker": worker})
    with Server((worker.behaviour.host, worker.behaviour.port), handler) as server:
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        say("listening")
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

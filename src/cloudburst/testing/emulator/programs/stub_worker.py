"""A worker that only pretends: it speaks onestep and its videos are empty boxes of the right shape.

The environment says how it behaves (seconds and bytes; a number for a scene may be given by name,
as ``{"scene_*.mp4": 3, "*": 1}``):

``CLOUDBURST_HOST``, ``CLOUDBURST_PORT``
    Where it listens.
``AUTHENTICATION_KEY``
    What callers must send in ``X-Authentication-Key``.
``STUB_BOOT_SECONDS``
    Until it listens at all.
``STUB_NEVER_HEALTHY``
    It listens, and says 503 to everybody who asks how it is.
``STUB_GENERATE_SECONDS``
    Of a video; a number or an object by names of output files.
``STUB_GENERATE_SECONDS_PER_MB``
    The same, for each million bytes of the body.
``STUB_ENCODERS``
    Videos that it makes at once (1); more of them wait.
``STUB_READ_BYTES_PER_SECOND``, ``STUB_WRITE_BYTES_PER_SECOND``
    For each connection; no limit.
``STUB_VIDEO_BYTES``
    Of a video (100000).
``STUB_FAIL_CREATE``, ``STUB_CRASH_CREATE``, ``STUB_FAIL_DOWNLOAD``, ``STUB_CUT_DOWNLOAD``
    Which calls go wrong, from 0: ``0,2`` or ``*``. They answer 500, end the process, answer 500,
    and end in the middle.
``STUB_TERM``
    At SIGTERM: ``ignore`` it, ``drain`` (finish what is being made), or ``die``; else as the
    process was started.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
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

BLOCK = 64 * 1024
STEPS = 20
"""Of a connection that is paced, in a second."""
CRASH_CODE = 70


class Behaviour:
    """What the environment says."""

    def __init__(self) -> None:
        env = os.environ.get
        self.host = env("CLOUDBURST_HOST", "127.0.0.1")
        self.port = int(env("CLOUDBURST_PORT", "5000"))
        self.key = env("AUTHENTICATION_KEY", "")
        self.boot = float(env("STUB_BOOT_SECONDS", "0"))
        self.never_healthy = env("STUB_NEVER_HEALTHY", "") not in {"", "0"}
        self.seconds: Any = json.loads(env("STUB_GENERATE_SECONDS", "0"))
        self.seconds_per_mb = float(env("STUB_GENERATE_SECONDS_PER_MB", "0"))
        self.encoders = int(env("STUB_ENCODERS", "1"))
        self.read_rate = float(env("STUB_READ_BYTES_PER_SECOND", "0"))
        self.write_rate = float(env("STUB_WRITE_BYTES_PER_SECOND", "0"))
        self.video_bytes = int(env("STUB_VIDEO_BYTES", "100000"))
        self.term = env("STUB_TERM", "")

    def generate_seconds(self, name: str, size: int) -> float:
        """How long a video takes."""
        seconds: Any = self.seconds
        if isinstance(seconds, dict):
            table = cast("dict[str, float]", seconds)
            seconds = next((s for p, s in table.items() if fnmatch.fnmatch(name, p)), 0)
        return float(seconds) + self.seconds_per_mb * size / 1e6


class Worker:
    """What all connections share."""

    def __init__(self) -> None:
        self.is_ = Behaviour()
        self.videos: dict[str, bytes] = {}
        self.encoders = threading.Semaphore(self.is_.encoders)
        self.busy = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def goes_wrong(self, what: str) -> bool:
        """Whether this is one of the calls that shall go wrong; each is counted."""
        wanted = os.environ.get(f"STUB_{what}", "")
        with self._lock:
            number = self._counts.get(what, 0)
            self._counts[what] = number + 1
        return wanted == "*" or str(number) in wanted.split(",")

    def make(self, request: dict[str, Any], size: int) -> dict[str, Any]:
        """Pretend to make a video."""
        name = str(request.get("output_filename") or "output.mp4")
        with self._lock:
            self.busy += 1
        try:
            with self.encoders:
                say(f"{name}: rendering")
                time.sleep(self.is_.generate_seconds(name, size))
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
            "size": self.is_.video_bytes,
            "scenario": scenario(request),
        }


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    worker: Worker

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say only what a real worker would find worth it."""

    def do_GET(self) -> None:
        """Health, downloads and cleanup."""
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
        """Make a video."""
        worker = self.worker
        size, body = self._body()
        if self.path != "/create_video_onestep":
            return self._answer(404, {"error": "not found"})
        if not self._admitted():
            return self._answer(401, {"error": "Invalid authentication key"})
        if worker.goes_wrong("CRASH_CREATE"):
            say("crashing")
            os._exit(CRASH_CODE)
        if worker.goes_wrong("FAIL_CREATE"):
            say("refusing to render")
            return self._answer(500, {"error": "ffmpeg failed"})
        try:
            request = json.loads(body)
            for name in ("input_image", "input_audio"):
                base64.b64decode(request[name], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error) as exc:
            return self._answer(400, {"error": f"bad input: {exc!r}"})
        del body
        return self._answer(200, worker.make(request, size))

    def _health(self) -> None:
        if self.worker.is_.never_healthy:
            return self._answer(503, {"status": "starting"})
        mode = "secure" if self.worker.is_.key else "default"
        facts = {"status": "healthy", "ffmpeg_version": "none", "authentication": {"mode": mode}}
        return self._answer(200, facts)

    def _admitted(self) -> bool:
        key = self.worker.is_.key
        return not key or self.headers.get("X-Authentication-Key") == key

    def _download(self, ident: str) -> None:
        if ident not in self.worker.videos:
            return self._answer(404, {"error": "File not found"})
        if self.worker.goes_wrong("FAIL_DOWNLOAD"):
            return self._answer(500, {"error": "disk failed"})
        size = self.worker.is_.video_bytes
        cut = size // 2 if self.worker.goes_wrong("CUT_DOWNLOAD") else size
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self._send_paced(ident.encode(), size, cut)
        self.close_connection = self.close_connection or cut < size
        return None

    def _send_paced(self, seed: bytes, size: int, cut: int) -> None:
        pace, sent, head = Pace(self.worker.is_.write_rate), 0, video_head(size)
        block = seed * (BLOCK // len(seed))
        while sent < cut:
            chunk = head[sent:] or block
            chunk = chunk[: min(cut - sent, pace.step)]
            sent += len(chunk)
            pace.wait(sent)  # first: what is written has arrived
            self.wfile.write(chunk)
        self.wfile.flush()

    def _body(self) -> tuple[int, bytes]:
        pace, parts, got = Pace(self.worker.is_.read_rate), list[bytes](), 0
        left = int(self.headers.get("Content-Length") or 0)
        chunked = "chunked" in (self.headers.get("Transfer-Encoding") or "").lower()
        while True:
            if chunked and not left:
                left = int(self.rfile.readline().partition(b";")[0] or b"0", 16)
                if not left:
                    self.rfile.readline()
                    break
            elif not left:
                break
            part = self.rfile.read(min(pace.step, left))
            if not part:
                raise ConnectionError("the body ended early")
            parts.append(part)
            got += len(part)
            left -= len(part)
            pace.wait(got)
            if chunked and not left:
                self.rfile.readline()
        return got, b"".join(parts)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Pace:
    """Holds a connection to so many bytes a second; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began = time.monotonic()
        self.step = max(1, min(BLOCK, int(rate / STEPS))) if rate else BLOCK
        """Bytes to move at once."""

    def wait(self, moved: int) -> None:
        """Until so many bytes may have moved."""
        if self._rate:
            time.sleep(max(0.0, moved / self._rate - (time.monotonic() - self._began)))


class Server(ThreadingMixIn, TCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers come and go."""


def video_head(size: int) -> bytes:
    """The boxes of an MP4 of so many bytes up to where its pictures would be."""
    index = box(b"mvhd", bytes(12) + (1000).to_bytes(4) + (1000).to_bytes(4) + bytes(80))
    head = box(b"ftyp", b"isom" + bytes(4) + b"isom") + box(b"moov", index)
    return head + (size - len(head)).to_bytes(4) + b"mdat"


def box(kind: bytes, content: bytes) -> bytes:
    """A box of an MP4: ISO/IEC 14496-12, 4.2."""
    return (len(content) + 8).to_bytes(4) + kind + content


def scenario(request: dict[str, Any]) -> str:
    """What the public image calls it."""
    names = {(True, True): "full_featured", (True, False): "subtitles_only"}
    names |= {(False, True): "effects_only", (False, False): "baseline"}
    return names[bool(request.get("subtitle")), bool(request.get("effects"))]


def say(text: str) -> None:
    """A line of the log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def obey_sigterm(worker: Worker) -> None:
    """Handle SIGTERM in the way that was asked for."""

    def drain() -> None:
        while worker.busy:
            time.sleep(0.02)
        say("drained")
        os._exit(0)

    def told(*_: object) -> None:
        say("SIGTERM")
        if worker.is_.term == "drain":
            threading.Thread(target=drain, daemon=True).start()
        elif worker.is_.term == "die":
            os._exit(128 + signal.SIGTERM)

    if worker.is_.term:
        signal.signal(signal.SIGTERM, told)


def main() -> int:
    """Serve until killed."""
    worker = Worker()
    obey_sigterm(worker)
    say(f"starting on {worker.is_.host}:{worker.is_.port}")
    time.sleep(worker.is_.boot)
    handler = type("WorkerHandler", (Handler,), {"worker": worker})
    with Server((worker.is_.host, worker.is_.port), handler) as server:
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        say("listening")
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

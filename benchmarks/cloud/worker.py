"""Stub worker of the emulator that takes as long as a scene's audio and records its events.

It is started as ``python -I -S worker.py FOLDER``, where FOLDER contains ``stub_worker.py``. Each
line of the file BENCH_EVENTS is a time in seconds since the epoch and the name of an event:
``listening``, ``requested`` (the head of a request for a video was read) or ``sent`` (the last byte
of a video was written). The events have no name of a scene, because our client does not send it.
"""

from __future__ import annotations

import base64
import importlib
import io
import os
import sys
import time
import wave
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])
stub: Any = importlib.import_module("stub_worker")
EVENTS = Path(os.environ["BENCH_EVENTS"])
say = stub.say


def record(event: str, at: float | None = None) -> None:
    with EVENTS.open("a", encoding="ascii") as file:
        file.write(f"{time.time() if at is None else at} {event}\n")


def say_and_record(text: str) -> None:
    if text == "listening":
        record(text)
    say(text)


def process_age() -> float:
    """Return the seconds since this process was forked: the 22nd field of ``/proc/self/stat``."""
    words = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")


class TimedWriter:
    """File with the time of the last write to it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.at = 0.0

    def write(self, data: bytes) -> int:
        written: int = self._file.write(data)
        self.at = time.time()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Handler(stub.Handler):  # type: ignore[misc]
    wfile: Any

    def setup(self) -> None:
        super().setup()
        self.wfile = TimedWriter(self.wfile)

    def do_POST(self) -> None:  # noqa: N802 - named by http.server
        record("requested")
        super().do_POST()

    def do_GET(self) -> None:  # noqa: N802
        super().do_GET()
        if self.path.startswith("/download/"):
            record("sent", self.wfile.at)


class Worker(stub.Worker):  # type: ignore[misc]
    def make(self, request: dict[str, Any], size: int) -> dict[str, Any]:
        with wave.open(io.BytesIO(base64.b64decode(request["input_audio"]))) as audio:
            # The stub passes this name to `Behaviour.generate_seconds`.
            request["output_filename"] = str(audio.getnframes() / audio.getframerate())
        response: dict[str, Any] = super().make(request, size)
        return response


class Behaviour(stub.Behaviour):  # type: ignore[misc]
    boot: float

    def __init__(self) -> None:
        super().__init__()
        self.boot = max(0.0, self.boot - process_age())  # the start of Python is part of the boot

    def generate_seconds(self, name: str, size: int) -> float:  # noqa: ARG002
        return float(name)


stub.say, stub.Handler, stub.Worker, stub.Behaviour = say_and_record, Handler, Worker, Behaviour
sys.exit(stub.main())

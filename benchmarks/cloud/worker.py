"""The emulator's small worker, which here takes as long as a scene's sound, and takes notes.

Started as ``python -I -S worker.py FOLDER``, where FOLDER has ``stub_worker.py``. Each line of the
file BENCH_NOTES is a time in seconds since the epoch and a word: ``listening``, ``asked`` (the
head of a request for a video was read) and ``sent`` (the last byte of a video was written). It
cannot go by names: our client does not tell them.
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
NOTES = Path(os.environ["BENCH_NOTES"])
say = stub.say


def note(word: str, at: float | None = None) -> None:
    with NOTES.open("a", encoding="ascii") as file:
        file.write(f"{time.time() if at is None else at} {word}\n")


def said(text: str) -> None:
    if text == "listening":
        note(text)
    say(text)


def age() -> float:
    """Seconds since this process was forked: the 22nd word of ``/proc/self/stat``."""
    words = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")


class Stamped:
    """A file that knows when something was last written to it."""

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
        self.wfile = Stamped(self.wfile)

    def do_POST(self) -> None:  # noqa: N802 - http.server's way
        note("asked")
        super().do_POST()

    def do_GET(self) -> None:  # noqa: N802
        super().do_GET()
        if self.path.startswith("/download/"):
            note("sent", self.wfile.at)


class Worker(stub.Worker):  # type: ignore[misc]
    def make(self, request: dict[str, Any], size: int) -> dict[str, Any]:
        with wave.open(io.BytesIO(base64.b64decode(request["input_audio"]))) as sound:
            request["output_filename"] = str(sound.getnframes() / sound.getframerate())
        made: dict[str, Any] = super().make(request, size)
        return made


class Behaviour(stub.Behaviour):  # type: ignore[misc]
    boot: float

    def __init__(self) -> None:
        super().__init__()
        self.boot = max(0.0, self.boot - age())  # that Python starts is part of it

    def generate_seconds(self, name: str, size: int) -> float:  # noqa: ARG002
        return float(name)


stub.say, stub.Handler, stub.Worker, stub.Behaviour = said, Handler, Worker, Behaviour
sys.exit(stub.main())

"""Process that shares the encoding of a video with a test: ``assistant.py FOLDER MOMENT NUMBER``.

It kills itself when it reaches a moment for the given number of times: ``open`` (a claim is opened,
not locked), ``locked``, ``encoding`` (one frame is encoded), ``encoded``, ``part`` (a part of
a result is written), ``stored`` or ``closed`` (the claim is released). With ``wait``, it stops with
a claim until it is killed. With ``never``, it assists to the end and appends the numbers of the
GOPs that it has encoded to the file ``encoded`` in the folder.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudburst.renderer import shared_encoding
from cloudburst.renderer.encoder import EncodedPicture
from cloudburst.renderer.gops import Gop, Progress, divide
from cloudburst.renderer.shared_encoding import GopEncoding, GopPlan

MOMENTS = ("open", "locked", "encoding", "encoded", "part", "stored", "closed")
GOP_FRAMES = 10


class RandomSource:
    """Source whose pictures are random bytes that depend on the GOP and the quantizer only."""

    def __init__(self, hook: Callable[[str], None] = lambda _moment: None) -> None:
        self._hook = hook
        self.encoded: list[int] = []

    def gops(self, frames: int) -> list[Gop]:
        return divide(frames, GOP_FRAMES)

    def encode(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
        rng = random.Random(f"{gop.number} {quantizer}")
        pictures = []
        for position in range(gop.frames):
            pictures.append(EncodedPicture(rng.randbytes(rng.randrange(1, 40_000)), position))
            progress(position + 1)
            self._hook("encoding")
        self.encoded.append(gop.number)
        self._hook("encoded")
        return pictures


class Killer:
    """Hook that kills this process at a moment."""

    def __init__(self, moment: str, number: int) -> None:
        self._moment = moment
        self._left = number

    def __call__(self, moment: str) -> None:
        if self._moment == "wait" and moment == "locked":
            sys.stdout.write("claimed\n")
            sys.stdout.flush()
            time.sleep(60)
        if moment == self._moment:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)

    def after(self, function: Callable[..., Any], moment: str) -> Callable[..., Any]:
        """Return the function with this hook after each call."""

        def call(*args: Any) -> Any:
            result = function(*args)
            self(moment)
            return result

        return call


def main(folder: Path, moment: str, number: int) -> None:
    killer = Killer(moment, number)
    if moment == "open":
        shared_encoding.os.open = killer.after(os.open, "open")
    if moment == "closed":
        shared_encoding.os.close = killer.after(os.close, "closed")
    fcntl.flock = killer.after(fcntl.flock, "locked")
    if moment == "part":
        shared_encoding._PICTURE = PartWriter(killer)
    shared_encoding.GopExchange.store = killer.after(shared_encoding.GopExchange.store, "stored")
    plan, source = GopPlan.read(folder), RandomSource(killer)
    encoding = GopEncoding(source, plan, plan.exchange(folder), lambda _frames: None)
    encoding.assist(lambda: True)
    with (folder / "encoded").open("a") as file:
        file.write("".join(f"{gop}\n" for gop in source.encoded))


class PartWriter:
    """Format of the pictures in a result that kills this process in the middle of the list."""

    def __init__(self, killer: Killer) -> None:
        self._format = shared_encoding._PICTURE
        self._killer = killer

    def pack(self, size: int, position: int) -> bytes:
        if position == 1:
            self._killer("part")
        return self._format.pack(size, position)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

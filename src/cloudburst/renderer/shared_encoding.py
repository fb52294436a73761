"""Encoding of the GOPs of one video by several processes, which share a folder.

A process claims a GOP by locking a file, and stores the result in another file. The kernel releases
the lock of a process that has ended. The video does not depend on the number of processes, because
the bytes of a GOP depend on nothing but the job and the quantizer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from cloudburst.renderer.encoder import EncodedPicture
from cloudburst.renderer.gops import Gop, GopSource, split

# Format of the number of pictures in a result.
_COUNT = struct.Struct("<I")
# Format of size and position of each picture in a result; the data of all pictures follow.
_PICTURE = struct.Struct("<II")

# Name of the plan in a job's folder.
PLAN_FILE = "gops.json"
# Smallest number of GOPs that are shared. Another process begins half a second later and takes as
# long to start as the encode of a GOP, so that fewer are not done sooner where two processes share
# a core.
MIN_SHARED_GOPS = 6
# Seconds between two looks for a GOP that another process encodes.
_POLL_INTERVAL = 0.02


class GopExchange:
    """Files in a folder through which processes share the GOPs of one video."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._folder = folder
        self._prefix = prefix

    @contextmanager
    def claimed(self, index: int) -> Generator[bool]:
        """Claim a GOP for the block; false if it is finished or claimed by another process."""
        claim = os.open(self._path(index, "claim"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield not self._result(index).exists()
        finally:
            os.close(claim)

    def store(self, index: int, pictures: Sequence[EncodedPicture]) -> None:
        """Store the pictures of a GOP. Other processes find all of them or nothing."""
        partial = self._path(index, "part")
        with partial.open("wb") as file:
            file.write(_COUNT.pack(len(pictures)))
            for picture in pictures:
                file.write(_PICTURE.pack(len(picture.data), picture.position))
            for picture in pictures:
                file.write(picture.data)
        partial.replace(self._result(index))

    def finish(self, index: int) -> None:
        """Record that a GOP is finished without storing it."""
        self._result(index).touch()

    def take(self, index: int) -> list[EncodedPicture] | None:
        """Return the stored pictures of a GOP once, or ``None``; their space is freed."""
        path = self._result(index)
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            if not (head := file.read(_COUNT.size)):
                return None  # taken before, or finished without being stored
            (count,) = _COUNT.unpack(head)
            heads = [_PICTURE.unpack(file.read(_PICTURE.size)) for _ in range(count)]
            pictures = [EncodedPicture(file.read(size), position) for size, position in heads]
            file.truncate(0)  # the name stays, so that no process encodes the GOP again
            return pictures
        return None

    def _result(self, index: int) -> Path:
        return self._path(index, "gop")

    def _path(self, index: int, kind: str) -> Path:
        return self._folder / f"{self._prefix}{index}.{kind}"


class GopPlan(NamedTuple):
    """Description of the GOPs of a video."""

    frames: int
    quantizer: int
    head: int = 0
    """Number of frames at the start after which a group of pictures begins."""
    tail: int = 0
    """Number of frames at the end before which a group of pictures ends."""

    def gops(self, source: GopSource) -> list[Gop]:
        """Return the GOPs of the video."""
        return split(source.gops(self.frames), (self.head, self.frames - self.tail))

    def exchange(self, folder: Path) -> GopExchange:
        """Return the exchange of these GOPs in a job's folder."""
        return GopExchange(folder, f"gops-{self.quantizer}-")

    def write(self, folder: Path) -> None:
        """Write the plan, in place of an earlier one."""
        partial = folder / f"{PLAN_FILE}.part"
        partial.write_text(json.dumps(self._asdict()))
        partial.replace(folder / PLAN_FILE)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the plan that the render process has written."""
        return cls(**json.loads((folder / PLAN_FILE).read_bytes()))

    def is_current(self, folder: Path) -> bool:
        """Return whether the render process still works by this plan."""
        return self.read(folder) == self


class GopEncoding:
    """Encoding of all GOPs of a video, alone without an ``exchange``.

    ``progress`` gets the number of encoded frames known to this process.
    """

    def __init__(
        self,
        source: GopSource,
        plan: GopPlan,
        exchange: GopExchange | None,
        progress: Callable[[int], None],
    ) -> None:
        self._source = source
        self.quantizer = plan.quantizer
        self._gops = plan.gops(source)
        self._exchange = exchange
        self._progress = progress
        self._done: dict[int, int] = {}
        self._frames = 0

    def in_order(self) -> Iterator[tuple[Gop, list[EncodedPicture]]]:
        """Yield each GOP with its pictures, from the first to the last."""
        for gop in self._gops:
            yield gop, self._encode(gop) if self._exchange is None else self._get(gop)

    def assist(self, is_needed: Callable[[], bool]) -> None:
        """Encode and store GOPs that no other process has claimed, while ``is_needed``."""
        for gop in self._gops:
            if not is_needed():
                return
            self._encode_and_store(gop)

    def _get(self, wanted: Gop) -> list[EncodedPicture]:
        assert self._exchange is not None
        others = iter(self._gops[wanted.number + 1 :])
        while True:
            with self._exchange.claimed(wanted.number) as mine:
                if mine:
                    pictures = self._encode(wanted)
                    self._exchange.finish(wanted.number)
                    return pictures
            if (stored := self._exchange.take(wanted.number)) is not None:
                self._count(wanted, wanted.frames)
                return stored
            if not any(self._encode_and_store(other) for other in others):
                time.sleep(_POLL_INTERVAL)

    def _encode_and_store(self, gop: Gop) -> bool:
        assert self._exchange is not None
        with self._exchange.claimed(gop.number) as mine:
            if mine:
                self._exchange.store(gop.number, self._encode(gop))
        return mine

    def _encode(self, gop: Gop) -> list[EncodedPicture]:
        return self._source.encode(gop, self.quantizer, lambda frames: self._count(gop, frames))

    def _count(self, gop: Gop, frames: int) -> None:
        self._frames += frames - self._done.get(gop.number, 0)
        self._done[gop.number] = frames
        self._progress(self._frames)

"""Remote files in memory: a store that keeps the promises of `ports.FolderReader`."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.locations import HttpsUrl, RemoteLocation, S3Object, S3Prefix
from cloudburst.models.remote_file import RemoteFile
from cloudburst.ports.remote_files import RangeAnswer

BUCKET = "bucket"


@dataclass
class RemoteStore:
    """Objects in S3 and files on web servers."""

    files: dict[RemoteLocation, bytes] = field(default_factory=dict)
    broken: dict[RemoteLocation, Exception] = field(default_factory=dict)
    """Errors of files that cannot be read."""
    without_size: bool = False
    """True if the servers do not report the size of files."""
    only_starts: bool = False
    """True if the servers ignore ranges, and send the start of a file only."""
    latency: float = 0.0
    ranges: list[tuple[RemoteLocation, int, int]] = field(default_factory=list)
    """All requests."""
    at_once: Counter[str] = field(default_factory=Counter)
    """Number of requests that are made now, and the most that were made at once."""
    opened: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, key: str, data: bytes) -> S3Object:
        location = S3Object(BUCKET, key)
        self.files[location] = data
        return location

    def put_url(self, url: str, data: bytes) -> HttpsUrl:
        location = HttpsUrl(url)
        self.files[location] = data
        return location

    def inputs(self) -> RemoteInputs:
        return RemoteInputs(open_s3=lambda: self.open("s3"), open_https=lambda: self.open("https"))

    @asynccontextmanager
    async def open(self, kind: str) -> AsyncGenerator[RemoteStore]:
        self.opened[kind] += 1
        try:
            yield self
        finally:
            self.opened[kind] -= 1

    async def read(self, location: RemoteLocation, start: int, end: int) -> RangeAnswer:
        self.ranges.append((location, start, end))
        self.at_once["now"] += 1
        self.at_once["most"] = max(self.at_once["most"], self.at_once["now"])
        try:
            await anyio.sleep(self.latency)
        finally:
            self.at_once["now"] -= 1
        if location in self.broken:
            raise self.broken[location]
        if location not in self.files:
            raise InvalidInputError("no such file")
        data = self.files[location]
        file = RemoteFile(
            location=location,
            size=None if self.without_size else len(data),
            etag=f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"',
        )
        return RangeAnswer(data=b"" if start and self.only_starts else data[start:end], file=file)

    async def list_names(self, folder: S3Prefix) -> Sequence[str]:
        keys = [
            at.key.removeprefix(folder.prefix)
            for at in self.files
            if isinstance(at, S3Object)
            and at.bucket == folder.bucket
            and at.key.startswith(folder.prefix)
        ]
        return sorted(key for key in keys if "/" not in key)

    def bytes_of(self, location: RemoteLocation) -> int:
        """Number of bytes that were requested of a file."""
        size = len(self.files[location])
        return sum(min(end, size) - start for at, start, end in self.ranges if at == location)

    def requests_for(self, location: RemoteLocation) -> int:
        return sum(at == location for at, _, _ in self.ranges)

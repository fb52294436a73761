"""Contents on one worker: each is sent once, whoever needs it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio

from cloudburst.adapters.http.files import Content, Hashes
from cloudburst.adapters.http.line import Line, Refusal
from cloudburst.errors import UploadError
from cloudburst.models import failures

WORTH_ASKING = 256 * 1024
"""Bytes from which a file costs more than the round trip that asks whether it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of one scene."""

    scene: str
    field: str
    """``image``, ``audio``, ``subtitle`` or ``watermark``."""
    path: Path

    def error(self, message: str) -> UploadError:
        """What is wrong with it."""
        return UploadError(f"{self.field}: {message}", scene=self.scene, field=self.field)


class Uploads:
    """What one worker has, as far as we brought it there."""

    def __init__(self, line: Line, hashes: Hashes) -> None:
        self._line = line
        self._hashes = hashes
        self._parts: dict[str, Part] = {}
        self._there: set[str] = set()
        self._busy: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def bring(self, part: Part) -> tuple[str, int]:
        """The file's SHA-256 once the worker has it, and the bytes that travelled for it.

        Raises:
            UploadError: the file cannot be read, changes, or was refused.
            WorkerError: the worker is lost or wants another key.
        """
        try:
            content = await self._hashes.of(part.path)
        except OSError as exc:
            raise part.error(told_of(exc)) from exc
        self._parts[content.sha256] = part
        async with self._busy[content.sha256]:
            if content.sha256 in self._there:
                return content.sha256, 0
            sent = 0 if await self._is_there(content) else await self._send(part, content)
            self._there.add(content.sha256)
            return content.sha256, sent

    async def bring_again(self, sha256: str) -> bool:
        """Send what the worker has lost; false when it never came from here.

        Raises:
            UploadError, WorkerError: as for `bring`.
        """
        part = self._parts.get(sha256)
        if part is None:
            return False
        self._there.discard(sha256)
        found, _ = await self.bring(part)
        if found != sha256:
            raise part.error(f"{part.path} changed after it was sent")
        return True

    async def _is_there(self, content: Content) -> bool:
        if content.size < WORTH_ASKING:
            return False
        response = await self._line.ask("HEAD", _url(content), within=self._line.timeouts.call)
        return response.is_success

    async def _send(self, part: Part, content: Content) -> int:
        bodies: list[_Body] = []

        def body() -> _Body:
            bodies.append(_Body(part, content))
            return bodies[-1]

        response = await self._line.ask(
            "PUT", _url(content), content=body, headers={"Content-Length": str(content.size)}
        )
        if failures.of_status(response.status_code, on="file"):
            raise part.error(f"the worker refused {part.path}: {Refusal.of(response)}")
        return sum(body.sent for body in bodies)


class _Body:
    """A content as the body of one request; knows how much of it was taken."""

    def __init__(self, part: Part, content: Content) -> None:
        self._part = part
        self._content = content
        self._next = 0
        self.sent = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self.sent = self._next
        if self._next >= self._content.size:
            raise StopAsyncIteration
        try:
            block = await self._content.read(self._next)
        except OSError as exc:
            raise self._part.error(told_of(exc)) from exc
        self._next += len(block)
        return block


def _url(content: Content) -> str:
    return f"/files/{content.sha256}"


def told_of(exc: OSError) -> str:
    """What the system says of a file."""
    return f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)

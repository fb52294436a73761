"""A video on its way from a worker to its final name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import httpx

from cloudburst.adapters.http.line import BROKEN, Line, Refusal, UnableError, told
from cloudburst.adapters.http.part import PartFile
from cloudburst.errors import DownloadError
from cloudburst.models import failures
from cloudburst.ports import Arrived, Download, Output

BLOCK = 256 * 1024
"""Bytes that one trip to a thread writes: the trip costs about as much as writing 100 KB."""
TRIES = 5
"""Answers in a row that bring nothing new before a download is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a video lies at its worker, and what is known of it."""

    output: Output
    path: str
    """What to GET."""
    at_once: bool = True
    """Whether it must play from its first bytes on."""

    def fail(self, fault: str, cause: Exception | None = None) -> NoReturn:
        """Give the download up."""
        scene = self.output.scene
        raise DownloadError(f"the video of {scene} {fault}", scene=scene) from cause


async def fetch(
    line: Line, source: Source, to: Path, *, arrived: Arrived | None = None
) -> Download:
    """Receive a video beside its final name, verify it, tell of it, and give it that name.

    Raises:
        DownloadError: it does not arrive whole, or is not what the worker said.
        OutputWriteError: this machine cannot write it.
        WorkerError: the worker is lost or wants another key.
    """
    part = PartFile(source.output.scene, to)
    try:
        # What was damaged on the way is fetched once more: cheaper than another render.
        if await _receive(line, source, part) and (fault := await _receive(line, source, part)):
            source.fail(fault)
        return await part.commit(arrived)
    except BaseException:
        await part.discard()
        raise


async def _receive(line: Line, source: Source, part: PartFile) -> str | None:
    """Fetch it over as many connections as it takes; what is wrong with it then, if anything."""
    patience, left = line.patience(), TRIES
    output = source.output
    tag = f'"{output.sha256}"' if output.sha256 else None
    await part.open()
    while part.size < output.size:
        before, answered = part.size, False
        try:
            async with line.stream(
                source.path, silence=line.timeouts.silence, headers=_range(tag, before)
            ) as response:
                answered = True
                if output.sha256 is None and response.status_code == 200:
                    tag = _strong(response.headers.get("ETag"))
                await _take(response, source, part)
            cut: Exception = UnableError("the answer ended early")
        except BROKEN as exc:
            cut = exc
        if part.size >= output.size:
            break
        if answered:
            patience.heard()
            left = TRIES if part.size > before else left - 1
        if not left:
            source.fail(f"does not arrive beyond byte {part.size}: {told(cut)}", cut)
        await patience.bear(cut)
    return await part.fault(size=output.size, sha256=output.sha256, at_once=source.at_once)


def _range(tag: str | None, at: int) -> dict[str, str]:
    return {"Range": f"bytes={at}-", "If-Range": tag} if tag and at else {}


def _strong(tag: str | None) -> str | None:
    """A tag that says the very bytes are the same, for ``If-Range`` takes no other."""
    return tag if tag and tag.startswith('"') else None


async def _take(response: httpx.Response, source: Source, part: PartFile) -> None:
    """Write the body of an answer; what came before a cut is written too."""
    if failure := failures.of_status(response.status_code, on="video"):
        if failure is not failures.ANEW:
            source.fail(f"is not to be had: {Refusal.of(response)}")
        await part.open()
        return
    _check_tag(response, source)
    if part.size and not _continues(response, part.size):
        await part.open()
    block = bytearray()
    try:
        async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as chunks:
            async for chunk in chunks:
                block += chunk
                if part.size + len(block) > source.output.size:
                    source.fail(f"has more than the {source.output.size} bytes announced")
                if len(block) >= BLOCK:
                    await part.write(bytes(block))
                    block.clear()
    except BROKEN:
        await part.write(bytes(block))
        raise
    await part.write(bytes(block))


def _check_tag(response: httpx.Response, source: Source) -> None:
    sha256, tag = source.output.sha256, response.headers.get("ETag")
    if sha256 and tag and tag != f'"{sha256}"':
        source.fail(f"became another one at its worker: {tag}")


def _continues(response: httpx.Response, at: int) -> bool:
    said: str = response.headers.get("Content-Range", "")
    return response.status_code == 206 and said.startswith(f"bytes {at}-")

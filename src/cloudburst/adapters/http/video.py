"""A video on its way from a worker to its final name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import NoReturn, cast

import httpx

from cloudburst.adapters.http.line import BROKEN, Line, Refusal, UnableError, told
from cloudburst.adapters.http.part import PartFile
from cloudburst.errors import DownloadError
from cloudburst.ports import Download, Output

BLOCK = 256 * 1024
"""Bytes that one trip to a thread writes: the trip costs about as much as writing 100 KB."""
TRIES = 5
"""Answers in a row that bring nothing new before a download is given up."""


async def fetch(line: Line, output: Output, to: Path) -> Download:
    """Receive a video beside its final name, verify it, and give it that name.

    Raises:
        DownloadError: it does not arrive whole, or is not what the worker said.
        OutputWriteError: this machine cannot write it.
        WorkerError: the worker is lost or wants another key.
    """
    part = PartFile(output.scene, to)
    try:
        # What was damaged on the way is fetched once more: cheaper than another render.
        if await _receive(line, output, part) and (fault := await _receive(line, output, part)):
            _fail(output, fault)
        return await part.commit()
    except BaseException:
        await part.discard()
        raise


async def _receive(line: Line, output: Output, part: PartFile) -> str | None:
    """Fetch it over as many connections as it takes; what is wrong with it then, if anything."""
    patience, left = line.patience(), TRIES
    await part.open()
    while part.size < output.size:
        before, answered = part.size, False
        try:
            async with line.stream(
                f"/jobs/{output.token}/video",
                silence=line.timeouts.silence,
                headers=_range(output, before),
            ) as response:
                answered = True
                await _take(response, output, part)
            cut: Exception = UnableError("the answer ended early")
        except BROKEN as exc:
            cut = exc
        if part.size >= output.size:
            break
        if answered:
            patience.heard()
            left = TRIES if part.size > before else left - 1
        if not left:
            _fail(output, f"does not arrive beyond byte {part.size}: {told(cut)}", cut)
        await patience.bear(cut)
    return await part.fault(size=output.size, sha256=output.sha256)


def _range(output: Output, at: int) -> dict[str, str]:
    if not at or output.sha256 is None:
        return {}
    return {"Range": f"bytes={at}-", "If-Range": f'"{output.sha256}"'}


async def _take(response: httpx.Response, output: Output, part: PartFile) -> None:
    """Write the body of an answer; what came before a cut is written too."""
    if response.status_code == 416:
        await part.open()
        return
    if not response.is_success:
        _fail(output, f"is not to be had: {Refusal.of(response)}")
    _check_tag(response, output)
    if part.size and not _continues(response, part.size):
        await part.open()
    block = bytearray()
    try:
        async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as chunks:
            async for chunk in chunks:
                block += chunk
                if part.size + len(block) > output.size:
                    _fail(output, f"has more than the {output.size} bytes announced")
                if len(block) >= BLOCK:
                    await part.write(bytes(block))
                    block.clear()
    except BROKEN:
        await part.write(bytes(block))
        raise
    await part.write(bytes(block))


def _check_tag(response: httpx.Response, output: Output) -> None:
    tag = response.headers.get("ETag")
    if output.sha256 and tag and tag != f'"{output.sha256}"':
        _fail(output, f"became another one at its worker: {tag}")


def _continues(response: httpx.Response, at: int) -> bool:
    said: str = response.headers.get("Content-Range", "")
    return response.status_code == 206 and said.startswith(f"bytes {at}-")


def _fail(output: Output, fault: str, cause: Exception | None = None) -> NoReturn:
    raise DownloadError(f"the video of {output.scene} {fault}", scene=output.scene) from cause

"""Overlap of uploads and downloads with encodes, on one worker with a slow connection.

    python benchmarks/pipeline.py [--scenes 20] [--rate 10]

The real client renders on a process of the real service, with one encoder slot and a fake render
process that takes 3 s. The files and the video of a scene have 20 MB each. A proxy between client
and service passes 10 MB per second in each direction of each connection.

The encoder is busy for some share of the time between the start of the first encode and the end of
the last one. Two such shares are printed: one from the client's events, and one from the times of
the render processes, in which the time from the end of a process to the start of the next one is
idle. Exits with 1 if one of them is below 95 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskGroup
from fake_render.worker import make_scenes, one_worker, render_times

from cloudburst import Client, Limits, Report
from cloudburst.engine.cost_breakdown import covered_seconds
from cloudburst.models.events import Event, SceneEvent
from cloudburst.models.task import FoundTask, LaunchRequest, TaskId, TaskStatus
from cloudburst.ports import Backend, Launcher

RENDER_SECONDS, BYTES = 3.0, 20_000_000
GOAL = 0.95
"""Share of the time during which the encoder is busy, at least."""
BLOCK = 64 * 1024
"""Largest number of bytes that are passed at once."""
BURST = 0.02
"""Seconds by which bytes may be passed ahead of the rate."""

Span: TypeAlias = tuple[float, float]
"""Start and end of a phase, in seconds."""


class SlowProxy:
    """Proxy with a rate limit, in bytes per second, for each direction of a connection."""

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._rate = rate

    async def handle(self, client: SocketStream) -> None:
        async with (
            client,
            await anyio.connect_tcp("127.0.0.1", self._port) as server,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._pump, client, server, tasks.cancel_scope)
            tasks.start_soon(self._pump, server, client, tasks.cancel_scope)

    async def _pump(self, source: ByteStream, sink: ByteStream, scope: anyio.CancelScope) -> None:
        sent_until = 0.0  # time at which the bytes so far have passed at this rate
        try:
            while True:
                block = await source.receive(BLOCK)
                now = anyio.current_time()
                sent_until = max(sent_until, now - BURST) + len(block) / self._rate
                await anyio.sleep(max(0.0, sent_until - now))
                await sink.send(block)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()


@dataclass(frozen=True, slots=True)
class SlowLauncher:
    """Launcher whose tasks are reached through slow proxies."""

    launcher: Launcher
    tasks: TaskGroup
    rate: float
    addresses: dict[str, str]

    async def launch(self, request: LaunchRequest) -> TaskId:
        return await self.launcher.launch(request)

    async def stop(self, task: TaskId, *, reason: str) -> None:
        await self.launcher.stop(task, reason=reason)

    async def find(self, run: str) -> Sequence[FoundTask]:
        return await self.launcher.find(run)

    async def post_mortem(self, task: TaskId) -> str | None:
        return await self.launcher.post_mortem(task)

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:
        status = await self.launcher.describe(task, refresh=refresh)
        if status.address is None:
            return status
        if status.address not in self.addresses:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            proxy = SlowProxy(int(status.address.rpartition(":")[2]), self.rate)
            self.tasks.start_soon(listener.serve, proxy.handle)
            port = listener.extra(SocketAttribute.local_port)
            self.addresses[status.address] = f"http://127.0.0.1:{port}"
        return replace(status, address=self.addresses[status.address])


async def render(folder: Path, number: int, rate: float) -> tuple[Report, list[Event]]:
    scenes = await anyio.to_thread.run_sync(make_scenes, folder, number, BYTES)

    @asynccontextmanager
    async def slow_down(backend: Backend) -> AsyncGenerator[Backend]:
        async with anyio.create_task_group() as tasks:
            yield replace(backend, launcher=SlowLauncher(backend.launcher, tasks, rate, {}))
            tasks.cancel_scope.cancel()

    backend = one_worker(folder, seconds=RENDER_SECONDS, size=BYTES, wrap=slow_down)
    async with (
        Client(backend, limits=Limits(workers=1)) as client,
        client.stream(scenes, to=folder / "out") as run,
    ):
        events = [event async for event in run]
    return await run.report(), events


def phases(events: Sequence[Event]) -> tuple[dict[str, Span], dict[str, Span], dict[str, Span]]:
    """Return the spans of uploads, encodes and downloads, each by name of the scene."""
    times: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for event in events:
        if isinstance(event, SceneEvent):
            times[event.scene][event.type.removeprefix("scene.")] = event.at
    return (
        {name: (at["started"], at["uploaded"]) for name, at in times.items()},
        {name: (at["encoding"], at["encoded"]) for name, at in times.items()},
        {name: (at["encoded"], at["completed"]) for name, at in times.items()},
    )


def overlap(span: Span, others: Sequence[Span]) -> float:
    """Return the seconds of a span that at least one of the other spans covers."""
    parts = [(max(start, span[0]), min(end, span[1])) for start, end in others]
    return covered_seconds([(start, end) for start, end in parts if start < end])


def busy_share(encodes: Sequence[Span]) -> float:
    """Return the share of the time from first start to last end that the encodes cover."""
    began, ended = min(start for start, _ in encodes), max(end for _, end in encodes)
    return covered_seconds(encodes) / (ended - began)


def main() -> int:
    parser = argparse.ArgumentParser(description="Overlap of transfers with encodes.")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--rate", type=float, default=10, help="MB per second of each connection")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # keeps the measurements of the user unchanged
        folder = Path(name)
        report, events = anyio.run(render, folder, arguments.scenes, arguments.rate * 1e6)
        renders = render_times(folder)
    report.raise_for_failures()
    uploads, encodes, downloads = phases(events)
    encode_spans = list(encodes.values())
    upload_overlap = sum(overlap(span, encode_spans) for span in uploads.values())
    download_overlap = sum(overlap(span, encode_spans) for span in downloads.values())
    upload_total = sum(end - start for start, end in uploads.values())
    download_total = sum(end - start for start, end in downloads.values())
    transfer = BYTES / (arguments.rate * 1e6)
    began = min(start for start, _ in uploads.values())
    wall = max(end for _, end in downloads.values()) - began
    ideal = transfer + arguments.scenes * RENDER_SECONDS + transfer
    without_overlap = arguments.scenes * (RENDER_SECONDS + 2 * transfer)
    by_events, by_processes = busy_share(encode_spans), busy_share(renders)
    print(
        f"{arguments.scenes} scenes: upload of {BYTES / 1e6:g} MB, encode of {RENDER_SECONDS:g} s, "
        "download of the same size"
    )
    print(f"uploads    {upload_total:6.1f} s, {upload_overlap:6.1f} s of them during an encode")
    print(f"downloads  {download_total:6.1f} s, {download_overlap:6.1f} s of them during an encode")
    print(f"encoder busy: {by_events:.2%} by events, {by_processes:.2%} by render processes")
    print(
        f"wall time from the first upload {wall:.1f} s; ideal {ideal:.1f} s, "
        f"without overlap {without_overlap:.1f} s"
    )
    met = min(by_events, by_processes) >= GOAL
    print(f"goal {GOAL:.0%}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

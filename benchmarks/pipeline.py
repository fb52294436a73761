"""Whether moving files hides behind encoding: one worker, one encoder slot, a slow line.

    python benchmarks/pipeline.py [--scenes 20] [--rate 10]

The real client and the real service, as a process, with a stand-in for the render child that takes
3 s and makes 20 MB; each scene brings 20 MB. Between them is a proxy on loopback that passes 10 MB
a second and connection, in each direction. Two encoder shares are told, both from the first
encode's begin to the last one's end: by the client's events, and by the render children
themselves, which counts the way from one encode's end to the next one's begin as idle. Exits with 1
when either is below 95 %.
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
from stand_in.making import make_scenes, one_worker, spans

from cloudburst import Client, Limits, Report
from cloudburst.engine.cost_breakdown import covered_seconds
from cloudburst.models.events import Event, SceneEvent
from cloudburst.models.task import FoundTask, LaunchRequest, TaskId, TaskStatus
from cloudburst.ports import Backend, Launcher

SECONDS, BYTES = 3.0, 20_000_000
GOAL = 0.95
BLOCK = 64 * 1024
BURST = 0.02
"""Seconds' worth of bytes that may pass at once."""

Span: TypeAlias = tuple[float, float]


class SlowLine:
    """Passes bytes on, so many a second for each connection and direction."""

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._rate = rate

    async def carry(self, client: SocketStream) -> None:
        async with (
            client,
            await anyio.connect_tcp("127.0.0.1", self._port) as server,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._pump, client, server, tasks.cancel_scope)
            tasks.start_soon(self._pump, server, client, tasks.cancel_scope)

    async def _pump(self, source: ByteStream, sink: ByteStream, scope: anyio.CancelScope) -> None:
        paid = 0.0
        try:
            while True:
                block = await source.receive(BLOCK)
                now = anyio.current_time()
                paid = max(paid, now - BURST) + len(block) / self._rate
                await anyio.sleep(max(0.0, paid - now))
                await sink.send(block)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()


@dataclass(frozen=True, slots=True)
class SlowLauncher:
    """A launcher whose tasks are reached through a slow line."""

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
            line = SlowLine(int(status.address.rpartition(":")[2]), self.rate)
            self.tasks.start_soon(listener.serve, line.carry)
            port = listener.extra(SocketAttribute.local_port)
            self.addresses[status.address] = f"http://127.0.0.1:{port}"
        return replace(status, address=self.addresses[status.address])


async def render(folder: Path, number: int, rate: float) -> tuple[Report, list[Event]]:
    scenes = await anyio.to_thread.run_sync(make_scenes, folder, number, BYTES)

    @asynccontextmanager
    async def slowed(backend: Backend) -> AsyncGenerator[Backend]:
        async with anyio.create_task_group() as tasks:
            yield replace(backend, launcher=SlowLauncher(backend.launcher, tasks, rate, {}))
            tasks.cancel_scope.cancel()

    backend = one_worker(folder, seconds=SECONDS, size=BYTES, through=slowed)
    async with (
        Client(backend, limits=Limits(workers=1)) as client,
        client.stream(scenes, to=folder / "out") as run,
    ):
        events = [event async for event in run]
    return run.report, events


def stages(events: Sequence[Event]) -> tuple[dict[str, Span], dict[str, Span], dict[str, Span]]:
    """When each scene was uploaded, encoded and downloaded, by its name."""
    at: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for event in events:
        if isinstance(event, SceneEvent):
            at[event.scene][event.type.removeprefix("scene.")] = event.at
    return (
        {name: (when["started"], when["uploaded"]) for name, when in at.items()},
        {name: (when["encoding"], when["encoded"]) for name, when in at.items()},
        {name: (when["encoded"], when["completed"]) for name, when in at.items()},
    )


def shared(span: Span, others: Sequence[Span]) -> float:
    """Seconds of a span during which one of the others goes on."""
    cut = [(max(a, span[0]), min(b, span[1])) for a, b in others]
    return covered_seconds([(a, b) for a, b in cut if a < b])


def share(encodes: Sequence[Span]) -> float:
    began, ended = min(a for a, _ in encodes), max(b for _, b in encodes)
    return covered_seconds(encodes) / (ended - began)


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether moving files hides behind encoding.")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--rate", type=float, default=10, help="MB a second and connection")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # the user's own measurements stay as they are
        folder = Path(name)
        report, events = anyio.run(render, folder, said.scenes, said.rate * 1e6)
        encodes_there = spans(folder)
    report.raise_for_failures()
    uploads, encodes, downloads = stages(events)
    every = list(encodes.values())
    hidden_up = sum(shared(span, every) for span in uploads.values())
    hidden_down = sum(shared(span, every) for span in downloads.values())
    all_up = sum(b - a for a, b in uploads.values())
    all_down = sum(b - a for a, b in downloads.values())
    move = BYTES / (said.rate * 1e6)
    ready = min(a for a, _ in uploads.values())
    wall = max(b for _, b in downloads.values()) - ready
    ideal = move + said.scenes * SECONDS + move
    one_by_one = said.scenes * (SECONDS + 2 * move)
    by_events, by_children = share(every), share(encodes_there)
    print(f"{said.scenes} scenes: {BYTES / 1e6:g} MB in, {SECONDS:g} s encode, the same out")
    print(f"uploads    {all_up:6.1f} s, of which {hidden_up:6.1f} s beside an encode")
    print(f"downloads  {all_down:6.1f} s, of which {hidden_down:6.1f} s beside an encode")
    print(f"encoder busy by events {by_events:.2%}, by its children {by_children:.2%}")
    print(
        f"wall {wall:.1f} s from the first upload on; ideal {ideal:.1f}, in turn {one_by_one:.1f}"
    )
    met = min(by_events, by_children) >= GOAL
    print(f"goal {GOAL:.0%}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

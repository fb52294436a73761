"""Files from S3 and videos to S3: memory, speed and CPU time of workers and clients.

    python benchmarks/transfers.py [--files 50] [--megabytes 200] [--small 200]

A server on this machine plays S3: it sends zeros, so that neither a disk nor the network is
measured. First, files pass to a native worker, which gets them by itself. Then a run makes videos
of the same size with a fake render process, and its worker writes them to an emulated S3, in parts
with their MD5. The growth is the difference between the resident memory after one file and the peak
during all of them (``VmHWM``, which is reset before). Then single files are compared with httpx,
which writes and hashes the same bytes in the simplest way: the ways take turns, so that all of them
meet the same machine, and the difference to httpx is the median of the differences within a turn.
Exits with 1 if the memory grows more than the goals.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import anyio
import httpx
from fake_render.worker import SERVICE, make_scenes
from memory import CLIENT_GOAL, SERVICE_GOAL, cpu_seconds, print_goal, reset_peak, resident
from pydantic import SecretStr

from cloudburst import Client, Limits, Scene, Settings, Timeouts, endpoints
from cloudburst.aws.client.client import open_aws
from cloudburst.events import SceneCompleted
from cloudburst.models.locations import RemoteLocation, S3Object
from cloudburst.models.scene import CheckedScene
from cloudburst.models.task import Secrets
from cloudburst.models.transfers import FetchRequest
from cloudburst.ports.remote_files import Delivery
from cloudburst.testing import EmulatorConfig, FargateEmulator
from cloudburst.workers.http.native import NativeRenderer, connect

KEY = "key-of-this-benchmark"
SCENES_AT_ONCE = 3
"""Number of scenes that one encoder slot has on its worker at once."""
TURNS = 5
"""Number of turns of a comparison."""
SMALL_BYTES = 50_000
SMALL_AT_ONCE = 8
BLOCK = bytes(1024 * 1024)
BUCKET = "videos"
VIDEO_SECONDS = 60
"""Length of a video that is written to S3: long enough that the client believes its size."""
UPLOAD_GOAL = 40.0
"""Growth of the client and of the service while videos are written to S3, at most, in megabytes."""

Get = Callable[[int, int], Awaitable[object]]
"""Function that gets the file with a number and a size."""


class Store(socketserver.StreamRequestHandler):
    """Server of zeros: the path of a URL begins with the size of the file."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            while self.rfile.readline() not in {b"\r\n", b""}:
                pass
            size = int(line.split(b"/")[1])
            head = f'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: {size}\r\n\r\n'
            self.wfile.write(head.encode())
            with memoryview(BLOCK) as block:
                for start in range(0, size, len(BLOCK)):
                    self.wfile.write(block[: size - start])


def serve() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Store) as server:
        print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


def emulate(environment: Path) -> None:
    """Run an emulated S3, and write the settings with which it is used to a file."""
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        environment.write_text(json.dumps(emulator.environment))
        print(f"listening on {emulator.url}", flush=True)
        emulator.wait()


@contextmanager
def process(*command: str, **env: str) -> Generator[tuple[str, str]]:
    """Run a server, and yield its URL and its process id."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
    ) as running:
        try:
            assert running.stdout is not None
            found = re.search("listening on (http://[0-9.:]+)", running.stdout.readline())
            assert found, "the server does not start"
            yield found[1], str(running.pid)
        finally:
            running.kill()


class Source:
    """Access to the files of the server: see `cloudburst.ports.remote_files.RemoteFiles`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def version(self, location: RemoteLocation) -> str:
        return f'etag "1" {location}'

    def note_fingerprint(self, scene: str, fingerprint: str) -> None:
        raise NotImplementedError

    async def fetch_request(self, location: RemoteLocation) -> FetchRequest:
        assert isinstance(location, S3Object)
        size = int(location.key.partition("/")[0])
        return FetchRequest(
            url=SecretStr(f"{self._url}/{location.key}?X-Amz-Signature={'0' * 64}"),
            headers={"if-match": '"1"'},
            size=size,
            max_bytes=size,
            public_only=False,
        )

    def delivery(
        self, scene: str, to: S3Object, *, size: int, sha256: str, content_type: str
    ) -> AbstractAsyncContextManager[Delivery]:
        raise NotImplementedError


def scene_of(number: int, size: int) -> CheckedScene:
    image = S3Object("bucket", f"{size}/{number}.png")
    scene = Scene(name=f"s{number}", image=image, duration=1)
    return CheckedScene(scene=scene, audio_seconds=1, image_bytes=size)


class Cost(NamedTuple):
    """Time and memory of some transfers."""

    seconds: float
    cpu: float
    """CPU time of all measured processes, in seconds."""
    growth: dict[str, float]
    """Growth of the memory of each process, in megabytes."""


async def measured(processes: Mapping[str, str], work: Callable[[], Awaitable[object]]) -> Cost:
    """Await work, and return what it has cost in processes, whose ids are given by their names."""
    before = {name: resident(pid, "VmRSS") for name, pid in processes.items()}
    for pid in processes.values():
        reset_peak(pid)
    cpu, start = cpu_seconds(processes), time.perf_counter()
    await work()
    seconds = time.perf_counter() - start
    growth = {name: resident(pid, "VmHWM") - before[name] for name, pid in processes.items()}
    return Cost(seconds, cpu_seconds(processes) - cpu, growth)


def print_cost(what: str, cost: Cost, files: int, size: int) -> None:
    rate = files * size / cost.seconds / 1e6
    grown = ", ".join(f"{name} +{value:.0f} MB" for name, value in cost.growth.items())
    print(
        f"{what}: {cost.seconds:.2f} s, {rate:.0f} MB/s, "
        f"{files / cost.seconds:.0f} files/s, CPU {cost.cpu:.2f} s ({grown})"
    )


@dataclass
class Way:
    """A way to get files."""

    name: str
    get: Get
    processes: dict[str, str]
    """Id of each measured process, by its name."""

    async def cost(self, files: int, size: int, *, at_once: int, first: int = 0) -> Cost:
        """Get one file, then ``files`` more from a number on; return what the latter have cost."""
        await self.get(-size, size)
        limiter = anyio.CapacityLimiter(at_once)

        async def one(number: int) -> None:
            async with limiter:
                await self.get(number, size)

        async def get_all() -> None:
            async with anyio.create_task_group() as tasks:
                for number in range(first, first + files):
                    tasks.start_soon(one, number)

        return await measured(self.processes, get_all)


@contextmanager
def render_service(folder: Path, *, video_bytes: int) -> Generator[tuple[str, str]]:
    """Run a render service with fake renders, and yield its URL and its process id."""
    env = {
        "AUTHENTICATION_KEY": KEY,
        "CLOUDBURST_HOST": "127.0.0.1",
        "CLOUDBURST_PORT": "0",
        "CLOUDBURST_RESERVE_BYTES": "0",
        "CLOUDBURST_FOLDER": str(folder),
    }
    with process(*SERVICE, "0", str(video_bytes), str(folder / "times"), **env) as started:
        yield started


@asynccontextmanager
async def ways(folder: Path, store: str) -> AsyncGenerator[tuple[Way, Way]]:
    """Yield the ways of a native worker and of httpx."""
    source = Source(store)
    with render_service(folder, video_bytes=1000) as (address, service):
        async with (
            connect(address, secrets=Secrets(key=KEY), timeouts=Timeouts()) as renderer,
            httpx.AsyncClient(trust_env=False) as web,
        ):

            async def native(number: int, size: int) -> None:
                assert isinstance(renderer, NativeRenderer)
                await renderer.upload(scene_of(number, size), remote=source)

            async def plain(number: int, size: int) -> None:
                path, digest = folder / f"{number}.plain", hashlib.sha256()
                with path.open("wb") as file:
                    async with web.stream("GET", f"{store}/{size}/{number}") as response:
                        async for block in response.aiter_raw():
                            digest.update(block)
                            file.write(block)
                path.unlink()

            here = {"client": str(os.getpid())}
            yield (
                Way("native worker", native, {"service": service, **here}),
                Way("httpx", plain, here),
            )


async def upload_cost(folder: Path, videos: int, size: int) -> Cost:
    """Let a worker write one video to S3, then ``videos`` more; return what the latter have cost.

    Each object is deleted as soon as its scene is complete, so that the disk needs room for a few.
    """
    (example,) = make_scenes(folder, 1, SMALL_BYTES)
    first, *rest = (
        Scene(name=f"v{number}", image=example.image, duration=VIDEO_SECONDS)
        for number in range(videos + 1)
    )
    environment = folder / "environment.json"
    with (
        process(sys.executable, __file__, "--emulate", str(environment), TMPDIR=str(folder)),
        render_service(folder, video_bytes=size) as (address, service),
    ):
        settings = Settings(**json.loads(environment.read_text()))
        backend = endpoints(address, key=KEY, protocol="native")
        async with (
            open_aws(settings) as aws,
            Client(backend, settings=settings, limits=Limits(workers=1)) as client,
        ):

            async def render(scenes: list[Scene]) -> None:
                async with client.stream(scenes, to=f"s3://{BUCKET}/") as run:
                    async for event in run:
                        if isinstance(event, SceneCompleted):
                            key = f"{event.scene}.mp4"
                            await aws.call("s3", "delete_object", Bucket=BUCKET, Key=key)
                    report = await run.report()
                report.raise_for_failures()

            await aws.call("s3", "create_bucket", Bucket=BUCKET)
            await render([first])
            processes = {"service": service, "client": str(os.getpid())}
            return await measured(processes, partial(render, rest))


async def compare(what: str, compared: Sequence[Way], files: int, size: int, at_once: int) -> None:
    """Let the ways take turns, and print the medians of each and of its difference to the last."""
    turns = [
        [await way.cost(files, size, at_once=at_once, first=turn * files) for way in compared]
        for turn in range(TURNS)
    ]
    for number, way in enumerate(compared):
        pairs = [(turn[number], turn[-1]) for turn in turns]
        seconds = median(own.seconds for own, _ in pairs)
        cpu = median(own.cpu for own, _ in pairs)
        more = median(own.seconds - other.seconds for own, other in pairs)
        more_cpu = median(own.cpu - other.cpu for own, other in pairs)
        rate = f"{files / seconds:.0f} files/s, {files * size / seconds / 1e6:.0f} MB/s"
        print(f"{what}, {way.name}: {seconds:.2f} s ({more:+.2f}), CPU {cpu:.2f} s", end=" ")
        print(f"({more_cpu:+.2f}), {rate}")


async def measure(folder: Path, arguments: argparse.Namespace) -> bool:
    size, files = arguments.megabytes * 1_000_000, arguments.files
    met: list[bool] = []
    with process(sys.executable, __file__, "--serve") as (store, _):
        async with ways(folder, store) as (native, _):
            cost = await native.cost(files, size, at_once=SCENES_AT_ONCE)
            print_cost(f"{files} files of {arguments.megabytes} MB", cost, files, size)
            for name, grown in cost.growth.items():
                goal = SERVICE_GOAL if name == "service" else CLIENT_GOAL
                met.append(print_goal(f"growth of the {name}", grown, goal))
        cost = await upload_cost(folder, files, size)
        print_cost(f"{files} videos of {arguments.megabytes} MB to S3", cost, files, size)
        for name, grown in cost.growth.items():
            met.append(print_goal(f"growth of the {name}", grown, UPLOAD_GOAL))
        async with ways(folder, store) as compared:
            what = f"one file of {arguments.megabytes} MB"
            await compare(what, compared, 1, size, 1)
            what = f"{arguments.small} files of 50 kB"
            await compare(what, compared, arguments.small, SMALL_BYTES, SMALL_AT_ONCE)
    return all(met)


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory and speed of transfers.")
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--emulate", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    if arguments.emulate:
        emulate(arguments.emulate)
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # keeps the journals of the user unchanged
        return 0 if anyio.run(measure, Path(name), arguments) else 1


if __name__ == "__main__":
    sys.exit(main())

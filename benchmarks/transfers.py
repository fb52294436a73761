"""Files that workers and clients get from S3: their memory, speed and CPU time.

    python benchmarks/transfers.py [--files 50] [--megabytes 200] [--small 200]

A server on this machine plays S3: it sends zeros, so that neither a disk nor the network is
measured. First, files pass to a native worker, which gets them by itself, and to temporary files,
which the client gets for the public image. The growth is the difference between the resident memory
after one file and the peak during all of them (``VmHWM``, which is reset before). Then single
files are compared with httpx, which writes and hashes the same bytes in the simplest way. Exits
with 1 if the memory grows more than the goals.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx
from fake_render.worker import SERVICE
from memory import CLIENT_GOAL, SERVICE_GOAL, print_goal, reset_peak, resident
from pydantic import SecretStr

from cloudburst import RenderOptions, Scene, Timeouts
from cloudburst.adapters.http.native import NativeRenderer, connect
from cloudburst.adapters.http.staged_files import open_staged_files
from cloudburst.models.locations import RemoteLocation, S3Object
from cloudburst.models.task import Secrets
from cloudburst.models.transfers import FetchRequest
from cloudburst.ports import Delivery

KEY = "key-of-this-benchmark"
SCENES_AT_ONCE = 3
"""Number of scenes that one encoder slot has on its worker at once."""
SMALL_BYTES = 50_000
SMALL_AT_ONCE = 8
BLOCK = bytes(1024 * 1024)
TICKS = os.sysconf("SC_CLK_TCK")

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
    """Access to the files of the server: see `cloudburst.ports.RemoteFiles`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def version(self, location: RemoteLocation) -> str:
        return f'etag "1" {location}'

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


def scene_of(number: int, size: int) -> Scene:
    return Scene(name=f"s{number}", image=S3Object("bucket", f"{size}/{number}.png"), duration=1)


class Cost(NamedTuple):
    """Time and memory of some transfers."""

    seconds: float
    cpu: float
    """CPU time of all measured processes, in seconds."""
    growth: dict[str, float]
    """Growth of the memory of each process, in megabytes."""


@dataclass
class Way:
    """A way to get files."""

    name: str
    get: Get
    processes: dict[str, str]
    """Id of each measured process, by its name."""

    async def cost(self, files: int, size: int, *, at_once: int) -> Cost:
        """Get one file, then ``files`` more, and return what the latter have cost."""
        await self.get(-size, size)
        before = {name: resident(pid, "VmRSS") for name, pid in self.processes.items()}
        for pid in self.processes.values():
            reset_peak(pid)
        cpu, start = self._cpu(), time.perf_counter()
        limiter = anyio.CapacityLimiter(at_once)

        async def one(number: int) -> None:
            async with limiter:
                await self.get(number, size)

        async with anyio.create_task_group() as tasks:
            for number in range(files):
                tasks.start_soon(one, number)
        seconds = time.perf_counter() - start
        growth = {
            name: resident(pid, "VmHWM") - before[name] for name, pid in self.processes.items()
        }
        return Cost(seconds, self._cpu() - cpu, growth)

    def _cpu(self) -> float:
        total = 0.0
        for pid in self.processes.values():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def print(self, what: str, cost: Cost, files: int, size: int) -> None:
        rate = files * size / cost.seconds / 1e6
        grown = ", ".join(f"{name} +{value:.0f} MB" for name, value in cost.growth.items())
        print(
            f"{what}, {self.name}: {cost.seconds:.2f} s, {rate:.0f} MB/s, "
            f"{files / cost.seconds:.0f} files/s, CPU {cost.cpu:.2f} s ({grown})"
        )


@asynccontextmanager
async def ways(folder: Path, store: str) -> AsyncGenerator[tuple[Way, Way, Way]]:
    """Yield the ways of a native worker, of temporary files, and of httpx."""
    source, options = Source(store), RenderOptions()
    env = {
        "AUTHENTICATION_KEY": KEY,
        "CLOUDBURST_HOST": "127.0.0.1",
        "CLOUDBURST_PORT": "0",
        "CLOUDBURST_RESERVE_BYTES": "0",
        "CLOUDBURST_FOLDER": str(folder),
    }
    command = (*SERVICE, "0", "1000", str(folder / "times"))
    with process(*command, **env) as (address, service):
        async with (
            connect(address, secrets=Secrets(key=KEY), timeouts=Timeouts()) as renderer,
            open_staged_files() as staged,
            httpx.AsyncClient(trust_env=False) as web,
        ):

            async def native(number: int, size: int) -> None:
                assert isinstance(renderer, NativeRenderer)
                await renderer.upload(scene_of(number, size), options, remote=source)

            async def temporary(number: int, size: int) -> None:
                scene = await staged.stage(scene_of(number, size), options, source)
                await scene.remove()

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
                Way("temporary files", temporary, here),
                Way("httpx", plain, here),
            )


async def measure(folder: Path, arguments: argparse.Namespace) -> bool:
    size, files = arguments.megabytes * 1_000_000, arguments.files
    met: list[bool] = []
    with process(sys.executable, __file__, "--serve") as (store, _):
        async with ways(folder, store) as (native, temporary, _):
            for way in (native, temporary):
                cost = await way.cost(files, size, at_once=SCENES_AT_ONCE)
                way.print(f"{files} files of {arguments.megabytes} MB", cost, files, size)
                for name, grown in cost.growth.items():
                    goal = SERVICE_GOAL if name == "service" else CLIENT_GOAL
                    met.append(print_goal(f"growth of the {name}", grown, goal))
        async with ways(folder, store) as compared:
            for way in compared:
                cost = await way.cost(1, size, at_once=1)
                way.print(f"one file of {arguments.megabytes} MB", cost, 1, size)
            for way in compared:
                cost = await way.cost(arguments.small, SMALL_BYTES, at_once=SMALL_AT_ONCE)
                way.print(f"{arguments.small} files of 50 kB", cost, arguments.small, SMALL_BYTES)
    return all(met)


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory and speed of transfers.")
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        return 0 if anyio.run(measure, Path(name), arguments) else 1


if __name__ == "__main__":
    sys.exit(main())

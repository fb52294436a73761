"""Time from RunTask to the first request, measured for our image as far as this machine can.

    python benchmarks/start.py [--image FOLDER] [--rate 40] [--rounds 3]
    python benchmarks/start.py --command [--rounds 3]

With ``--command`` it prints the least CPU seconds of the command instead, children included, for
``--help`` and for one scene on this machine (a still picture of 6 s, 640x360).

Builds our image for this machine's architecture (or takes the OCI image layout in ``--image``) and
pushes it to a registry on loopback. Then it does what a new task does: it pulls the image through a
connection of ``--rate`` MB/s, unpacks it, and starts the service in it. It prints the least seconds
of some rounds and their shares, and an estimate for Fargate.

The base image is that of ``CLOUDBURST_BASE_IMAGE``; without it, a stand-in for python:3.13-slim
that the tests make of Debian's packages. Needs Linux, the programs docker-registry and htpasswd,
and mmdebstrap for the stand-in.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from containers.service_root import Start, measure_start

from cloudburst.image.build import build_image
from cloudburst.image.built_image import BuiltImage
from cloudburst.image.options import DEFAULT_BASE, Architecture, ImageOptions
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.documents import Platform
from cloudburst.net.registry.images import PulledImage, pull_image, push_image
from cloudburst.net.registry.unpack import unpack_layers

HERE = Path(__file__).parent
ARCHITECTURE: Architecture = "arm64" if platform.machine() in {"aarch64", "arm64"} else "amd64"
REPOSITORY, TAG = "cloudburst", "benchmark"
SIZE_GOAL = 110.0
"""MB of an architecture's compressed layers, with the base."""
LISTEN_GOAL = 0.6
"""Seconds from the start of the process until the service listens, on an idle core."""
RENDER_GOAL = 1.2
"""CPU seconds of a command that renders one scene here, on an idle machine."""
INTERFACE_SECONDS = 10.0
"""Seconds from RunTask until the pull begins, while Fargate finds a machine and attaches a network
interface: a user's public note, read on 2026-11-25. AWS states no figure."""
REPORTED = ((258.0, 35.0), (413.0, 57.0))
"""Compressed MB of an image and seconds from RunTask to RUNNING, as users of Fargate reported in
public, read on 2026-11-25. Their difference is the rate of pull and unpacking."""
VCPU_FACTOR = 1 / 0.63
"""Time of a step on one of two busy hardware threads of a core, which an x86 vCPU of Fargate is, in
that of a core: AWS's "Graviton performance runbook", System load and compute headroom, 2026-11."""


class Round(NamedTuple):
    """Seconds of the steps of one task."""

    pull: float
    unpack: float
    start: Start


def support(name: str) -> Any:
    """Return a module of ``tests/support``."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    try:
        return importlib.import_module(f"support.{name}")
    finally:
        sys.path.pop(0)


@contextmanager
def shaped(address: str, rate: float) -> Iterator[str]:
    """Start a proxy with a rate in MB/s, and yield its URL."""
    command = [sys.executable, str(HERE / "containers/shaped_proxy.py"), address, str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://{process.stdout.readline().strip()}"
        finally:
            process.kill()


async def build(server: Any, folder: Path) -> BuiltImage:
    """Build our image on the base of the environment, or on the stand-in."""
    stand_in = support("stand_in_base")
    if "CLOUDBURST_BASE_IMAGE" in os.environ:
        options = ImageOptions(architectures=(ARCHITECTURE,))
    else:
        print(f"base: a stand-in for {DEFAULT_BASE}, made of Debian's packages")
        layers = await anyio.to_thread.run_sync(stand_in.stand_in_layers)
        push = stand_in.push_base
        base = await anyio.to_thread.run_sync(push, server, folder / "base", layers)
        options = ImageOptions(
            base=base, base_credentials=server.credentials, architectures=(ARCHITECTURE,)
        )
    began = time.perf_counter()
    image = await build_image(options)
    print(f"built in {time.perf_counter() - began:.1f} s, reused: {image.reused}")
    for built in image.platforms:
        parts = ", ".join(f"{layer.name} {layer.size / 1e6:.1f}" for layer in built.layers)
        print(f"{built.architecture}: {built.size / 1e6:.1f} MB compressed ({parts})")
    return image


async def push(server: Any, layout: Path) -> None:
    async with open_registry(server.url, server.credentials) as client:
        report = await push_image(client, layout, REPOSITORY, TAG)
    rate = report.bytes_sent / report.seconds / 1e6
    print(f"pushed {report.bytes_sent / 1e6:.1f} MB in {report.seconds:.1f} s: {rate:.0f} MB/s")


async def one_round(url: str, server: Any, folder: Path) -> tuple[Round, PulledImage]:
    """Pull, unpack and start once, as a new task does."""
    blobs, root = folder / "blobs", folder / "root"
    times = [time.perf_counter()]
    async with open_registry(url, server.credentials) as client:
        image = await pull_image(client, REPOSITORY, TAG, Platform(ARCHITECTURE), blobs)
    times.append(time.perf_counter())
    await unpack_layers(image.layer_paths, root)
    times.append(time.perf_counter())
    start = await anyio.to_thread.run_sync(measure_start, root, image.config)
    await anyio.to_thread.run_sync(shutil.rmtree, folder)
    return Round(times[1] - times[0], times[2] - times[1], start), image


def print_steps(best: Round, megabytes: float, rate: float) -> None:
    rows = {
        f"pull of {megabytes:.1f} MB at {rate:g} MB/s": best.pull,
        "unpack": best.unpack,
        "process start until it listens": best.start.listening,
        "until its test render has passed": best.start.healthy - best.start.listening,
    }
    total = sum(rows.values())
    for name, seconds in rows.items():
        print(f"{name:38}{seconds:8.2f} s {seconds / total:6.0%}")
    print(f"{'together':38}{total:8.2f} s")
    print(f"processor time until it listens: {best.start.cpu:.2f} s")


def print_estimate(best: Round, megabytes: float, rate: float) -> None:
    (small, soon), (large, late) = REPORTED
    slow_rate = (large - small) / (late - soon)
    fast = INTERFACE_SECONDS + best.pull + best.unpack + best.start.listening
    slow = INTERFACE_SECONDS + megabytes / slow_rate + VCPU_FACTOR * best.start.listening
    print("\nestimate for Fargate, from RunTask until the service listens:")
    print(f"  {fast:.0f} s: {INTERFACE_SECONDS:g} s until the pull begins, {rate:g} MB/s, a core")
    print(
        f"  {slow:.0f} s: pull and unpacking at {slow_rate:.1f} MB/s, as between reported starts of"
        f" {soon:g} s ({small:g} MB) and {late:g} s ({large:g} MB)"
    )


def verdict(what: str, found: float, goal: float, unit: str) -> bool:
    met = found <= goal
    print(f"{what}: {found:.2f} {unit}, goal {goal:g}: {'met' if met else 'MISSED'}")
    return met


def command_seconds(rounds: int) -> bool:
    """Print the CPU seconds of the command; bytecode is written, as on a user's machine."""
    story = HERE.parent / "examples/story"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    with tempfile.TemporaryDirectory() as temporary:
        scenes, videos = Path(temporary) / "scenes", Path(temporary) / "videos"
        scenes.mkdir()
        for file in story.glob("01-*"):
            shutil.copy(file, scenes)
        look = ("--no-zoom", "--size", "640x360", "--overwrite")
        render = ("render", str(scenes), "--backend", "local", "--to", str(videos), *look)
        least = dict[str, float]()
        for arguments in [("--help",), render] * (rounds + 1):  # the first round writes bytecode
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", "cloudburst", *arguments]
            subprocess.run(command, check=True, env=environment, cwd=temporary, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            least[arguments[0]] = min(used, least.get(arguments[0], used))
    print(f"--help: {least['--help']:.2f} CPU seconds")
    return verdict("render of one scene", least["render"], RENDER_GOAL, "CPU seconds")


async def run(arguments: argparse.Namespace, folder: Path) -> bool:
    registry = support("registry_server")
    with registry.running_registry(folder / "registry") as server:
        layout = arguments.image or (await build(server, folder)).folder
        await push(server, layout)
        rounds = list[Round]()
        with shaped(server.host, arguments.rate) as url:
            for number in range(arguments.rounds):
                taken, image = await one_round(url, server, folder / f"task{number}")
                rounds.append(taken)
    best = Round(
        min(one.pull for one in rounds),
        min(one.unpack for one in rounds),
        min((one.start for one in rounds), key=lambda start: start.listening),
    )
    megabytes = sum(layer.size for layer in image.manifest.layers) / 1e6
    print(f"\nleast of {arguments.rounds} rounds, layers: {len(image.manifest.layers)}")
    print_steps(best, megabytes, arguments.rate)
    print_estimate(best, megabytes, arguments.rate)
    print()
    small = verdict("compressed size", megabytes, SIZE_GOAL, "MB")
    return verdict("start until it listens", best.start.listening, LISTEN_GOAL, "s") and small


def main() -> int:
    parser = argparse.ArgumentParser(description="Time from RunTask to the first request.")
    parser.add_argument("--image", type=Path, help="an OCI image layout folder; default: build it")
    parser.add_argument("--rate", type=float, default=40.0, help="MB/s of the pull")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--command", action="store_true", help="measure the command instead")
    arguments = parser.parse_args()
    if arguments.command:
        return int(not command_seconds(arguments.rounds))
    if missing := support("registry_server").missing_programs():
        print(f"not measured: {', '.join(missing)} is not installed")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        return int(not anyio.run(run, arguments, folder))


if __name__ == "__main__":
    sys.exit(main())

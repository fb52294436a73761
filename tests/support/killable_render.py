"""A program that renders on an emulated account, in a process of its own that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

SCRIPT = """
import json, sys, anyio
from cloudburst import Client, Limits, fargate

async def main():
    scenes = json.load(open(sys.argv[1]))
    async with Client(fargate(), limits=Limits(workers=3)) as client:
        async with client.stream(scenes, to=sys.argv[2]) as run:
            async for event in run:
                print(event.model_dump_json(), flush=True)

anyio.run(main)
"""
RENDER = ("-m", "cloudburst", "render", "--json", "--no-zoom")
CLI = (*RENDER, "--backend", "fargate", "--workers", "3")
RESUME = ("-m", "cloudburst", "resume", "--json")
ENDED = 15.0
"""Seconds from a signal to the end of the process: it also waits for tasks to have stopped."""


class Child:
    """The process and what it tells."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict] = []
        self.errors: list[str] = []
        self.signalled: float | None = None
        """Time of the first signal that met it alive, on the clock on the wall."""
        self._readers = [
            threading.Thread(target=self._read_events),
            threading.Thread(target=self._read_errors),
        ]
        for reader in self._readers:
            reader.start()

    def _read_events(self) -> None:
        for line in self.process.stdout:
            if line.endswith("}\n"):
                self.events.append(json.loads(line))

    def _read_errors(self) -> None:
        self.errors.extend(self.process.stderr)

    def until(self, kind: str, *, count: int = 1, seconds: float = 40.0) -> None:
        """Wait until it has told of so many events of a kind."""
        end = time.monotonic() + seconds
        while sum(event["type"] == kind for event in self.events) < count:
            assert time.monotonic() < end, f"no {kind}: {self}"
            assert self.process.poll() is None, f"it has ended: {self}"
            time.sleep(0.01)

    def send(self, signum: int) -> None:
        """A signal, if it is not too late."""
        if self.process.poll() is None:
            self.signalled = self.signalled or time.time()
            self.process.send_signal(signum)

    def end(self) -> int:
        """Wait for its end; returns its exit code."""
        code = self.process.wait(timeout=ENDED)
        for reader in self._readers:
            reader.join()
        return code

    def __str__(self) -> str:
        told = "\n".join(str(event) for event in self.events[-10:])
        return f"exit code {self.process.returncode}\n{told}\n{''.join(self.errors)}"


@contextmanager
def rendering(emulator, scenes, folder, *, program="script", **variables):
    """The program at work, one of ours or the words of another; killed in the end."""
    told = folder / "scenes.json"
    told.write_text(json.dumps(scenes))
    if isinstance(program, tuple):
        words = program
    elif program == "resume":
        words = [*RESUME, "--to", str(folder / "out")]
    elif program == "cli":
        words = [*CLI, "--to", str(folder / "out"), str(told)]
    else:
        words = ["-c", SCRIPT, str(told), str(folder / "out")]
    process = subprocess.Popen(
        [sys.executable, *words],
        env=os.environ | emulator.environment | variables,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # as a shell with job control: signals go to it alone
    )
    with process:
        child = Child(process)
        try:
            yield child
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            child.end()


def stopped(emulator, *, seconds=10.0):
    """The tasks once all of them are STOPPED."""
    end = time.monotonic() + seconds
    while any(task.last_status != "STOPPED" for task in emulator.tasks):
        assert time.monotonic() < end, [(t.number, t.last_status) for t in emulator.tasks]
        time.sleep(0.02)
    return emulator.tasks

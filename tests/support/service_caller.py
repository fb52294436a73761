"""Talking to a service, and looking after the processes it starts."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx

from cloudburst.service.service import RenderService

STAND_IN = (sys.executable, "-I", "-S", str(Path(__file__).parent / "stand_in.py"))
FOUND = {"version": "ffmpeg version stand-in", "kernel": "stand-in"}
PROBE = (sys.executable, "-I", "-S", "-c", f"print({json.dumps({'found': FOUND})!r})")
"""Plays the test render."""
KEY = "correct horse"


def service_settings(folder: Path, key: str = KEY, **more: str) -> dict[str, str]:
    """Environment variables of a service on a free port; ``more`` are those of `CLOUDBURST_`."""
    return {
        "AUTHENTICATION_KEY": key,
        "CLOUDBURST_HOST": "127.0.0.1",
        "CLOUDBURST_PORT": "0",
        "CLOUDBURST_FOLDER": str(folder),
        "CLOUDBURST_RESERVE_BYTES": "0",
        **{f"CLOUDBURST_{name.upper()}": value for name, value in more.items()},
    }


class Caller:
    """Talks to a service in this process, as a client over the network would."""

    def __init__(self, service: RenderService, http: httpx.AsyncClient) -> None:
        self.service = service
        self.http = http

    async def put(self, content: bytes) -> str:
        sha = hashlib.sha256(content).hexdigest()
        answer = await self.http.put(f"/files/{sha}", content=content)
        assert answer.status_code in {200, 201}, answer.text
        return sha

    async def post(self, todo: dict[str, Any], **more: Any) -> httpx.Response:
        image = await self.put(json.dumps(todo).encode())
        audio = await self.put(b"sound")
        body = {"name": "scene", "image": image, "audio": audio, **more}
        return await self.http.post("/jobs", json=body)

    async def start(self, todo: dict[str, Any], **more: Any) -> str:
        answer = await self.post(todo, **more)
        assert answer.status_code == 201, answer.text
        ident: str = answer.json()["id"]
        return ident

    async def state(self, ident: str) -> dict[str, Any]:
        answer = await self.http.get(f"/jobs/{ident}")
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    async def until(self, ident: str, *states: str) -> dict[str, Any]:
        now = await self.state(ident)
        for _ in range(500):
            if now["state"] in states:
                return now
            await anyio.sleep(0.02)
            now = await self.state(ident)
        raise AssertionError(now)

    def video(self, ident: str) -> Path:
        """Where the video of a job lies."""
        job = self.service.jobs.find(ident)
        assert job is not None
        return job.video

    def files(self) -> list[str]:
        """What lies in the service's folder, but for its two folders."""
        found = self.service.folder.rglob("*")
        return sorted(str(p.relative_to(self.service.folder)) for p in found if p.is_file())


OpenCaller = Callable[..., AbstractAsyncContextManager[Caller]]


async def eventually(check: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return when the check holds."""
    for _ in range(int(seconds / 0.02)):
        if check():
            return
        await anyio.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def read_pids(path: Path, seconds: float = 10.0) -> list[int]:
    """What a stand-in wrote of itself and its grandchild."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, "the stand-in did not start"
        time.sleep(0.01)
    return [int(pid) for pid in path.read_text().split()]


def until_gone(pids: list[int], seconds: float = 30.0) -> None:
    """Wait for the end of processes whose killer does not wait for it."""
    end = time.monotonic() + seconds
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < end, f"still running: {left}"
        time.sleep(0.01)

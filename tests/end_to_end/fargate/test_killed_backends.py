"""A web backend with many jobs and many readers of events, killed twice."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import anyio
import httpx
import pytest

from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.concurrency import poll
from support.video_probe import probe

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300), pytest.mark.anyio]

SCENES = 2
WHOLE = 120.0
"""Seconds for all of it, on a machine that has more to do."""

SCRIPT = """
import gc, json, sys, threading, time
import anyio, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from contextlib import asynccontextmanager
from cloudburst import Client, Limits, RenderOptions, Settings, fargate
from cloudburst.jobs import JobLimits
from cloudburst.web import Jobs, RequestLimits

settings, folder, port = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
options = RenderOptions(size="480x270")  # a quarter of the time of 1080p
limits = Limits(workers=4, max_usd=100)  # the jobs share the tasks of one client
client = Client(fargate(Settings(**settings)), options=options, limits=limits)
# More streams than readers: one that returns may come before its old connection is seen to end.
streams = RequestLimits(streams=200)
jobs = Jobs(client, folder, limits=JobLimits(owner_jobs=50), request_limits=streams)
stalls = []
collecting = 0.0

def note_collection(phase, _):
    # The garbage collector of Python looks at all objects of the process, most of them boto's.
    global collecting
    if threading.current_thread() is threading.main_thread():
        collecting += time.thread_time() if phase == "stop" else -time.thread_time()

gc.callbacks.append(note_collection)

async def measure():
    while True:
        begin, before = time.thread_time(), collecting
        await anyio.sleep(0.005)
        stalls.append(time.thread_time() - begin - (collecting - before))

async def ping(request):
    ordered = sorted(stalls)
    return JSONResponse({"p99": ordered[int(0.99 * len(ordered))], "count": len(ordered)})

@asynccontextmanager
async def lifespan(app):
    async with jobs.lifespan(app) as state, anyio.create_task_group() as tasks:
        tasks.start_soon(measure)
        yield state
        tasks.cancel_scope.cancel()

app = Starlette(routes=[Route("/ping", ping), *jobs.routes], lifespan=lifespan)
uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Backend:
    """The backend: a process that can be killed and started again."""

    def __init__(self, command, log):
        self._command, self._log = command, log
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    async def kill(self):
        self.process.send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(self.process.wait)


@contextmanager
def running(command, log):
    backend = Backend(command, log)
    backend.start()
    try:
        yield backend
    finally:
        backend.process.send_signal(signal.SIGTERM)
        try:
            backend.process.wait(timeout=60)
        finally:
            backend.process.kill()


async def patiently(call):
    """Repeat a request while the backend is away."""
    while True:
        try:
            answer = await call()
        except httpx.TransportError:
            await anyio.sleep(0.1)
            continue
        return answer


class Reader:
    """Somebody who watches a job: each event once, whatever happens to the connection."""

    def __init__(self, http, job, rng):
        self.http, self.job, self.rng = http, job, rng
        self.numbers, self.types, self.returns = [], [], 0

    async def read(self):
        while "job.finished" not in self.types:
            headers = {"Last-Event-ID": str(self.numbers[-1])} if self.numbers else {}
            try:
                await self._read(headers, leaves_after=self.rng.choice([None, 1, 4]))
            except httpx.TransportError:
                await anyio.sleep(0.1)
            self.returns += 1

    async def _read(self, headers, leaves_after):
        url = f"/jobs/{self.job}/events"
        async with self.http.stream("GET", url, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            number, seen = None, 0
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    number = int(line.removeprefix("id: "))
                elif line.startswith("event: ") and number is not None:
                    self.types.append(line.removeprefix("event: "))
                    self.numbers.append(number)
                    number, seen = None, seen + 1
                if seen == leaves_after:
                    return


def states(readers):
    """Count the jobs by the last of their events that is about the job, not about a scene."""
    known = defaultdict(list)
    for reader in readers:
        known[reader.job] = max(known[reader.job], reader.types, key=len)
    about = ([kind for kind in types if kind.startswith("job.")] for types in known.values())
    return Counter(kinds[-1] for kinds in about if kinds)


async def submit(http, number, scenes):
    """Send a job with its files; the key makes it one job, however often it is sent."""
    named, files = [], []
    for scene in scenes:
        parts = {"image": Path(scene["image_path"]), "audio": Path(scene["audio_path"])}
        named.append({"name": scene["scene_name"]} | {k: path.name for k, path in parts.items()})
        files += [("files", (path.name, path.read_bytes())) for path in parts.values()]
    data = {"job": json.dumps({"scenes": named, "metadata": {"number": number}})}
    headers = {"Idempotency-Key": f"job {number}"}
    answer = await patiently(lambda: http.post("/jobs", data=data, files=files, headers=headers))
    assert answer.status_code in {200, 202}, answer.text
    return answer.json()["id"]


@pytest.mark.nightly
@pytest.mark.long(15)
@pytest.mark.parametrize(
    ("number_of_jobs", "number_of_readers"),
    [(4, 16), (20, 100)],
)
async def test_jobs_and_their_readers_survive_two_kills(
    our_account, make_scene, tmp_path, number_of_jobs, number_of_readers
):
    rng = random.Random(16)
    scenes = [make_scene(f"scene {n}", seconds=0.5) for n in range(SCENES)]
    port = free_port()
    with (
        our_account() as aws,
        (tmp_path / "backend.log").open("wb") as log,
        running(
            [
                *(sys.executable, "-c", SCRIPT),
                *(json.dumps(aws.environment), str(tmp_path / "jobs"), str(port)),
            ],
            log,
        ) as backend,
    ):
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60, trust_env=False
        ) as http:
            with anyio.fail_after(WHOLE):
                numbers = (number_of_jobs, number_of_readers)
                readers = await watched(http, backend, scenes, rng, numbers)
                stalls = (await http.get("/ping")).json()
                await poll(no_ended_run_has_tasks, delays=repeat(0.1))
            jobs = (await http.get("/jobs", params={"limit": 100})).json()["jobs"]
            videos = await loaded(http, jobs[0]["id"], tmp_path)
    assert len(jobs) == number_of_jobs
    assert {job["state"] for job in jobs} == {"complete"}
    streams = defaultdict(set)
    for reader in readers:
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
        assert reader.types.count("job.finished") == 1
        assert reader.types.count("scene.completed") == SCENES
        finished = reader.types.index("job.finished")  # who reads late gets the final bill, too
        assert reader.types[finished + 1 :] in ([], ["job.settled"])
        streams[reader.job].add(tuple(reader.types[: finished + 1]))
    assert all(len(seen) == 1 for seen in streams.values())
    assert any("job.interrupted" in types for (types,) in streams.values()), "killed too late"
    assert sum(reader.returns for reader in readers) >= number_of_readers
    assert stalls["p99"] < 0.02, stalls
    assert all(probe(video).seconds for video in videos)
    assert not await registered_runs(), "nobody need look for its tasks any more"


async def no_ended_run_has_tasks():
    """Whether nothing is left of the killed backends."""
    return True if all(run.active for run in await registered_runs()) else None


async def watched(http, backend, scenes, rng, numbers):
    """Submit and watch all jobs, while the backend is killed and started again."""
    readers = []
    number_of_jobs, number_of_readers = numbers

    async def kill():
        for count in (0, number_of_jobs // 4):  # while another job runs
            while not (  # noqa: ASYNC110
                (found := states(readers))["job.started"]
                and found["job.finished"] + found["job.settled"] >= count
            ):
                await anyio.sleep(0.02)
            await backend.kill()
            backend.start()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill)
        for number in range(number_of_jobs):
            job = await submit(http, number, scenes)
            for _ in range(number_of_readers // number_of_jobs):
                readers.append(Reader(http, job, rng))
                tasks.start_soon(readers[-1].read)
    return readers


async def loaded(http, job, folder):
    """Load the videos of a job."""
    paths = []
    for video in (await http.get(f"/jobs/{job}/videos")).json()["videos"]:
        answer = await http.get(video["url"])
        assert answer.status_code == 200
        paths.append(folder / f"{len(paths)}.mp4")
        paths[-1].write_bytes(answer.content)
    assert len(paths) == SCENES
    return paths

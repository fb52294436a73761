"""Encodes that are requested while the only encoder slot of a real service is in use."""

from __future__ import annotations

import json

import anyio
import pytest

from cloudburst.models.limits import Timeouts
from cloudburst.models.task import Secrets
from cloudburst.workers.http.native import connect
from support.checked_scenes import as_checked
from support.service_caller import KEY
from support.service_process import service_process

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Encode:
    """An encode that is requested."""

    def __init__(self, renderer, scene):
        self.begun, self.ended, self.scope = anyio.Event(), anyio.Event(), anyio.CancelScope()
        self._renderer, self._scene = renderer, scene

    async def run(self):
        upload = await self._renderer.upload(as_checked(self._scene))
        with self.scope:
            await self._renderer.encode(upload, progress=lambda _: self.begun.set())
        self.ended.set()


async def until(renderer, *states):
    """Wait until the jobs of a renderer have these states at the service."""
    found = None
    while found != list(states):
        await anyio.sleep(0.01)
        found = []
        for job in [each for each in renderer._jobs if each.id is not None]:
            answer = await renderer._connection.request("GET", f"/jobs/{job.id}")
            found.append(json.loads(answer.content)["state"])
        found.sort()


async def test_jobs_wait_in_the_queue_of_the_worker(tmp_path, make_scene):
    (tmp_path / "service").mkdir()
    hang, quick = {"do": "hang"}, {"do": "render", "seconds": 0.1}
    scenes = [
        make_scene(name, image=json.dumps(todo).encode())
        for name, todo in (("one", hang), ("two", quick), ("three", quick))
    ]
    with service_process(tmp_path / "service", CLOUDBURST_ENCODERS="1") as service:
        async with (
            connect(service.url, secrets=Secrets(key=KEY), timeouts=Timeouts()) as renderer,
            anyio.create_task_group() as tasks,
        ):
            one, two, three = (Encode(renderer, scene) for scene in scenes)
            tasks.start_soon(one.run)
            await until(renderer, "running")
            tasks.start_soon(two.run)
            await until(renderer, "queued", "running")
            tasks.start_soon(three.run)
            await until(renderer, "queued", "queued", "running")
            two.scope.cancel()
            await two.ended.wait()
            await until(renderer, "queued", "running")
            assert one.begun.is_set()
            assert not three.begun.is_set()
            one.scope.cancel()
            await three.ended.wait()
    assert three.begun.is_set()
    assert not two.begun.is_set()

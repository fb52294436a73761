"""The real service behind connections that break, and one that falls silent."""

from __future__ import annotations

import random
import wave

import anyio
import pytest
from anyio.abc import SocketAttribute
from PIL import Image

from cloudburst import RenderOptions, Timeouts, local
from cloudburst.errors import WorkerStoppedError
from cloudburst.models.scene import Scene
from cloudburst.models.task import LaunchRequest, Secrets, TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.workers.http.native import connect
from support.checked_scenes import as_checked

SEEDS = range(30)
SMALL = RenderOptions(size="426x240")

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def address(tmp_path):
    """A service of its own."""
    async with local(workers=1, folder=tmp_path)(Timeouts(), Tier.STANDARD) as backend:
        request = LaunchRequest(spec=TaskSpec(), token="t", secrets=Secrets(key="k"))
        task = await backend.launcher.launch(request)
        while (found := (await backend.launcher.describe(task)).address) is None:  # noqa: ASYNC110 - a process rings no bell
            await anyio.sleep(0.01)
        yield found


@pytest.fixture
def scene(tmp_path):
    Image.effect_noise((640, 360), 90).save(tmp_path / "i.png")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(160_000))
    return Scene(name="one", image=tmp_path / "i.png", audio=tmp_path / "a.wav")


class BadConnection:
    """Proxy that breaks each connection after ``allowance()`` bytes."""

    def __init__(self, target, allowance):
        self.port = int(target.rpartition(":")[2])
        self.allowance = allowance
        self.connections = 0
        self.dead = False

    async def serve(self, *, task_status):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)
            task_status.started(f"http://127.0.0.1:{port}")
            await listener.serve(self.carry)

    async def carry(self, client):
        self.connections += 1
        left = self.allowance()
        async with (
            client,
            await anyio.connect_tcp("127.0.0.1", self.port) as server,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self.pump, client, server, [left[0]], tasks.cancel_scope)
            tasks.start_soon(self.pump, server, client, [left[1]], tasks.cancel_scope)

    async def pump(self, source, sink, left, scope):
        try:
            async for block in source:
                if self.dead:
                    await anyio.sleep_forever()
                await sink.send(block[: left[0]])
                left[0] -= len(block)
                if left[0] <= 0:
                    break
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        scope.cancel()


@pytest.mark.nightly
@pytest.mark.chaos
@pytest.mark.parametrize("seed", SEEDS)
async def test_broken_connections_cost_only_time(address, scene, tmp_path, seed):
    rng = random.Random(seed)
    cuts = 8

    def allowance():
        if line.connections > cuts:
            return 10**9, 10**9
        # Of the request: in its head, in its body. Of the answer: the same.
        return rng.choice([50, 3000, 10**9]), rng.choice([20, 250, 900, 20_000])

    line = BadConnection(address, allowance)
    async with anyio.create_task_group() as tasks:
        through = await tasks.start(line.serve)
        async with connect(through, secrets=Secrets(key="k"), timeouts=Timeouts()) as renderer:
            upload = await renderer.upload(as_checked(scene, SMALL))
            output = await renderer.encode(upload, progress=lambda share: None)
            download = await renderer.download(output, tmp_path / "one.mp4")
        tasks.cancel_scope.cancel()
    assert download.sha256 == output.sha256
    assert line.connections > cuts
    assert not list(tmp_path.glob("*.part"))


async def test_a_silent_connection_is_noticed(address, scene):
    line = BadConnection(address, lambda: (10**9, 10**9))

    def die(share):
        line.dead = True

    async with anyio.create_task_group() as tasks:
        through = await tasks.start(line.serve)
        async with connect(
            through, secrets=Secrets(key="k"), timeouts=Timeouts(silence=1, call=0.5)
        ) as renderer:
            upload = await renderer.upload(as_checked(scene, SMALL))
            with pytest.raises(
                WorkerStoppedError, match="no useful answer from the worker for 1 s"
            ):
                await renderer.encode(upload, progress=die)
        tasks.cancel_scope.cancel()

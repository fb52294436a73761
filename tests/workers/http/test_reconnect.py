"""Pauses of this process while the worker works."""

from __future__ import annotations

import time

import anyio
import httpx
import pytest

from cloudburst.errors import WorkerStoppedError
from cloudburst.models.limits import Timeouts
from cloudburst.workers.http import retries as reconnect
from support.checked_scenes import as_checked
from support.fake_native_service import Pieces
from support.native_client import ignore, to_studio

pytestmark = pytest.mark.anyio

SILENCE = Timeouts(silence=0.5)
MIN_PAUSE = PAUSE_CHECK_INTERVAL = 0.5
PAUSE = SILENCE.silence + MIN_PAUSE + PAUSE_CHECK_INTERVAL + 0.2
BEAT = b'{"state":"running","progress":0.1}\n'


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(reconnect, "MIN_PAUSE", MIN_PAUSE)
    monkeypatch.setattr(reconnect, "PAUSE_CHECK_INTERVAL", PAUSE_CHECK_INTERVAL)


async def stop_everything():
    """As SIGSTOP does: the clock goes on, and nothing else."""
    await anyio.sleep(0.1)
    time.sleep(PAUSE)  # noqa: ASYNC251 - that is the point


@pytest.mark.parametrize("pieces", [(), (BEAT,)])
async def test_a_pause_of_this_process_is_not_the_workers_silence(studio, make_scene, pieces):
    studio.script["GET events"] = [httpx.Response(200, stream=Pieces(*pieces, 60.0))]
    async with to_studio(studio, SILENCE) as renderer, anyio.create_task_group() as tasks:
        upload = await renderer.upload(as_checked(make_scene()))
        tasks.start_soon(stop_everything)
        await renderer.encode(upload, progress=ignore)
    assert studio.calls.count("GET events") == 2, "it had one more try"
    assert studio.calls.count("POST job") == 1


async def test_a_worker_that_stays_silent_after_the_pause_has_stopped(studio, make_scene):
    studio.script["GET events"] = [httpx.Response(200, stream=Pieces(BEAT, 60.0))]
    studio.script["GET events"] += [httpx.ReadTimeout("silent")] * 100
    async with to_studio(studio, SILENCE) as renderer, anyio.create_task_group() as tasks:
        upload = await renderer.upload(as_checked(make_scene()))
        began = anyio.current_time()
        tasks.start_soon(stop_everything)
        with pytest.raises(WorkerStoppedError, match="no useful answer"):
            await renderer.encode(upload, progress=ignore)
    assert anyio.current_time() - began < PAUSE + 4 * SILENCE.silence

"""One bad worker beside a good one: every scene is rendered, and nothing but time is lost."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from cloudburst import Client, Limits, Status, Timeouts, endpoints
from support.bad_workers import KEY, TABLE, VIDEO, Worker, serving

SCENES = 6
MAX_GROWTH = 100 * 1024
"""kB of memory."""
HASTY = Timeouts(call=1.0, silence=1.0, ready=3.0, scene=6.0, settle=0.0)

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(150)]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("case", TABLE, ids=lambda case: " ".join(case[:2]))
async def test_a_good_worker_saves_every_scene(make_scene, tmp_path, caplog, case):
    protocol, _, route, reply = case
    caplog.set_level(logging.INFO, "cloudburst")
    bad = Worker(bad={route: reply() if getattr(reply, "__name__", "") == "bomb" else reply})
    good = Worker(seconds=0.2)
    scenes = [make_scene(f"s{number}", seconds=0.1) for number in range(SCENES)]
    before = _reset_peak()
    async with serving(bad), serving(good):
        backend = endpoints(bad.url, good.url, key=KEY, protocol=protocol)
        async with Client(backend, timeouts=HASTY, limits=Limits(workers=2)) as client:
            report = await client.render_all(scenes, to=tmp_path / "out")
    assert report.errors == ()
    assert report.status is Status.COMPLETE
    assert [video.path.read_bytes() == VIDEO for video in report.videos] == [True] * SCENES
    assert sorted(path.suffix for path in (tmp_path / "out").glob("s*")) == [".mp4"] * SCENES
    assert bad.calls[route], "nobody asked for what it does badly"
    assert "unexpected exception" not in caplog.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", caplog.text), "control characters in the log"
    assert _peak() - before < MAX_GROWTH


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", text)[1])


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")

"""A render process and processes that assist it: the same file, whatever happens to them."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloudburst.models.video_format import VideoSize
from cloudburst.renderer.job import JOB_FILE, RenderJob
from cloudburst.renderer.scene import load_scene
from cloudburst.renderer.shared_encoding import PLAN_FILE, GopPlan
from support.drawn_frames import photo, strict_decode
from support.once import made_once
from support.render_job import make_job, render_job, result, started, subtitle_file

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

SECONDS = 55.0
GOPS = 6
SIZE = "426x240"
"""Size of the video: full HD takes four times the CPU time."""
CUES = subtitle_file(
    (0, SECONDS, "a cue that stays"), *((6 * n + 1, 6 * n + 3.5, f"字幕 {n}") for n in range(9))
)


def job(folder: Path) -> Path:
    """Write a job without a sound, whose encode would take four times the CPU time of the rest."""
    picture = photo(VideoSize(426, 240))
    make_job(folder, picture, SECONDS, duration=SECONDS, subtitle=CUES, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """SHA-256 of the video that one process renders, once for all test processes."""
    return made_once(tmp_path_factory, "alone", render_alone)[1]


def render_alone(folder: Path) -> str:
    rendered = render_job(job(folder))
    assert rendered.gops == [GOPS]
    strict_decode(rendered.video)
    return rendered.done["sha256"]


def write_plan(folder: Path) -> None:
    """Write the plan that the render process would write."""
    frames = round(30 * SECONDS)
    described = RenderJob.from_json((folder / JOB_FILE).read_bytes())
    source = load_scene(folder, described, frames, lambda _field: None).source
    GopPlan(frames, source.choose_quantizer()).write(folder)


def results(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("gops-*.gop")}


def test_gops_of_other_processes_make_the_same_file(alone, tmp_path):
    """Two processes encode all GOPs before the render process begins."""
    folder = job(tmp_path / "job")
    write_plan(folder)
    with started("gop_process", folder) as one, started("gop_process", folder) as other:
        for process in (one, other):
            assert process.communicate(timeout=60) == (b"", b"")
            assert process.returncode == 0
    stored = sum(path.stat().st_size for path in folder.glob("gops-*.gop"))
    assert len(results(folder)) == GOPS
    assert stored > 50_000
    assert render_job(folder).done["sha256"] == alone
    assert sum(path.stat().st_size for path in folder.glob("gops-*.gop")) == 0


@pytest.mark.few(1)
@pytest.mark.parametrize("count", [1, 0, 2, 3])
def test_a_process_that_was_killed_between_gops_makes_the_same_file(count, alone, tmp_path):
    folder = job(tmp_path / "job")
    write_plan(folder)
    with started("gop_process", folder) as process:
        while len(results(folder)) < count or not list(folder.glob("gops-*.claim")):
            assert process.poll() is None
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    assert render_job(folder).done["sha256"] == alone


@pytest.mark.nightly
def test_processes_that_join_a_render_at_once_make_the_same_file(alone, tmp_path):
    """One of them is killed while it starts."""
    folder = job(tmp_path / "job")
    with ExitStack() as stack, started("render_process", folder) as render:
        lines = iter(render.stdout.readline, b"")
        assert any("gops" in json.loads(line) for line in lines)
        helpers = [stack.enter_context(started("gop_process", folder)) for _ in range(2)]
        helpers[0].kill()
        rendered = result(render, folder)
        assert helpers[1].wait(60) == 0
    assert rendered.done["sha256"] == alone
    assert (folder / PLAN_FILE).exists()

"""The example of scenes that come while others render, killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import pytest

from support.killable_render import stopped
from support.marked_processes import Watch
from support.project import ROOT
from support.run_invariants import bill

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]

EXAMPLE = ROOT / "examples" / "story_pipeline.py"
NAMES = [f"{number:02}" for number in range(1, 5)]
PROGRAM = f"""
import asyncio, sys
from dataclasses import replace
from cloudburst import RenderOptions
from cloudburst.models import task

sys.path.insert(0, {str(EXAMPLE.parent)!r})
import story_pipeline as pipeline

task.MINIMUM_BILLED_SECONDS = 0
pipeline.PAUSE, pipeline.SIZE = 0.05, (320, 240)
pipeline.LINES = {NAMES}
paint = pipeline.paint


async def paint_some(line):
    if line == sys.argv[1]:
        await asyncio.Event().wait()
    return await paint(line)


class Client(pipeline.Client):
    def __init__(self, *, limits):
        options = RenderOptions(size="320x240", effects=())
        super().__init__(options=options, limits=replace(limits, workers=1))

    async def render_all(self, *args, **options):
        report = await super().render_all(*args, **options)
        print("settled", (await report.settled()).cost)
        return report


pipeline.paint, pipeline.Client = paint_some, Client
asyncio.run(pipeline.main())
"""


def start(
    folder: Path, environment: dict[str, str], *, unfinished: str = ""
) -> subprocess.Popen[str]:
    """Start the example with short lines; the picture of one of them is never finished."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, unfinished],
        env=os.environ | environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told(lines: list[str]) -> list[tuple[str, str]]:
    """Kind and scene of each event that the program has printed."""
    found = [re.match(r" *\d+ s  (\d+): (started|done)\b", line) for line in lines]
    return [(one[2], one[1]) for one in found if one]


def stamps(folder: Path) -> dict[str, int]:
    """Times at which the files of a folder were finished."""
    paths = [path for path in folder.iterdir() if path.is_file() and "part" not in path.name]
    return {path.name: path.stat().st_mtime_ns for path in paths}


@pytest.mark.nightly
@pytest.mark.parametrize("on_fargate", [False, True], ids=["here", "fargate"])
def test_a_killed_pipeline_goes_on_where_it_stopped(on_fargate, our_account, tmp_path):
    watch = Watch(temp=tmp_path / "temp")
    watch.temp.mkdir()
    if not on_fargate:
        run_twice(tmp_path, watch.environment | {"AWS_SUBNET_ID": ""})
        assert not watch.left_after(4)
        return
    with our_account() as aws:
        usd = run_twice(tmp_path, aws.environment)
        bills = [bill(task, public=True)[1] for task in stopped(aws)]
        assert len(bills) == 1, "the second process takes over the task of the first"
    assert usd == pytest.approx(float(sum(bills)), abs=6e-5)


@pytest.mark.nightly
def test_an_interrupted_pipeline_keeps_its_videos_and_leaves_no_process(tmp_path):
    watch = Watch(temp=tmp_path / "temp")
    watch.temp.mkdir()
    environment = watch.environment | {"AWS_SUBNET_ID": ""}
    with start(tmp_path, environment, unfinished=NAMES[-1]) as process:
        output = ""
        while ": done" not in output:
            output += (line := process.stdout.readline())
            assert line, output
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert not watch.left_after(1)
    (name,) = {name for kind, name in told(output.splitlines()) if kind == "done"}
    with av.open(str(tmp_path / "story-videos" / f"{name}.mp4")) as video:
        assert video.duration > 0
    assert not list((tmp_path / "story-videos").glob("*.part"))
    assert not (tmp_path / "story.mp4").exists()


def run_twice(folder: Path, environment: dict[str, str]) -> float:
    """Kill the program after two videos, run it again, and return the bill that it prints."""
    with start(folder, environment, unfinished=NAMES[-1]) as process:
        lines = list[str]()
        while sum(": done" in line for line in lines) < 2:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGKILL)
        lines += process.stdout
    events = told(lines)
    assert ("started", NAMES[-1]) not in events, "videos are finished before the last scene comes"
    made = {name for kind, name in events if kind == "done"}
    before = {f"{name}.mp4" for name in made}
    videos = {name: at for name, at in stamps(folder / "story-videos").items() if name in before}
    inputs = stamps(folder / "story")

    with start(folder, environment) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    events = told(output.splitlines())
    assert Counter(name for kind, name in events if kind == "done") == Counter(NAMES)
    assert made.isdisjoint(name for kind, name in events if kind == "started")
    assert videos.items() <= stamps(folder / "story-videos").items()
    assert inputs.items() <= stamps(folder / "story").items()
    with av.open(str(folder / "story.mp4")) as film:
        assert [chapter["metadata"]["title"] for chapter in film.chapters()] == NAMES
    assert f"{len(NAMES)} videos of {len(NAMES)} scenes" in output
    return float(re.search(r"^settled \$([\d.]+)$", output, re.MULTILINE)[1])

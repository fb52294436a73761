"""The recipes of the cookbook for programs and folders run as they are written.

What renders whole scenes here takes seconds of all cores, and runs at night.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

import cloudburst
from cloudburst import Client, Scene, Status, read_scenes
from cloudburst.client import backends
from cloudburst.errors import FilmError
from cloudburst.media.subtitles import read_subtitles
from cloudburst.testing import EmulatorConfig, FakeCloud, FargateEmulator
from support.doc_blocks import run_page
from support.doc_pages import text_of
from support.marked_processes import Watch
from support.old_calls import without_settings
from support.project import ROOT
from support.short_story import short_story

COOKBOOK = "docs/cookbook"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def here(tmp_path, monkeypatch):
    without_settings(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def on_fakes(monkeypatch):
    """Fake workers in place of those on this machine."""
    cloud = FakeCloud()
    monkeypatch.setattr(backends, "local", lambda **_: cloud.backend)
    return cloud


FOLDERS = {
    "videos": {"01-harbour", "02-cloud"},
    "from-table": {"harbour", "cloud"},
    "from-json": {"title", "harbour"},
}


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(240)
def test_folders_tables_and_json_become_videos(here):
    short_story(here, "01-harbour", "02-cloud")
    space = {}
    run_page(f"{COOKBOOK}/folder.md", space)
    assert (here / "story.mp4").exists()
    assert (here / "title.png").exists()
    made = {folder: {path.stem for path in (here / folder).glob("*.mp4")} for folder in FOLDERS}
    assert made == FOLDERS
    report = anyio.run(space["render_table"])
    assert [video.scene for video in report.videos] == ["harbour", "cloud"]


def test_scene_files_and_the_program_of_the_recipe_are_right(here, says, on_fakes):
    short_story(here, "01-harbour", "02-cloud")
    space = {}
    outputs = run_page(f"{COOKBOOK}/folder.md", space, environment=says)
    assert outputs[0] == "render examples/story --to videos --film story.mp4\n"
    title, harbour = map(Scene.model_validate, read_scenes("scenes.json"))
    assert (title.title_card, harbour.options.fit) == ("The Cloud", "contain")
    report = anyio.run(space["render_table"])
    assert [scene.scene for scene in report.scenes] == ["harbour", "cloud"]


@pytest.mark.anyio
async def test_scenes_of_a_queue_are_rendered_as_they_come(here, make_scene, capsys):
    """The program of the page is run by ``tests/end_to_end/fargate/test_story_pipeline.py``."""
    space = {"__name__": "story_pipeline"}
    program = text_of("examples/story_pipeline.py")
    run_page(f"{COOKBOOK}/pipeline.md", space, instead={program: lambda code: exec(code, space)})
    queue = asyncio.Queue()
    for name in ("one", "two"):
        queue.put_nowait(Scene.model_validate(make_scene(name)))
    queue.put_nowait(None)
    async with Client(FakeCloud().backend) as client:
        await space["render_queue"](client, queue)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["accepted one", "accepted two"]
    assert "videos/two.mp4 one: " in lines[2], "a fake makes no film"


class Communicate:
    """A voice as that of edge-tts 7.2: mp3 in parts, and times in units of 100 ns.

    Source: ``communicate.py`` and ``typing.py`` of github.com/rany2/edge-tts, 2025-12.
    """

    def __init__(self, text, voice, *, boundary="SentenceBoundary"):
        assert re.fullmatch(r"[a-z]{2}-[A-Z]{2}-\w+Neural", voice)
        self.text, self.boundary = text, boundary
        self.sound = Path("examples/story/01-harbour.mp3").read_bytes()

    async def stream(self):
        yield {"type": "audio", "data": self.sound[:1000]}
        said = re.findall(r"\w+", self.text) if self.boundary == "WordBoundary" else [self.text]
        for place, text in enumerate(said):
            times = {"offset": 300_000.0 * place, "duration": 250_000.0}
            yield {"type": self.boundary, **times, "text": text}
        yield {"type": "audio", "data": self.sound[1000:]}


@pytest.fixture
def edge_tts(monkeypatch):
    monkeypatch.setitem(sys.modules, "edge_tts", SimpleNamespace(Communicate=Communicate))


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(240)
def test_a_film_has_the_spoken_words_as_subtitles(here, edge_tts, capsys):
    short_story(here, "01-harbour", "02-cloud")
    run_page(f"{COOKBOOK}/voices.md")
    assert capsys.readouterr().out == f"{here / 'spoken.mp4'}\n"
    assert "\nA small cloud woke above the harbour\n" in (here / "spoken.srt").read_text("utf-8")


def test_word_times_of_a_voice_are_subtitles(here, edge_tts, on_fakes):
    short_story(here, "01-harbour", "02-cloud")
    with pytest.raises(FilmError):  # a fake makes no film
        run_page(f"{COOKBOOK}/voices.md")
    assert "encoded 02-cloud on fake-1" in on_fakes.log
    (cue,) = read_subtitles(Path("02-cloud.json").read_bytes()).cues
    assert cue.text == "It asked the wind for the way to the mountains"
    assert len(cue.words) == 10


def test_a_script_shows_its_run_and_logs_it_as_json(here, on_fakes, capsys, monkeypatch, request):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logger = logging.getLogger("cloudburst.runs")
    request.addfinalizer(partial(logger.setLevel, logger.level))
    short_story(here, "01-harbour")
    space = {}
    run_page(f"{COOKBOOK}/scripts.md", space)
    out, err = capsys.readouterr()
    assert "1 video of 1 scene" in out
    assert "01-harbour: done, " in err
    assert space["client"].settings.subnets == ("subnet-0a1b2c3d",)
    assert "AWS_REGION" not in os.environ
    space["blocking"].render_all(read_scenes("examples/story"), to="again")
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {entry["scene"] for entry in logged} == {"01-harbour", None}
    assert len({entry["run"] for entry in logged}) == 1


def test_a_program_for_the_night_resumes_its_run_on_spot(here, says, monkeypatch, capsys):
    """Without resuming it, the name of the run could not be used again."""
    short_story(here, "01-harbour")
    cloud, asked = FakeCloud(), []
    monkeypatch.setattr(cloudburst, "fargate", lambda given: asked.append(given) or cloud.backend)
    for _night in range(2):
        run_page(f"{COOKBOOK}/spot.md", environment=says)
    assert [settings.capacity for settings in asked] == ["FARGATE_SPOT"] * 2
    assert capsys.readouterr().out.count("1 video of 1 scene") == 2


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(240)
def test_commands_and_program_for_the_night_run_on_spot(here, monkeypatch):
    short_story(here, "01-harbour")
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        run_page(f"{COOKBOOK}/spot.md")
        assert [task.spot for task in emulator.tasks] == [True, True]
    assert (here / "videos" / "01-harbour.mp4").exists()
    assert (here / "nights" / "01-harbour.mp4").exists()


QUICK = f"{sys.executable} {ROOT / 'tests' / 'support' / 'serve_quick.py'}"
REAL = f"{sys.executable} -m cloudburst.service"
SSH = """#!/bin/sh
# Runs the command on this machine: its port is the same on both sides of the tunnel.
for command; do :; done
exec sh -c "$(printf %s "$command" | sed "s|python3 -m cloudburst.service|$SERVICE|")"
"""


@pytest.fixture
def ssh(here, monkeypatch):
    """The names of the page, with this machine as both hosts, and a `Watch` of its processes."""
    program = here / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    watch = Watch(temp=here / "temp")
    watch.temp.mkdir()
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}", "SERVICE": QUICK}
    for name, value in {**watch.environment, **path}.items():
        monkeypatch.setenv(name, value)
    space = {}
    run_page(f"{COOKBOOK}/own-backend.md", space)
    with ExitStack() as stack:
        listen = partial(socket.create_server, ("127.0.0.1", 0))
        for host in space["HOSTS"]:
            space["HOSTS"][host] = stack.enter_context(listen()).getsockname()[1]
    yield space, watch
    watch.kill()


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
@pytest.mark.anyio
@pytest.mark.parametrize("service", [QUICK, pytest.param(REAL, marks=pytest.mark.nightly)])
async def test_workers_over_ssh_render_and_end(ssh, make_scene, service, monkeypatch):
    space, watch = ssh
    monkeypatch.setenv("SERVICE", service)
    async with Client(space["over_ssh"]) as client:
        report = await client.render_all([make_scene("one"), make_scene("two")], to="videos")
    assert report.status is Status.COMPLETE
    assert {worker.backend for worker in report.workers} == {"ssh"}
    assert not watch.left_after(2)


@pytest.mark.real
@pytest.mark.anyio
async def test_a_machine_without_the_service_is_reported(ssh, make_scene, monkeypatch):
    space, watch = ssh
    monkeypatch.setenv("SERVICE", "missing-python")
    async with Client(space["over_ssh"]) as client:
        report = await client.render_all([make_scene()], to="videos")
    assert re.search(r"ssh render-[12]: exit 127", str(report.errors[0]))
    assert not watch.left_after(2)


@pytest.mark.real
@pytest.mark.anyio
@pytest.mark.parametrize("moment", ["worker.launched", "scene.started"])
async def test_a_cancelled_run_over_ssh_leaves_no_process(ssh, make_scene, moment):
    space, watch = ssh
    reached = asyncio.Event()

    async def render():
        scenes = [make_scene("late")]
        async with Client(space["over_ssh"]) as client, client.stream(scenes, to="videos") as run:
            async for event in run:
                if event.type == moment:
                    reached.set()

    task = asyncio.create_task(render())
    await asyncio.wait_for(reached.wait(), 30)
    assert watch.processes()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not watch.left_after(2)

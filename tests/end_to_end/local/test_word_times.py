"""A folder with times of words: the same scenes and cues in the command, a program and a tool."""

from __future__ import annotations

import re
import subprocess
import sys

import anyio
import mcp
import pytest

from cloudburst import Client, RenderOptions, local, read_scenes
from cloudburst.media.subtitles import read_subtitles
from cloudburst.serve.tools import Tools
from cloudburst.web import Jobs
from support.spoken_folder import LINES, spoken_folder

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

LOOK = {"size": "426x240", "effects": ()}


def test_a_folder_with_word_times_has_the_same_cues_by_command_program_and_tool(tmp_path):
    spoken_folder(tmp_path / "in")
    command = (sys.executable, "-m", "cloudburst", "render", "in", "--to", "command")
    look = ("--size", LOOK["size"], "--no-zoom", "--backend", "local", "--film", "film.mp4")
    subprocess.run([*command, *look], cwd=tmp_path, check=True, timeout=60)
    in_program = tmp_path / "program.mp4"
    by_tool = anyio.run(render_by_program_and_tool, tmp_path, in_program)
    found = [
        [(cue.start, cue.end, cue.text) for cue in read_subtitles(path.read_bytes()).cues]
        for path in (tmp_path / "film.srt", in_program.with_suffix(".srt"), by_tool)
    ]
    assert [text for _, _, text in found[0]] == list(LINES)
    assert found[1:] == [found[0]] * 2


async def render_by_program_and_tool(folder, film):
    scenes = read_scenes(folder / "in")
    async with Client(local(workers=2), options=RenderOptions(**LOOK)) as client:
        report = await client.render_all(scenes, to=folder / "program", film=film)
    report.raise_for_failures()
    jobs = Jobs(Client(local(workers=2)), folder / "jobs")
    async with jobs.lifespan(), mcp.Client(Tools(jobs, folder).server()) as agent:
        inner = [{k: re.sub(r".*/in/", "in/", v) for k, v in one.items()} for one in scenes]
        job = {"scenes": inner, "film": True, "options": LOOK | {"effects": []}}
        answer = await agent.call_tool("render", {"job": job, "wait_seconds": 60})
        assert answer.structured_content["state"] == "complete"
        return jobs.queue.files(answer.structured_content["id"]).film.with_suffix(".srt")

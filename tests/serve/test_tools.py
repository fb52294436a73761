"""Tools for agents on workers in memory: calls, and mistakes with what to do."""

import base64
import io
import json
from contextlib import asynccontextmanager
from pathlib import Path

import mcp
import pytest
from PIL import Image

from cloudburst import Client
from cloudburst.serve.tools import Tools
from cloudburst.testing import FakeCloud
from cloudburst.web import Jobs

pytestmark = pytest.mark.anyio

NAMES = {
    *("list_looks", "preview_frame", "plan", "render", "add_scenes", "close_job", "job"),
    *("cancel", "results"),
}


@pytest.fixture
def root(tmp_path, make_scene):
    """A folder with the picture and the sound of a scene."""
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    made = make_scene("a", seconds=0.2)
    Path(made["image_path"]).rename(root / "in" / "a.png")
    Path(made["audio_path"]).rename(root / "in" / "a.wav")
    return root


@pytest.fixture
def agent(root):
    """Connect an agent to tools with the folder, or without."""

    @asynccontextmanager
    async def connected(*, local=True):
        jobs = Jobs(Client(FakeCloud().backend), root / "jobs")
        async with jobs.lifespan():
            async with mcp.Client(Tools(jobs, root if local else None).server()) as client:
                yield client
            assert list((root / "jobs" / "uploads").iterdir()) == []

    return connected


async def called(client, name, **arguments):
    """Return the answer of a tool as JSON, which must be no error."""
    answer = await client.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


async def refused(client, name, **arguments):
    """Return the text of the error of a tool."""
    answer = await client.call_tool(name, arguments)
    assert answer.is_error, answer.content
    return answer.content[0].text


SCENE = {"name": "a", "image": "in/a.png", "audio": "in/a.wav"}


async def test_tools_are_described(agent, root):
    async with agent() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == NAMES
        assert all(tool.description for tool in tools.values())
        assert len(json.dumps([tool.input_schema for tool in tools.values()])) < 20_000
        job = tools["render"].input_schema["properties"]["job"]
        assert job["properties"]["scenes"]["items"]["required"] == ["name"]
        assert "list_looks" in job["properties"]["options"]["description"]
        assert "below --root" in job["properties"]["scenes"]["items"]["description"]


async def test_an_unknown_argument_is_refused_by_its_name(agent):
    async with agent() as client:
        text = await refused(client, "job", id="0" * 32)
        assert text == "job has no argument id; arguments: ['job', 'wait_seconds']"
        text = await refused(client, "render", scenes=[SCENE], job={"scenes": [SCENE]})
        assert text == "render has no argument scenes; arguments: ['job', 'wait_seconds']"
        text = await refused(client, "list_looks", x=1)
        assert text == "list_looks has no argument x; arguments: []"
        assert (await called(client, "job"))["jobs"] == []


async def test_local_files_are_rendered_and_paths_are_returned(agent, root):
    async with agent() as client:
        job = {"scenes": [SCENE, {"name": "b", "title_card": "End", "duration": 1}]}
        made = await called(client, "render", job=job, wait_seconds=30)
        assert made["state"] == "complete"
        found = await called(client, "results", job=made["id"])
    folder = root / "jobs" / "jobs" / made["id"] / "videos"
    paths = {one["scene"]: one["path"] for one in found["videos"]}
    assert not [name for one in (made, *found["videos"]) for name in one if "url" in name]
    assert paths == {name: str(folder / f"{name}.mp4") for name in "ab"}


@pytest.mark.real
async def test_looks_are_listed_and_a_frame_of_one_is_a_picture(agent):
    async with agent() as client:
        looks = await called(client, "list_looks")
        assert "effects" in {option["name"] for option in looks["options"]}
        options = {"size": "320x240", "effects": ["zoom_in"]}
        answer = await client.call_tool(
            "preview_frame", {"scene": SCENE, "at": 0.1, "options": options, "width": 160}
        )
        assert not answer.is_error, answer.content
        (picture,) = answer.content
        assert picture.mime_type == "image/jpeg"
        drawn = Image.open(io.BytesIO(base64.b64decode(picture.data)))
        assert (drawn.format, drawn.size) == ("JPEG", (160, 120))
        text = await refused(client, "preview_frame", scene=SCENE | {"effects": 1})
        assert '"field":"effects"' in text
        text = await refused(client, "preview_frame", scene=SCENE | {"image": "../x.png"})
        assert "a: image: no such file in the folder" in text


async def test_plan_lists_faults_beside_the_scenes_that_are_good(agent):
    async with agent() as client:
        scenes = [SCENE, {"name": "b", "title_card": "End", "duration": -1}]
        found = await called(client, "plan", job={"scenes": scenes})
        assert [scene["scene"] for scene in found["scenes"]] == ["a"]
        (fault,) = found["faults"]
        assert (fault["scene"], fault["field"]) == ("b", "duration")
        assert fault["expected"]
        job = {"scenes": [SCENE | {"audio": "in/none.wav"}]}
        assert "a: audio: no such file" in await refused(client, "plan", job=job)


async def test_scenes_are_added_to_an_open_job(agent):
    async with agent() as client:
        job = (await called(client, "render", job={"open": True}))["id"]
        await called(client, "add_scenes", job=job, scenes=[SCENE])
        assert (await called(client, "job", job=job, wait_seconds=0.1))["open"]
        await called(client, "close_job", job=job)
        assert (await called(client, "job", job=job, wait_seconds=30))["state"] == "complete"
        cancelled = await called(client, "cancel", job=job)
        assert cancelled["state"] == "complete", "a finished job does not change"


@pytest.fixture
def outside(root, make_scene):
    """A picture outside the root, with links that lead to it."""
    outside = Path(make_scene("p")["image_path"]).rename(root.parent / "outside.png")
    (root / "link.png").symlink_to(outside)
    (root / "folder").symlink_to(root.parent)
    (root / "loop.png").symlink_to("loop.png")
    return outside


@pytest.mark.parametrize(
    "name",
    [
        *("../outside.png", "link.png", "folder/outside.png", "OUTSIDE"),
        *("loop.png", "a\0.png", "a" * 300 + ".png"),
    ],
)
async def test_file_outside_the_root_is_refused(name, agent, root, outside):
    name = name.replace("OUTSIDE", str(outside))
    async with agent() as client:
        job = {"scenes": [{"name": "a", "image": name, "duration": 1}]}
        text = await refused(client, "render", job=job)
        assert (
            "a: image: no such file in the folder; expected the path of a file below --root" in text
        )
        job = {"scenes": [SCENE], "options": {"watermark": name}}
        assert "watermark: no such file" in await refused(client, "render", job=job)
        job = {"scenes": [SCENE], "film_music": name}
        assert "film_music: no such file" in await refused(client, "render", job=job)


async def test_without_a_root_no_file_of_the_machine_is_read(agent, root):
    async with agent(local=False) as client:
        scene = SCENE | {"image": str(root / "in" / "a.png")}
        text = await refused(client, "render", job={"scenes": [scene]})
    fields = {fault["field"] for fault in json.loads(text.partition(": ")[2])["faults"]}
    assert fields == {"image", "audio"}


async def test_mistakes_are_answered_with_what_to_do(agent):
    async with agent() as client:
        text = await refused(client, "render", job={"scenes": [SCENE | {"imgae": "x"}]})
        (fault,) = json.loads(text.partition(": ")[2])["faults"]
        assert (fault["scene"], fault["field"]) == ("a", "imgae")
        assert fault["expected"]
        scenes = [SCENE | {"image": "in/b.png"}, {"name": "b", "image": "in/a.png"}]
        text = await refused(client, "render", job={"scenes": scenes})
        assert "a: image: no such file in the folder" in text
        assert '"code": "no_file", "fix": "correct the location' in text
        scenes = [SCENE] * 1_001
        text = await refused(client, "render", job={"scenes": scenes})
        assert "1,001 scenes; expected at most 1,000" in text
        text = await refused(client, "render", job={"scenes": [SCENE]}, wait_seconds=61)
        assert "less than or equal to 60" in text
        for field in ("scenes", "options"):
            text = await refused(client, "render", job={"scenes": [SCENE], field: 5})
            assert f'"field":"{field}"' in text
        assert "job" in await refused(client, "job", job="../../x")
        text = await refused(client, "job", job="0" * 32)
        assert "UnknownJobError" in text
        assert (await called(client, "job"))["jobs"] == []
        scenes = [0] * 5_000
        assert len(await refused(client, "add_scenes", job="0" * 32, scenes=scenes)) < 30_000
        assert "render" in await refused(client, "render")
        assert "Unknown tool" in await refused(client, "rendr")


async def test_a_wrong_argument_is_refused_in_our_words(agent):
    async with agent() as client:
        assert await refused(client, "render", job=3) == "render: job: 3; expected a mapping"
        text = await refused(client, "job", wait_seconds=1e6)
        assert text == "job: wait_seconds: 1000000.0; expected less than or equal to 60"

"""The code of the pages runs, both READMEs agree, and quoted messages exist."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import anyio
import av
import pytest
from botocore.exceptions import NoCredentialsError

from cloudburst import Client, RenderOptions, Settings, Status, Tier, Timeouts, fargate
from cloudburst.models.task import LaunchRequest, TaskSpec
from cloudburst.ports.backend import new_key
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.doc_pages import (
    ROOT,
    blocks,
    prose_of,
    table_of,
    text_of,
)
from support.old_calls import without_settings, write_env

PASSED_ON = (NoCredentialsError.fmt, "… is not authorized to perform: kms:…")
"""Messages of boto and of AWS that the package passes on."""
COMMAND = re.compile(r"(?m)^(?:\$ )?cloudburst .*$")


@pytest.fixture
def here(tmp_path, monkeypatch):
    without_settings(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def scenes(here, make_scene):
    """Scenes with the names in the README."""
    for name in ("one", "two"):
        make_scene(name, seconds=0.2)
    Path("one.wav").rename("one.mp3")
    Path("two.png").rename("two.jpg")
    Path("two.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\n你好\n", "utf-8")
    return run_blocks("README.md", only="scenes = [")["scenes"]


def run_blocks(page, *, only="", space=None):
    """Run the code of a page, except complete programs; return its names."""
    space = {} if space is None else space
    for block in blocks(page, "python"):
        if "asyncio.run" not in block and only in block:
            exec(compile(block, page, "exec"), space)
    return space


def copy_start(source: Path, target: Path, *, seconds: float) -> None:
    """Copy the start of a sound, without encoding it again."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as start:
        sound = whole.streams.audio[0]
        copied = start.add_stream_from_template(sound)
        for packet in whole.demux(sound):
            if packet.dts is None or packet.dts * packet.time_base >= seconds:
                break
            packet.stream = copied
            start.mux(packet)


@pytest.mark.real
@pytest.mark.timeout(120)
def test_the_program_renders_the_story_once(here, capsys):
    """The story is shortened: a third of a second of sound for each scene."""
    story = here / "examples" / "story"
    shutil.copytree(ROOT / "examples" / "story", story)
    for suffix in ("mp3", "m4a"):
        for sound in (ROOT / "examples" / "story").glob(f"*.{suffix}"):
            copy_start(sound, story / sound.name, seconds=0.3)
    program = next(block for block in blocks("README.md", "python") if "asyncio.run" in block)
    made = []
    for _ in range(2):
        exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
        assert "6 videos of 6 scenes" in capsys.readouterr().out
        made.append({path: path.stat().st_mtime_ns for path in Path("videos").glob("*.mp4")})
    assert len(made[0]) == 6
    assert made[1] == made[0]


@pytest.mark.filterwarnings("ignore:AWS_SUBNET_ID is not set:UserWarning")
@pytest.mark.real
@pytest.mark.timeout(60)
def test_the_pieces_work(scenes, capsys):
    space = run_blocks("README.md")
    assert space["result"].success
    out = capsys.readouterr().out
    for name in ("one", "场景_002"):
        assert len(list(Path("output").glob(f"batch_*/{name}.mp4"))) == 1
        assert f"{name}.mp4" in out

    async def watched():
        async with Client() as client:
            await space["watch"](client, scenes)
            await space["watch"](client, [*scenes, {"name": "three"}])

    anyio.run(watched)
    out = capsys.readouterr().out
    assert str(Path("videos/one.mp4")) in out
    assert "three image" in out
    before = {path: path.stat().st_mtime_ns for path in Path("videos").glob("*.mp4")}

    async def resumed():
        async with Client() as client:
            return await client.render_all(scenes, to="videos", resume=True)

    report = anyio.run(resumed)
    assert report.status is Status.COMPLETE
    assert before == {path: path.stat().st_mtime_ns for path in Path("videos").glob("*.mp4")}


@pytest.mark.real
@pytest.mark.timeout(60)
def test_the_pieces_for_fargate_work(scenes, capsys, monkeypatch):
    """The credentials are in the environment, and what `cloudburst init` found is in ``.env``."""
    space = run_blocks("README.md", only="async def")
    program = next(block for block in blocks("README.md", "python") if "asyncio.run" in block)
    quick = EmulatorConfig.quick(moto=False)
    with FargateEmulator(quick) as emulator:
        prepared = dict(emulator.environment)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, prepared.pop(name))
            write_env("".join(f"{name}={value}\n" for name, value in prepared.items()))
            Path("examples/story").mkdir(parents=True)
            for path in Path().glob("one.*"):
                shutil.copy(path, "examples/story")
            exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
            assert "1 video of 1 scene" in capsys.readouterr().out
            assert emulator.tasks
            shutil.rmtree("videos")
            anyio.run(space["on_fargate"], Settings(), scenes)
        Path(".env").unlink()
        out = capsys.readouterr().out
        assert re.search(r"complete \$0\.\d{4} \(estimate\)\n\$0\.\d{4}\n", out)

        settings = Settings(**emulator.environment)
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        space |= run_blocks("docs/batches.md", only="async def")
        for name in emulator.environment:
            monkeypatch.delenv(name)

        async def left():
            spec = TaskSpec(scene="场景_001")
            async with fargate(settings)(Timeouts(), Tier.STANDARD) as backend:
                request = LaunchRequest(spec=spec, token="token", secrets=new_key())
                await backend.launcher.launch(request)

        anyio.run(left)
        time.sleep(0.5)  # by then ECS knows the task
        write_env("".join(f"{name}={value}\n" for name, value in emulator.environment.items()))
        anyio.run(space["list_and_clean_up"])
        out = capsys.readouterr().out
        assert re.search(
            r"arn:aws:ecs:\S+ [A-Z]+ .*场景_001\nTerminated 1 tasks, 0 failed 1 0\n", out
        )
        assert not emulator.live


def test_the_pieces_without_rendering_work(here, capsys):
    assert isinstance(run_blocks("docs/looks.md")["options"], RenderOptions)
    assert run_blocks("docs/batches.md")["plan"].num_tasks == 10
    assert "101 scenes on 10 tasks" in capsys.readouterr().out


def test_a_run_is_planned(here, make_scene, capsys):
    forecast = run_blocks("docs/plan.md")["forecast"]
    assert anyio.run(forecast, [make_scene("a")]) == ()
    assert re.search(r"^machine None \d+ \S+ 0\S* True$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.filterwarnings("ignore:AWS_SUBNET_ID is not set:UserWarning")
@pytest.mark.real
@pytest.mark.timeout(60)
def test_the_pieces_of_the_other_pages_work(scenes, capsys, request):
    run_blocks("docs/film.md")
    run_blocks("docs/migration.md", space={"scenes": scenes})
    assert '"successful_scenes": 2' in capsys.readouterr().out


def test_the_readme_is_short():
    assert len(text_of("README.md").split()) <= 1300


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("README.md", ("quare", "4:3", "cropped", "16:9")),
        ("README_CN.md", ("正方形", "4:3", "裁剪", "16:9")),
    ],
)
def test_one_sentence_says_that_pictures_are_cropped(page, words):
    """Parts of a square picture are lost, which nobody should learn from the finished video."""
    sentences = re.split(r"\. |。", " ".join(prose_of(page).split()))
    assert [one for one in sentences if all(word in one for word in words)]


def test_each_fault_has_its_number_and_its_test():
    rows = table_of("docs/migration.md", "1")
    assert [row[0] for row in rows] == [str(number) for number in range(1, 15)]
    tests = (ROOT / "tests/compat/test_fourteen_faults.py").read_text("utf-8")
    for number in range(1, 15):
        assert f"def test_fault_{number:02}_" in tests

"""The tutorial of the page about S3 runs, against an emulated S3."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import anyio
import pytest

from cloudburst import Client, read_scenes
from cloudburst.cli.app import run
from cloudburst.errors import OutputExistsError
from cloudburst.models.locations import S3Object
from support.doc_pages import blocks
from support.emulator_calls import client
from support.old_calls import without_settings, write_env
from support.s3_account import account, content, keys

FILMS = "films"
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
PLACE = ("AWS_REGION", "AWS_ENDPOINT_URL")
"""Variables that name the emulator."""
SCENES = {
    "one": {"image": "one.png", "audio": "one.mp3", "subtitle": "one.srt"},
    "two": {"image": "two.jpg", "audio": "two.wav"},
}


@pytest.fixture
def films(make_scene, tmp_path, monkeypatch):
    """An account whose bucket has the folder of the tutorial; ``.env`` names it, but no subnet."""
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    with account() as emulator:
        s3 = client(emulator, "s3")
        s3.create_bucket(Bucket=FILMS)
        subtitles = b"1\n00:00:00,000 --> 00:00:00,100\nhello\n"
        for name, files in SCENES.items():
            scene = make_scene(name, seconds=0.2)
            sources = {"image": scene["image_path"], "audio": scene["audio_path"]}
            for field, file in files.items():
                body = Path(sources[field]).read_bytes() if field in sources else subtitles
                s3.put_object(Bucket=FILMS, Key=f"in/{file}", Body=body)
        names = (*CREDENTIALS, *PLACE)
        write_env("".join(f"{name}={emulator.environment[name]}\n" for name in names))
        yield emulator


def videos(emulator, folder):
    found = (key for key in keys(emulator, FILMS) if key.startswith(folder))
    return [key.removeprefix(folder) for key in found]


def commands():
    """The commands of the tutorial, without those that set up an account."""
    lines = [line for code in blocks("docs/s3.md", "sh") for line in code.splitlines()]
    return [shlex.split(line)[1:] for line in lines if not line.startswith("cloudburst init")]


@pytest.mark.real
@pytest.mark.timeout(90)
@pytest.mark.filterwarnings("ignore:AWS_SUBNET_ID is not set:UserWarning")
def test_from_s3_to_s3(films, capsys, monkeypatch):
    first, listed, resumed = commands()
    assert run([*first, "--backend", "local"]) == 0
    said = capsys.readouterr().out
    assert "Videos in s3://films/out/" in said
    assert "2 videos of 2 scenes" in said
    assert videos(films, "out/") == ["one.mp4", "two.mp4"]
    assert content(films, S3Object(FILMS, "out/one.mp4"))[4:8] == b"ftyp"
    assert run(listed) == 0
    assert re.search(r"in s3://films/out/\nrun .*\n\w+ +complete +2/2", capsys.readouterr().out)
    assert run(resumed) == 0
    assert "is complete: 2 videos in s3://films/out/" in capsys.readouterr().out
    assert run([*first, "--backend", "local"]) == 2
    assert "2 videos there already; --overwrite replaces them" in capsys.readouterr().err

    # The calls of cloudburst-fargate refuse credentials in .env without a subnet.
    Path(".env").unlink()
    for name in (*CREDENTIALS, *PLACE):
        monkeypatch.setenv(name, films.environment[name])
    program, old = blocks("docs/s3.md", "python")
    exec(compile(old, "docs/s3.md", "exec"), {})
    (batch,) = {key.partition("/")[0] for key in videos(films, "batches/")}
    assert capsys.readouterr().out == f"['s3://films/batches/{batch}/one.mp4']\n"
    assert run(["runs", "--to", "s3://films/batches/", "--json"]) == 0
    (in_batch,) = json.loads(capsys.readouterr().out)
    assert in_batch["folder"] == f"s3://films/batches/batch_{in_batch['run']}/"

    exec(compile(program, "docs/s3.md", "exec"), {"__name__": "__main__"})
    assert "s3://films/program/one.mp4 " in capsys.readouterr().out
    assert not [key for key in keys(films, FILMS) if ".cloudburst" in key]

    async def again():
        async with Client() as opened:
            scenes = await anyio.to_thread.run_sync(read_scenes, "s3://films/in/")
            await opened.render_all(scenes, to="s3://films/out/")

    with pytest.raises(OutputExistsError) as caught:
        anyio.run(again)
    assert caught.value.objects == ("s3://films/out/one.mp4", "s3://films/out/two.mp4")

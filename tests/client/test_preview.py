"""Single frames of videos, for callers and on the command line."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import tempfile
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from PIL import Image

from cloudburst import RenderOptions, render_frame
from cloudburst.cli import main
from cloudburst.errors import (
    ConfigurationError,
    InvalidScenesError,
    OutputExistsError,
    OutputWriteError,
    RenderFailedError,
)
from cloudburst.workers.local import frame
from support.font_files import latin_font
from support.service_caller import alive, read_pids, until_gone

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend():
    return "asyncio"  # processes


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Return the folder in which temporary folders are created."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Return the bytes of a picture that is drawn without a process."""

    async def draw_frame(*_args: object, **_options: object) -> bytes:
        return b"picture"

    monkeypatch.setattr("cloudburst.client.preview.draw_frame", draw_frame)
    return b"picture"


async def test_a_file_that_appears_meanwhile_is_kept(make_scene, tmp_path, monkeypatch):
    file = tmp_path / "frame.png"

    async def draw_frame(*_args: object, **_options: object) -> bytes:
        file.write_bytes(b"of another program")
        return b"picture"

    monkeypatch.setattr("cloudburst.client.preview.draw_frame", draw_frame)
    with pytest.raises(OutputExistsError, match="already exists"):
        await render_frame(make_scene("a"), to=file)
    assert file.read_bytes() == b"of another program"
    await render_frame(make_scene("a"), to=file, overwrite=True)
    assert file.read_bytes() == b"picture"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


async def test_a_frame_is_returned_and_written(make_scene, tmp_path, temporary):
    scene = make_scene("a", color="gold")
    options = RenderOptions(effects=(), is_portrait=True)
    data = await render_frame(scene, 0.5, options=options)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size) == ("PNG", (1080, 1920))
        assert picture.getpixel((500, 900)) == pytest.approx((255, 215, 0), abs=2)
    to = tmp_path / "a.JPEG"
    written = await render_frame(scene | {"options": {"is_portrait": False}}, to=to)
    assert to.read_bytes() == written
    with Image.open(to) as picture:
        assert (picture.format, picture.size) == ("JPEG", (1920, 1080))
    assert list(temporary.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


async def test_a_frame_with_a_font_file_has_the_letters_of_that_font(make_scene, tmp_path):
    font, text = tmp_path / "own.ttf", tmp_path / "text.srt"
    font.write_bytes(latin_font())
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nLetters\n", "utf-8")
    scene = make_scene("a", seconds=0.2) | {"subtitle_path": str(text)}
    usual, own = [
        await render_frame(scene | {"options": options}, options=RenderOptions(effects=()))
        for options in ({}, {"font": str(font)})
    ]
    assert usual != own


async def test_what_a_frame_leaves_out_is_logged(make_scene, tmp_path, caplog):
    text = tmp_path / "text.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nParty 🎉\n", "utf-8")
    scene = make_scene("a", seconds=0.2) | {"subtitle_path": str(text)}
    await render_frame(scene, options=RenderOptions(effects=(), caption="karaoke"))
    left_out, ignored = (record.getMessage() for record in caplog.records)
    assert left_out.startswith("a: subtitle: left out, because no font has a glyph: U+1F389 🎉")
    assert ignored.startswith("a: subtitle: ignored highlight")


@pytest.mark.parametrize(
    ("change", "at", "field", "found"),
    [
        ({"audio_path": "nowhere.mp3"}, 0, "audio_path", "no such file"),
        ({"options": {"font_size": 7}}, 0, "options.font_size", "7"),
        ({}, -0.1, "at", "-0.1"),
        ({}, float("nan"), "at", "nan"),
        ({}, 1.0, "at", "1 seconds"),
    ],
)
async def test_faults_name_their_field(make_scene, temporary, change, at, field, found):  # noqa: PLR0917
    with pytest.raises(InvalidScenesError) as caught:
        await render_frame(make_scene("a") | change, at)
    (fault,) = caught.value.faults
    assert (fault.scene, fault.field) == ("a", field)
    assert found in fault.found
    assert list(temporary.iterdir()) == []


def cut_audio(path):
    """Keep ten samples; the header says that there are more."""
    path.write_bytes(path.read_bytes()[:64])


async def test_the_length_is_that_of_the_decoded_sound(make_scene, temporary):
    scene = make_scene("a")
    cut_audio(Path(scene["audio_path"]))
    with pytest.raises(InvalidScenesError) as caught:
        await render_frame(scene, 0.5)
    assert caught.value.faults[0].field == "at"
    assert list(temporary.iterdir()) == []


async def test_files_that_are_not_replaced(make_scene, tmp_path, drawn):
    scene = make_scene("a")
    there, folder = tmp_path / "there.png", tmp_path / "folder.png"
    there.write_text("precious")
    folder.mkdir()
    with pytest.raises(OutputExistsError):
        await render_frame(scene, to=there)
    for to in (folder, Path(scene["image_path"]), tmp_path / "a.gif", tmp_path / "a"):
        with pytest.raises(ConfigurationError):
            await render_frame(scene, to=to, overwrite=True)
    with pytest.raises(OutputWriteError, match="File exists"):
        await render_frame(scene, to=there / "a.png")
    assert there.read_text() == "precious"
    await render_frame(scene, to=there, overwrite=True)
    assert there.read_bytes() == drawn


async def test_without_the_extra_nothing_starts(make_scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigurationError, match=r"cloudburst-sdk\[local\]"):
        await render_frame(make_scene("a"))


async def test_a_process_that_fails_is_reported(make_scene, monkeypatch, temporary):
    command = (sys.executable, "-c", "raise SystemExit('no font was found')")
    monkeypatch.setattr(frame.draw_frame, "__kwdefaults__", {"command": command})
    with pytest.raises(RenderFailedError, match=r"exit 1: no font was found"):
        await render_frame(make_scene("a"))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("how", ["scope", "asyncio", "asyncio, twice"])
async def test_a_cancelled_call_leaves_nothing(how, make_scene, tmp_path, monkeypatch, temporary):
    """Neither a process nor a folder, nor a pipe for the garbage collector."""
    pids = tmp_path / "pids"
    code = (
        "import os, pathlib, time; path = pathlib.Path(os.environ['PYTHON_PIDS']);"
        "path.with_suffix('.new').write_text(str(os.getpid()));"
        "path.with_suffix('.new').rename(path); time.sleep(600)"
    )
    monkeypatch.setenv("PYTHON_PIDS", str(pids))
    monkeypatch.setattr(
        frame.draw_frame, "__kwdefaults__", {"command": (sys.executable, "-c", code)}
    )
    scope = anyio.CancelScope()

    async def call(scene):
        with scope:
            await render_frame(scene)

    task = asyncio.create_task(call(make_scene("a")))
    (pid,) = await anyio.to_thread.run_sync(read_pids, pids)
    assert alive(pid)
    if how == "scope":
        scope.cancel()
    else:
        task.cancel()
    if how == "asyncio, twice":
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or scope.cancelled_caught
    assert list(temporary.iterdir()) == []
    await anyio.to_thread.run_sync(until_gone, [pid])
    del task
    gc.collect()  # it would warn of a pipe that is open


def test_the_command(make_scene, tmp_path, monkeypatch, capsys):
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for name, color in (("a", "gold"), ("b", "teal")):
        make_scene(name, color=color, folder=scenes)
    monkeypatch.chdir(tmp_path)
    words = ["frame", "scenes", "--scene", "b", "--at", "0.5s", "--portrait", "--effects", "pan_up"]
    assert main(words) == 0
    assert capsys.readouterr().out == "b-0.5s.png\n"
    with Image.open("b-0.5s.png") as picture:
        assert picture.size == (1080, 1920)
        assert picture.getpixel((9, 9)) == pytest.approx((0, 128, 128), abs=2)
    assert main(words) == 2
    assert "1 file there already; --overwrite replaces it" in capsys.readouterr().err
    assert main(["frame", "scenes", "--to", "b-0.5s.png", "--overwrite"]) == 0
    with Image.open("b-0.5s.png") as picture:
        assert picture.getpixel((9, 9)) == pytest.approx((255, 215, 0), abs=4)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--at", "1m"], "expected a time before the end of the video"),
        (["--at", "soon"], "expected a time such as"),
        (["--scene", "c"], "no scene with the name 'c'; expected one of a"),
        (["--to", "a.mp4"], "expected a name that ends in .png, .jpg, .jpeg"),
        (["--watermark-width", "2"], "--watermark-width"),
    ],
)
def test_errors_of_the_command(make_scene, tmp_path, monkeypatch, capsys, words, text):  # noqa: PLR0917
    make_scene("a")
    monkeypatch.chdir(tmp_path)
    assert main(["frame", ".", *words]) == 2
    told = capsys.readouterr()
    assert text in " ".join((told.out + told.err).split())

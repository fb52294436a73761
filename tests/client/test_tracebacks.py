"""Tracebacks of errors that leave a public function."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image

from cloudburst import Client, Report, blocking, local, render, render_all
from cloudburst.errors import ConfigurationError, InvalidScenesError

pytestmark = pytest.mark.anyio
BAD: dict[str, object] = {"name": "a", "image": "missing.png", "duration": 1}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def frames(error: BaseException) -> list[str]:
    """Return the functions of a printed traceback that are not of the standard library."""
    files = [(Path(one.filename), one.name) for one in traceback.extract_tb(error.__traceback__)]
    return [
        name for file, name in files if file.name not in {"contextlib.py", "_contextmanagers.py"}
    ]


async def stream_scenes(to: Path) -> None:
    async with Client(local()) as client, client.stream([BAD], to=to):
        raise AssertionError("not reached")


async def client_render(to: Path) -> None:
    async with Client(local()) as client:
        await client.render(BAD, to=to)


async def all_of(to: Path) -> Report:
    return await render_all([BAD], to=to, backend=local())


async def one(to: Path) -> None:
    await render(BAD, to=to, backend=local())


@pytest.mark.parametrize(
    ("call", "door"),
    [
        (stream_scenes, "stream"),
        (client_render, "render"),
        (all_of, "render_all"),
        (one, "render"),
    ],
)
async def test_the_traceback_of_an_error_ends_in_the_public_function(
    call: Callable[[Path], Awaitable[object]], door: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidScenesError) as caught:
        await call(tmp_path)
    name = "test_the_traceback_of_an_error_ends_in_the_public_function"
    assert frames(caught.value) == [name, call.__name__, door]


def test_a_blocking_call_shows_neither_frames_of_the_loop_nor_causes(tmp_path: Path) -> None:
    Image.new("RGB", (64, 36)).save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    scene = {"name": "a", "image": tmp_path / "a.png", "duration": 1}
    with pytest.raises(ConfigurationError) as caught:
        blocking.render(scene, to=tmp_path / "file", backend=local())
    assert frames(caught.value)[1:] == ["blocking", "_run"]
    printed = "".join(traceback.format_exception(caught.value))
    assert printed.count("Traceback") == 1
    assert isinstance(caught.value.__context__, OSError)


async def test_errors_in_a_group_have_no_frames_of_the_engine(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[dict[str, object]]:
        for name in "ab":
            yield BAD | {"name": name}

    report = await render_all(source(), to=tmp_path, backend=local())
    with pytest.raises(ExceptionGroup) as caught:
        report.raise_for_failures()
    assert frames(caught.value)[1:] == ["raise_for_failures"]
    assert [one.__traceback__ for one in caught.value.exceptions] == [None, None]


async def test_errors_of_the_caller_keep_all_frames(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[dict[str, object]]:
        yield BAD
        raise KeyError("of the caller")

    with pytest.raises(KeyError) as caught:
        await render_all(source(), to=tmp_path, backend=local())
    assert frames(caught.value)[-1] == "source"

    def check() -> None:
        raise ConfigurationError("of the caller")

    with pytest.raises(ConfigurationError) as own:
        async with Client(local()) as client, client.stream(to=tmp_path):
            check()
    assert frames(own.value)[1:] == ["check"]


@pytest.mark.real
def test_the_development_mode_of_python_shows_all_frames(tmp_path: Path) -> None:
    code = f"""if True:
        from cloudburst import blocking, local
        blocking.render({BAD}, to={str(tmp_path)!r}, backend=local())
    """
    shown = {
        mode: subprocess.run(
            [sys.executable, *mode, "-c", code], capture_output=True, text=True, check=False
        ).stderr
        for mode in ((), ("-X", "dev"))
    }
    assert "check_inputs" not in shown[()]
    assert "check_inputs" in shown["-X", "dev"]

"""The README's code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloudburst import Client, RenderOptions

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend():
    return "asyncio"


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"(?ms)^```python\n(.*?)^```$", text)


@pytest.mark.timeout(120)
def test_the_program_renders_the_story(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    program = next(block for block in blocks("README.md") if "asyncio.run" in block)
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    assert len(list(Path("videos").glob("*.mp4"))) == 6
    assert "complete" in capsys.readouterr().out


async def test_the_pieces_work(tmp_path, monkeypatch, capsys, make_scene):
    monkeypatch.chdir(tmp_path)
    space = {}
    for block in blocks("README.md"):
        if "asyncio.run" not in block:
            exec(compile(block, "README.md", "exec"), space)
    assert isinstance(space["options"], RenderOptions)
    scenes = [make_scene("one", seconds=0.2)]
    await space["render"]([*scenes, {"name": "two"}])
    assert "two image" in capsys.readouterr().out
    async with Client() as client:
        await space["watch"](client, scenes)
    assert str(Path("videos/one.mp4")) in capsys.readouterr().out

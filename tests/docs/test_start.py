"""Code of the README and of the page Start runs, and their figures are right."""

from __future__ import annotations

import asyncio
import re
import shutil
import wave
from itertools import cycle
from pathlib import Path

import pytest
from PIL import Image

from cloudburst.cli.app import run
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.doc_blocks import run_page
from support.doc_pages import (
    READMES,
    ROOT,
    blocks,
    prose_of,
    tables,
    text_of,
)
from support.old_calls import without_settings, write_env
from support.short_story import short_story

STORY = ROOT / "examples" / "story"
DEMO = "cloudburst demo"
INSTALLS = "downloads packages: the workflow runs it"
INSTEAD = {
    "'.[local,cli]' &&": INSTALLS,
    "nox": INSTALLS,
    "uvx": "needs a release on PyPI",
    "cloudburst init": "needs an AWS account: tests/docs/test_aws.py uses an emulated one",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the first scene of the story, with a third of a second of its sound."""
    without_settings(monkeypatch, tmp_path)
    short_story(tmp_path, "01-harbour")
    return tmp_path


async def write():
    yield "once", "A cloud woke."


async def paint(_line):
    return Path("examples/story/01-harbour.jpg")


async def speak(_line):
    return Path("examples/story/01-harbour.mp3")


@pytest.mark.real
@pytest.mark.timeout(120)
def test_readme_renders_the_story_once(here, capsys):
    def program(code):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        assert "1 video of 1 scene" in capsys.readouterr().out
        made = {path: path.stat().st_mtime_ns for path in Path("videos").glob("*.mp4")}
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        assert {path: path.stat().st_mtime_ns for path in made} == made
        assert len(made) == 1
        assert Path("story.mp4").exists()
        for path in Path().glob("story.*"):
            path.unlink()

    run_page("README.md", instead={**INSTEAD, "async def main": program})


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
def test_readme_makes_a_film_of_scenes_that_come_one_by_one(here):
    space = {"write": write, "paint": paint, "speak": speak}
    run_page("README.md", space, instead={**INSTEAD, "async def main": "test above"})
    asyncio.run(space["make_film"]())
    assert len(list(Path("story-videos").glob("*.mp4"))) == 1
    assert Path("story.mp4").exists()


@pytest.mark.real
@pytest.mark.timeout(120)
def test_program_of_readme_uses_the_account_in_the_env_file(here, capsys, monkeypatch):
    program = next(block for block in blocks("README.md", "python") if "asyncio.run" in block)
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        settings = dict(emulator.environment)
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, settings.pop(name))
        write_env("".join(f"{name}={value}\n" for name, value in settings.items()))
        exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
        assert "1 video of 1 scene" in capsys.readouterr().out
        assert emulator.tasks


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
def test_start_renders_the_story(here, capsys):
    run_page("docs/index.md", instead={"'.[local,cli]'": INSTALLS})
    assert Path("story.mp4").exists()
    assert "videos/01-harbour.mp4" in capsys.readouterr().out


def test_start_has_the_price_of_ten_scenes(here, capsys):
    pictures = [path for path in STORY.iterdir() if path.suffix in {".jpg", ".png", ".webp"}]
    pictures = sorted(path for path in pictures if path.name != "watermark.png")
    Path("ten").mkdir()
    for number, picture in zip(range(10), cycle(pictures), strict=False):
        shutil.copy(picture, Path("ten", f"{number}{picture.suffix}"))
        Path("ten", f"{number}.srt").write_text("1\n00:00:00,000 --> 00:00:29,000\nOnce\n")
        with wave.open(f"ten/{number}.wav", "wb") as sound:
            sound.setparams((1, 1, 8000, 0, "NONE", ""))
            sound.writeframes(b"\x80" * 8000 * 30)
    assert run(["plan", "ten", "--backend", "fargate", "--tier", "STANDARD"]) == 0
    printed = re.sub(r" +$", "", capsys.readouterr().out, flags=re.MULTILINE).strip()
    for page in ("docs/index.md", "docs/zh/index.md"):
        assert blocks(page, "text")[0].strip() == printed
    assert re.search(r"(?m)^▸ +1 min 05 s .* \$0\.0080 .* 4 × STANDARD", printed)
    assert re.search(r"1 min 18 s .* \$0\.0024 .* 1 × STANDARD", printed)
    assert "30 s for $0.0024 to $0.0080 |" in text_of("docs/compare.md")
    for page in READMES:
        assert re.search(r"\$0\.008\D.*\$0\.0024\D", " ".join(prose_of(page).split()))


@pytest.mark.parametrize("page", READMES)
def test_readme_is_short_and_shows_the_demo_first(page):
    assert len(text_of(page).split()) <= 700
    first, second, *_ = blocks(page)
    assert first.endswith(f"{DEMO}\n")
    assert second.endswith("nox\n")
    assert text_of(page).index("docs/demo.webp") < text_of(page).index(DEMO)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("README.md", ("quare", "4:3", "cropped", "16:9")),
        ("README_CN.md", ("正方形", "4:3", "裁剪", "16:9")),
    ],
)
def test_one_sentence_says_that_pictures_are_cropped(page, words):
    """Parts of a square picture are lost, which a user learns from the README, not from a video."""
    sentences = re.split(r"\. |。", " ".join(prose_of(page).split()))
    assert [one for one in sentences if all(word in one for word in words)]


def test_comparison_has_the_figures_of_the_benchmarks():
    measured, compared = (
        re.split(r"[\s,]+", text_of(page)) for page in ("benchmarks/README.md", "docs/compare.md")
    )
    *_, (_, programs) = tables("docs/compare.md")
    assert len(programs) == 4
    figures = {*programs, "326", "$0.0367", "69", "$0.0021"}
    assert figures - set(measured) == set()
    assert figures - set(compared) == set()


def test_moving_picture_is_small_and_moves():
    path = ROOT / "docs" / "demo.webp"
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as picture:
        assert picture.n_frames > 50

"""The code of the pages runs, both READMEs agree, and quoted messages exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError

from cloudburst import RenderOptions
from support.doc_pages import (
    blocks,
)
from support.old_calls import without_settings

PASSED_ON = (NoCredentialsError.fmt, "… is not authorized to perform: kms:…")
"""Messages of boto and of AWS that the package passes on."""
COMMAND = re.compile(r"(?m)^(?:\$ )?cloudburst .*$")


@pytest.fixture
def here(tmp_path, monkeypatch):
    without_settings(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def scenes(here, make_scene):
    """Two scenes, one of them with the names of ``cloudburst-fargate``."""
    for name in ("one", "two"):
        make_scene(name, seconds=0.2)
    Path("one.wav").rename("one.mp3")
    Path("two.png").rename("two.jpg")
    Path("two.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\n你好\n", "utf-8")
    old = {"image_path": "two.jpg", "audio_path": "two.wav", "subtitle_path": "two.srt"}
    return [
        {"name": "one", "image": "one.png", "audio": "one.mp3"},
        {"scene_name": "场景_002", **old},
    ]


def run_blocks(page, *, only="", space=None):
    """Run the code of a page, except complete programs; return its names."""
    space = {} if space is None else space
    for block in blocks(page, "python"):
        if "asyncio.run" not in block and only in block:
            exec(compile(block, page, "exec"), space)
    return space


def test_the_pieces_without_rendering_work(here, capsys):
    assert isinstance(run_blocks("docs/looks.md")["options"], RenderOptions)


@pytest.mark.filterwarnings("ignore:AWS_SUBNET_ID is not set:UserWarning")
@pytest.mark.real
@pytest.mark.timeout(60)
def test_the_pieces_of_the_other_pages_work(scenes, capsys, request):
    run_blocks("docs/film.md")

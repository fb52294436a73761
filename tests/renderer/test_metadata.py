"""Title and other texts in the file of a video."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from pydantic import ValidationError

from cloudburst.models.options import RenderOptions, describe_option_errors
from cloudburst.models.options.marks import METADATA_NAMES
from support.render_job import lay_job, rendered_here
from support.video_probe import probe

OWN = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""Texts that FFmpeg writes into every file."""
TEXTS = {name: f"{name} 文字 é" for name in METADATA_NAMES} | {"language": "zho"}


def texts_of(video: Path) -> tuple[dict[str, str], str | None]:
    """Return the texts of a file without those of FFmpeg, and the language of its sound."""
    with av.open(str(video)) as container:
        found = {name: text for name, text in container.metadata.items() if name not in OWN}
        return found, container.streams.audio[0].metadata.get("language")


@pytest.mark.few(4, spread=True)
@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "texts", "language"),
    [
        ({}, {}, "und"),
        ({"title": "", "metadata": ""}, {}, "und"),
        ({"title": "春天 – a \N{PARTY POPPER}"}, {"title": "春天 – a \N{PARTY POPPER}"}, "und"),
        ({"metadata": " Artist=Me; date = 2026;"}, {"artist": "Me", "date": "2026"}, "und"),
        ({"metadata": ["comment=a=b; c", "language=eng"]}, {"comment": "a=b; c"}, "eng"),
        (
            {"title": "t" * 200, "metadata": TEXTS},
            {"title": "t" * 200} | {n: t for n, t in TEXTS.items() if n != "language"},
            "zho",
        ),
        (
            {"metadata": {"description": "字" * 500}},
            {"description": "字" * 500},
            "und",
        ),
    ],
    ids=["default", "empty", "title", "as text", "as list", "all", "long"],
)
def test_the_file_stores_the_texts(tmp_path, options, texts, language):
    rendered_here(lay_job(tmp_path, seconds=0.1, size="240x240", **options))
    assert texts_of(tmp_path / "video.mp4") == (texts, language)
    assert probe(tmp_path / "video.mp4").frames == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", "t" * 201),
        ("title", "two\nlines"),
        ("title", "nul\0"),
        ("title", "\x1b[31mred"),
        ("title", "line\N{LINE SEPARATOR}separator"),
        ("title", "half of a pair \ud83d"),
        ("title", 7),
        ("metadata", {"artist": "t" * 501}),
        ("metadata", {"artist": "a\rb"}),
        ("metadata", {"artist": None}),
        ("metadata", {f"name {n}": "" for n in range(1000)}),
        ("metadata", 7),
    ],
)
def test_errors_name_the_option(name, value):
    (text,) = errors_of(name, value)
    assert text.startswith(f"{name} is ")
    assert " in one line" in text
    assert len(text) < 500


@pytest.mark.parametrize(
    ("value", "found", "expected"),
    [
        ({"lens": "50 mm"}, "'lens'", "one of the names album, "),
        ({"title": "an option of its own"}, "'title'", "one of the names album, "),
        (["artist=a", "foo=b"], "'foo'", "one of the names album, "),
        ("artist", "'artist'", "a name with a text, such as artist=Me"),
        ("artist=a; artist=b", "' artist=b'", "each name once"),
        ("language=English", "language='English'", "a code of three letters, such as eng"),
        ({"language": "e1g"}, "language='e1g'", "a code of three letters, such as eng"),
        ({"n" * 10_000: ""}, "'nnn", "one of the names album, "),
    ],
)
def test_errors_name_the_text(value, found, expected):
    (text,) = errors_of("metadata", value)
    assert text.startswith(f"metadata is {found}")
    assert f"; expected {expected}" in text
    assert len(text) < 500


def errors_of(name: str, value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        RenderOptions.model_validate({name: value})
    return list(describe_option_errors(caught.value))


def test_the_texts_of_a_scene_replace_those_of_the_run():
    run = RenderOptions(title="Film", metadata={"artist": "Me", "date": "2026"})
    scene = RenderOptions(metadata={"artist": "You"})
    options = run.overridden_by(scene)
    assert (options.title, options.metadata) == ("Film", {"artist": "You"})
    assert run.overridden_by(RenderOptions(title=None)).title is None

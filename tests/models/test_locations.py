"""Locations of files in scenes, options, videos and journals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from cloudburst.errors import ConfigurationError, InvalidScenesError
from cloudburst.film.request import check_scenes_of_film
from cloudburst.models.film import FilmRequest
from cloudburst.models.journal_entries import ProcessEntry, SceneEntry
from cloudburst.models.limits import Limits
from cloudburst.models.locations import (
    HttpsUrl,
    S3Object,
    S3Prefix,
    location_text,
    parse_location,
    parse_s3_prefix,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene, Video
from cloudburst.models.tier import Tier
from support.checked_scenes import as_checked

SECRET = "token=do-not-show"

GOOD: dict[str, Any] = {
    "a.png": Path("a.png"),
    "/a/b.png": Path("/a/b.png"),
    "s3://bucket/a": S3Object("bucket", "a"),
    "s3://my.bucket-1/f/ü +%20.png": S3Object("my.bucket-1", "f/ü +%20.png"),
    "s3://films-1a2b-s3alias/a": S3Object("films-1a2b-s3alias", "a"),
    "https://example.com/a%20b.png?x=1": HttpsUrl("https://example.com/a%20b.png?x=1"),
    "https://[2001:db8::1]:8443/a": HttpsUrl("https://[2001:db8::1]:8443/a"),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_location_is_the_text_that_names_it(text: str) -> None:
    location = parse_location(text)
    assert (location, location_text(location)) == (GOOD[text], text)
    scene = Scene(name="a", image=text, duration=1)
    assert scene.image == location
    assert scene.model_dump(mode="json")["image"] == text
    assert Scene.model_validate_json(scene.model_dump_json()) == scene
    assert Scene.model_validate(scene.model_dump()) == scene


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("s3://", "not the name of a bucket"),
        ("s3://bucket", "no key"),
        ("s3://bucket/folder/", "a folder"),
        ("s3://Bucket/a", "not the name of a bucket"),
        ("s3://arn:aws:s3:us-east-1:123456789012:accesspoint/ap/a", "alias of an access point"),
        ("s3://arn:aws:s3::123456789012:accesspoint/abc.mrap/a", "an ARN"),
        ("s3://films--use1-az4--x-s3/a", "a directory bucket (S3 Express One Zone)"),
        ("s3://films-use1-az4--xa-s3/a", "a directory bucket (S3 Express One Zone)"),
        ("s3://bucket//a", "empty parts"),
        ("s3://bucket/a/../b", "empty parts"),
        ("s3://bucket/a\nb", "characters that cannot be seen"),
        (f"s3://bucket/{'ü' * 513}", "a key of 1026 bytes"),
        (f"https://user:{SECRET}@example.com/a", "not a valid URL: 'https://example.com/a'"),
        (f"https://example.com/a b?{SECRET}", "not a valid URL: 'https://example.com/a b'"),
        (f"https://example.com/a#{SECRET}", "not a valid URL: 'https://example.com/a'"),
        ("https://", "not a valid URL"),
        (f"http://example.com/a?{SECRET}", "a URL: 'http://example.com/a'"),
        (f"ftp://user:{SECRET}@example.com/a", "a URL: 'ftp://example.com/a'"),
        ("S3://bucket/a.png", "expected s3:// in lower case"),
        ("HTTPS://example.com/a.png", "expected https:// in lower case"),
    ],
)
def test_other_texts_are_refused_without_their_secrets(text: str, found: str) -> None:
    with pytest.raises(ValueError, match="; expected ") as caught:
        parse_location(text)
    assert found in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [5, b"a.png", ["a.png"], {"bucket": "b", "key": "k"}])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(InvalidScenesError, match="; expected a path or a URL"):
        Scene(name="a", image=value, duration=1)


def test_the_schema_of_a_location_is_a_text() -> None:
    schema = Scene.model_json_schema()
    for name in ("image", "audio"):
        assert schema["properties"][name]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert set(schema["$defs"]) == {"Effect", "RenderOptions"}


def test_options_have_locations() -> None:
    texts = {"watermark": "s3://b-b/w.png", "music": f"https://a.b/m.mp3?{SECRET}", "font": "f.ttf"}
    options = RenderOptions.model_validate(texts)
    assert options.files() == {name: parse_location(text) for name, text in texts.items()}
    assert options.with_absolute_files().files()["font"] == Path("f.ttf").absolute()
    assert options.with_absolute_files().watermark == S3Object("b-b", "w.png")
    assert SECRET not in repr(options)
    assert RenderOptions(font="s3://b-b/f.otf").font == S3Object("b-b", "f.otf")
    assert RenderOptions(font="Noto Sans CJK JP").files() == {}
    assert RenderOptions(music="").music is None


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (Scene, {"name": "a/b", "image": f"https://a.b/a.png?{SECRET}", "duration": 1}),
        (Scene, {"name": "a", "image": f"https://a.b/a b.png?{SECRET}", "duration": 1}),
        (RenderOptions, {"music": f"https://a.b/a b.mp3?{SECRET}"}),
    ],
)
def test_errors_of_models_hide_queries(model: type[BaseModel], fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    assert SECRET not in str(caught.value)


def test_journal_entries_keep_locations() -> None:
    options = RenderOptions.model_validate({"music": "s3://b-b/m.mp3", "font": "https://a.b/f.ttf"})
    scene = Scene.model_validate(
        {
            "name": "a",
            "image": "s3://b-b/a.png",
            "audio": f"https://a.b/a.mp3?{SECRET}",
            "options": {"watermark": "s3://b-b/w.png"},
        }
    )
    process = ProcessEntry(
        run="r", started_at=1, options=options, tier=Tier.STANDARD, limits=Limits(), backends=()
    )
    for entry in (SceneEntry(scene=scene, audio_seconds=1, fingerprint="f"), process):
        adapter = TypeAdapter[Any](type(entry))
        assert adapter.validate_json(adapter.dump_json(entry)) == entry


def test_videos_are_files_or_objects() -> None:
    video = Video(
        scene="a",
        path=Path("/v/a.mp4"),
        task="t",
        size=1,
        sha256="",
        seconds=1,
        cover="/v/a.jpg",
    )
    moved = video.moved_to(S3Object("b-b", "out/a.b.mp4"))
    assert moved.cover == S3Object("b-b", "out/a.b.jpg")
    assert Video.model_validate_json(moved.model_dump_json()) == moved
    assert moved.model_dump(mode="json")["path"] == "s3://b-b/out/a.b.mp4"
    with pytest.raises(ValidationError, match="expected an S3 object"):
        Video.model_validate(moved.model_dump() | {"path": "s3://b-b/"})


def test_folders_in_s3() -> None:
    for text in ("s3://b-b/x/y", "s3://b-b/x/y/"):
        assert parse_s3_prefix(text) == S3Prefix("b-b", "x/y/")
    assert str(parse_s3_prefix("s3://b-b")) == "s3://b-b/"
    file = S3Object("b-b", "x/a.mp4")
    assert (file.folder, file.name, file.suffix) == (S3Prefix("b-b", "x/"), "a.mp4", ".mp4")


def test_a_film_on_this_machine_needs_subtitles_on_this_machine(tmp_path: Path) -> None:
    scene = Scene.model_validate(
        {"name": "a", "image": "a.png", "duration": 1, "subtitle": f"https://a.b/a.srt?{SECRET}"}
    )
    checked = as_checked(scene)
    with pytest.raises(ConfigurationError) as caught:
        check_scenes_of_film(FilmRequest(path=tmp_path / "f.mp4"), [checked], tmp_path.joinpath)
    text = "film: subtitles of a: https://a.b/a.srt?…; expected a file on this machine"
    assert str(caught.value) == text

"""Scenes in S3: the same layouts as on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudburst.errors import ConfigurationError, InvalidScenesError
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.inputs.scenes import pictures_without_audio, read_scenes
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.locations import S3Object
from cloudburst.models.scene import Scene
from support.remote_store import BUCKET, RemoteStore

ROOT = f"s3://{BUCKET}"


@pytest.fixture
def store() -> RemoteStore:
    return RemoteStore()


@pytest.fixture
def remote(store: RemoteStore) -> Iterator[RemoteInputs]:
    with store.inputs() as remote:
        yield remote


def put(store: RemoteStore, *keys: str) -> None:
    for key in keys:
        store.put(key, b"")


LAYOUTS: dict[str, list[str]] = {
    "images and audio": [
        *("images/scene_10.png", "audio/scene_10.mp3", "audio/scene_10.srt"),
        *("images/scene_2.png", "audio/scene_2.mp3", "images/other.png", "notes.json"),
    ],
    "side by side": [
        *("b.png", "b.mp3", "b.srt", "a 你.jpg", "a 你.ogg", "lone.png", "deep/c.png", ".d.mp3"),
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("folder", ["", "my/folder"])
def test_folders_have_the_layouts_of_this_machine(
    store: RemoteStore, remote: RemoteInputs, tmp_path: Path, layout: str, folder: str
) -> None:
    for name in LAYOUTS[layout]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    put(store, *(f"{folder}/{name}".lstrip("/") for name in LAYOUTS[layout]))
    place = f"{ROOT}/{folder}".rstrip("/")
    expected = json.loads(json.dumps(read_scenes(tmp_path)).replace(str(tmp_path), place))
    assert len(expected) == 2
    assert read_scenes(f"{place}/", remote=remote) == expected
    assert read_scenes(place, remote=remote) == expected
    alone = [name.replace(str(tmp_path), place) for name in pictures_without_audio(tmp_path)]
    assert pictures_without_audio(place, remote=remote) == alone


LIST = [
    {"name": "a", "image": "x.png", "audio": "../y.mp3", "options": {"music": "m/../n.mp3"}},
    {
        "name": "b",
        "image": "s3://b-2/abs.png",
        "audio": "https://example.com/a.mp3?b",
        "subtitle": "",
    },
    {"name": "c", "image": f"{ROOT}/other.png", "audio": "sub/./y.mp3"},
]
READ = [
    {
        "name": "a",
        "image": f"{ROOT}/f/x.png",
        "audio": f"{ROOT}/y.mp3",
        "options": {"music": f"{ROOT}/f/n.mp3"},
    },
    LIST[1],
    {"name": "c", "image": f"{ROOT}/other.png", "audio": f"{ROOT}/f/sub/y.mp3"},
]


@pytest.mark.parametrize("name", ["scenes.json", "scenes.yaml", "scenes.csv"])
def test_scene_files(store: RemoteStore, remote: RemoteInputs, name: str, tmp_path: Path) -> None:
    text = json.dumps(LIST)
    expected: list[dict[str, Any]] = READ
    if name.endswith("csv"):
        rows = [
            [s["name"], s["image"], s["audio"], s.get("options", {}).get("music", "")] for s in LIST
        ]
        text = "\n".join(
            ",".join(map(str, row)) for row in [["name", "image", "audio", "music"], *rows]
        )
        expected = [{k: v for k, v in scene.items() if v} for scene in READ]
    store.put(f"f/{name}", text.encode())
    assert read_scenes(f"{ROOT}/f/{name}", remote=remote) == expected
    assert read_scenes(f"{ROOT}/f", remote=remote) == expected
    (tmp_path / name).write_text(text)
    local = read_scenes(tmp_path)
    assert local[0]["image"] == str(tmp_path / "x.png")
    assert local[1]["audio"] == "https://example.com/a.mp3?b"
    assert local[2]["image"] == f"{ROOT}/other.png"
    for scene in (*local, *expected):
        Scene.model_validate(scene)


def test_a_large_scene_file_is_read_in_parts(store: RemoteStore, remote: RemoteInputs) -> None:
    scenes = [{"name": f"{n}", "image": "x" * 200, "duration": 1} for n in range(10_000)]
    at = store.put("scenes.json", json.dumps(scenes).encode())
    assert len(store.files[at]) > 2**21
    assert len(read_scenes(str(at), remote=remote)) == 10_000
    assert store.requests_for(at) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{ROOT}/none.json", "s3://bucket/none.json: no such file"),
        (f"{ROOT}/none/", "s3://bucket/none/: no scenes in it; expected a scene file"),
        (f"{ROOT}/alone/", "s3://bucket/alone/a.mp3: no picture for it; expected a.png"),
        (f"{ROOT}/two/", r"s3://bucket/two/: 2 scene files, a.json, b.yaml; name one"),
        (f"{ROOT}/broken.json", "s3://bucket/broken.json, line 1, column 2: invalid JSON"),
        (f"{ROOT}/numbers.json", r"s3://bucket/numbers.json, scenes\[0\]: scene: 5; expected"),
        (f"{ROOT}/up.json", r"s3://bucket/\.\./a.png"),
        ("s3://B_B/", "not the name of a bucket: 's3://B_B/'"),
        ("https://example.com/a.json?secret", "https://example.com/a.json: a URL; expected a path"),
        ("S3://bucket/a/", "S3://bucket/a/: a URL; expected s3:// in lower case"),
        ("s3:/bucket/a/", "s3:/bucket/a/: a path; expected the text s3://bucket/folder/"),
        (f"{ROOT}/a//b/", "empty parts"),
    ],
)
def test_what_is_no_scenes(
    store: RemoteStore, remote: RemoteInputs, path: str, message: str
) -> None:
    put(store, "alone/a.mp3", "two/a.json", "two/b.yaml")
    store.put("broken.json", b"[x]")
    store.put("numbers.json", b"[5]")
    store.put("up.json", b'[{"name": "a", "image": "../a.png", "duration": 1}]')
    if path.endswith("up.json"):
        (scene,) = read_scenes(path, remote=remote)
        with pytest.raises(ValueError, match=message):
            Scene.model_validate(scene)
        return
    with pytest.raises(ConfigurationError, match=message):
        read_scenes(path, remote=remote)


@pytest.mark.parametrize("path", ["/etc/passwd", "~/key.png", "~root/x", "file:/x"])
def test_a_scene_file_in_s3_names_no_file_of_this_machine(
    store: RemoteStore, remote: RemoteInputs, path: str
) -> None:
    """Whoever may write to the bucket would choose what is read and rendered."""
    scenes = [
        {"name": "a", "image": path, "duration": 1},
        {"image": "b.png", "audio_path": path, "options": {"font": path, "watermark": path}},
    ]
    store.put("f/scenes.json", json.dumps(scenes).encode())
    with pytest.raises(InvalidScenesError) as caught:
        read_scenes(f"{ROOT}/f/", remote=remote)
    assert [(fault.scene, fault.field) for fault in caught.value.faults] == [
        *(("a", "image"), ("scenes[1]", "audio_path")),
        *(("scenes[1]", "font"), ("scenes[1]", "watermark")),
    ]
    assert f"the path '{path}' on this machine" in str(caught.value)
    assert "expected a path relative to the scene file" in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "FILE://x/y"])
def test_a_url_of_a_file_is_no_location(store: RemoteStore, remote: RemoteInputs, url: str) -> None:
    store.put("f.json", json.dumps([{"name": "a", "image": url, "duration": 1}]).encode())
    (scene,) = read_scenes(f"{ROOT}/f.json", remote=remote)
    with pytest.raises(ValueError, match="expected a path, s3:// or https://"):
        Scene.model_validate(scene)


def test_a_folder_that_cannot_be_listed(store: RemoteStore, remote: RemoteInputs) -> None:
    async def refuse(_folder: object) -> list[str]:
        raise InvalidInputError("no permission to list it", "s3:ListBucket")

    store.list_names = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(
        ConfigurationError, match="no permission to list it; expected s3:ListBucket"
    ):
        read_scenes(f"{ROOT}/x/", remote=remote)
    assert S3Object(BUCKET, "x") not in remote.files

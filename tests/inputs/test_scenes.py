"""Scenes in files and folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloudburst import Limits, RenderOptions
from cloudburst.errors import ConfigurationError, InvalidScenesError
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.scenes import pictures_without_audio, read_scenes, scan_scenes_from_folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.write_bytes(text.encode(encoding))
    return file


def names(path: Path) -> list[str]:
    return [scene.get("name") or scene["scene_name"] for scene in read_scenes(path)]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json(tmp_path: Path, wrapped: bool, encoding: str) -> None:
    scenes = [
        {"name": "一", "image": "a.png", "audio": "/abs/a.mp3"},
        {"scene_name": "b", "image_path": "../b.png", "audio_path": "b.mp3", "subtitle_path": ""},
        {"name": 3, "image": None},
    ]
    text = json.dumps({"scenes": scenes} if wrapped else scenes, ensure_ascii=False)
    assert read_scenes(write(tmp_path / "list.JSON", text, encoding)) == [
        {"name": "一", "image": f"{tmp_path}/a.png", "audio": "/abs/a.mp3"},
        {
            "scene_name": "b",
            "image_path": f"{tmp_path}/../b.png",
            "audio_path": f"{tmp_path}/b.mp3",
            "subtitle_path": "",
        },
        {"name": 3, "image": None},
    ]


def test_yaml(tmp_path: Path) -> None:
    text = "scenes:\n- {name: 一, image: a.png, audio: a.mp3}\n- name: b\n"
    assert read_scenes(write(tmp_path / "list.yml", text)) == [
        {"name": "一", "image": f"{tmp_path}/a.png", "audio": f"{tmp_path}/a.mp3"},
        {"name": "b"},
    ]


def test_values_in_yaml_are_texts_as_in_csv(tmp_path: Path) -> None:
    text = (
        "scenes:\n"
        "- {name: 001, image: 1.5, audio: 0x10, subtitle: }\n"
        "- {name: no, image: 2026-01-01, audio: 1:30:00, subtitle: ~}\n"
        "- {name: null, image: 'null', audio: ''}\n"
    )
    assert read_scenes(write(tmp_path / "list.yaml", text)) == [
        {
            "name": "001",
            "image": f"{tmp_path}/1.5",
            "audio": f"{tmp_path}/0x10",
            "subtitle": None,
        },
        {
            "name": "no",
            "image": f"{tmp_path}/2026-01-01",
            "audio": f"{tmp_path}/1:30:00",
            "subtitle": None,
        },
        {"name": None, "image": f"{tmp_path}/null", "audio": ""},
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(tmp_path: Path, encoding: str, delimiter: str) -> None:
    rows = [
        ["Scene_Name", "image_path ", "audio_path", "subtitle_path"],
        ["场景 一", "a.png", "a.mp3", ""],
        ["", "", "", ""],
        ['"b, ""2"""', "b.png", "b.mp3", "b.srt"],
        ["c"],
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    first, second, third = read_scenes(write(tmp_path / "list.csv", text, encoding))
    assert first == {
        "scene_name": "场景 一",
        "image_path": f"{tmp_path}/a.png",
        "audio_path": f"{tmp_path}/a.mp3",
    }
    assert second["scene_name"] == 'b, "2"'
    assert second["subtitle_path"] == f"{tmp_path}/b.srt"
    assert third == {"scene_name": "c"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[\n{]", "a.json, line 2, column 2: invalid JSON"),
        ("a.json", "", "a.json: no scenes in it; expected at least one"),
        ("a.json", "[]", "a.json: no scenes in it; expected at least one"),
        ("a.csv", "name,image,audio\n", "a.csv: no scenes in it; expected at least one"),
        ("a.json", '{"name": "a"}', "expected a list of scenes, or"),
        ("a.json", '{"scenes": 3}', "a.json: 3; expected a list"),
        ("a.json", '[{}, "a.png"]', r"a.json, scenes\[1\]: scene: 'a.png'; expected"),
        ("a.yaml", "a: [1\nb: 2", "a.yaml, line 2, column 2: invalid YAML"),
        ("a.yaml", "a: 2026-13-45", "a.yaml: {'a': '2026-13-45'}; expected a list"),
        ("a.yaml", "# none yet", "a.yaml: None; expected a list"),
        ("a.yaml", "- a", r"a.yaml, scenes\[0\]: scene: 'a'; expected a Scene, or a mapping"),
        ("a.yaml", "- name: !!int x", "a.yaml, line 1, column 9: the tag tag:yaml.org,2002:int"),
        ("a.yaml", "a: &a [*a]", r"a.yaml, line 1, column 8: an alias, \*a; write its value"),
        ("a.yaml", "[" * 30, "a.yaml, line 1, column 21: nested more than 20 deep"),
        ("a.yaml", "".join(f"%TAG !{n}! b\n" for n in range(200)), "a.yaml: more than 100 "),
        ("a.csv", "name,picture\n", "a.csv, line 1: an unknown column 'picture'"),
        ("a.csv", "name,image,name\n", "a.csv, line 1: the column 'name' twice"),
        ("a.csv", "name,image\nx,y\n\nx,y,z\n", "a.csv, line 4: 3 cells under 2 columns"),
        ("a.csv", 'name,image\n"x,y', "a.csv, line 2: invalid CSV"),
        ("a.txt", "", r"a.txt: a file ending in '.txt'; expected .json"),
        ("scenes", "", "scenes: a file without an ending"),
    ],
)
def test_a_faulty_file_is_named_with_the_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_scenes(write(tmp_path / name, text))


def test_what_is_no_scene_is_reported_with_all_other_faults(tmp_path: Path) -> None:
    text = "- just a string\n- {name: b, image: gone.png, audio: gone.mp3}\n- 7\n"
    with pytest.raises(InvalidScenesError) as caught:
        read_scenes(write(tmp_path / "a.yaml", text))
    assert [(fault.scene, fault.field, fault.found) for fault in caught.value.faults] == [
        (f"{tmp_path}/a.yaml, scenes[0]", "scene", "'just a string'"),
        ("b", "image", f"no such file: {tmp_path}/gone.png"),
        ("b", "audio", f"no such file: {tmp_path}/gone.mp3"),
        (f"{tmp_path}/a.yaml, scenes[2]", "scene", "'7'"),
    ]


def test_the_home_folder_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    url = "ftp://example.com/a.mp3?secret"
    scene = {"name": "a", "image": "~/x.png", "audio": url}
    (read,) = read_scenes(write(tmp_path / "a.json", json.dumps([scene])))
    assert read == {"name": "a", "image": f"{tmp_path}/home/x.png", "audio": url}
    with pytest.raises(InvalidScenesError) as caught:
        check_scenes([read], RenderOptions(), Limits())
    fault = str(caught.value.faults[0])
    found = "a URL: 'ftp://example.com/a.mp3'"
    assert fault == f"a: audio: {found}; expected a path, s3:// or https://"


def test_all_faults_of_a_folder_are_reported_at_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "b.mp3", "b.png", "b.jpg", "c.png", "c.mp3", "c.sbv")
    with pytest.raises(ConfigurationError) as caught:
        read_scenes(tmp_path)
    lines = str(caught.value).splitlines()
    assert ["a.mp3: no picture" in lines[0], "b.jpg, b.png" in lines[1]] == [True, True]
    assert "c.sbv: subtitles" in lines[2]
    old = tmp_path / "old"
    touch(old, "images/scene_1.png", "audio/scene_2.mp3")
    with pytest.raises(ConfigurationError, match=r"(?s)scene_1.*no images/\*.png for scene_2"):
        read_scenes(old)


def test_what_is_no_text_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ConfigurationError, match="not text"):
        read_scenes(tmp_path / "a.json")
    with pytest.raises(ConfigurationError, match="none: not found; expected"):
        read_scenes(tmp_path / "none")
    with pytest.raises(ConfigurationError, match="unreadable: File name too long"):
        read_scenes(tmp_path / ("x" * 300))


def test_the_layout_of_the_old_client(tmp_path: Path) -> None:
    touch(tmp_path, "images/scene_10.png", "images/scene_2.png", "images/cover.png")
    touch(tmp_path, "audio/scene_10.mp3", "audio/scene_2.mp3", "audio/scene_2.srt", "x.json")
    expected = [
        {
            "scene_name": "scene_2",
            "image_path": f"{tmp_path}/images/scene_2.png",
            "audio_path": f"{tmp_path}/audio/scene_2.mp3",
            "subtitle_path": f"{tmp_path}/audio/scene_2.srt",
        },
        {
            "scene_name": "scene_10",
            "image_path": f"{tmp_path}/images/scene_10.png",
            "audio_path": f"{tmp_path}/audio/scene_10.mp3",
            "subtitle_path": None,
        },
    ]
    assert read_scenes(tmp_path) == scan_scenes_from_folder(str(tmp_path)) == expected


def test_the_old_layout_with_something_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no images/scene_\*"):
        scan_scenes_from_folder(tmp_path)
    touch(tmp_path, "images/scene_1.png", "images/scene_2.png", "audio/scene_1.mp3")
    with pytest.raises(ConfigurationError, match=r"no audio.* for scene_2"):
        read_scenes(tmp_path)
    touch(tmp_path, "audio/scene_2.mp3", "audio/scene_3.mp3")
    with pytest.raises(ConfigurationError, match=r"no images.* for scene_3"):
        read_scenes(tmp_path)


def test_pictures_and_sounds_side_by_side(tmp_path: Path) -> None:
    touch(tmp_path, "s10.png", "s10.mp3", "s9.JPG", "s9.wav", "s9.srt", "Ａ.webp", "Ａ.flac")
    touch(tmp_path, "watermark.png", "notes.txt", "s11.srt", "._s10.png", "._s10.mp3")
    assert read_scenes(tmp_path) == [
        {
            "name": "s9",
            "image": f"{tmp_path}/s9.JPG",
            "audio": f"{tmp_path}/s9.wav",
            "subtitle": f"{tmp_path}/s9.srt",
        },
        {"name": "s10", "image": f"{tmp_path}/s10.png", "audio": f"{tmp_path}/s10.mp3"},
        {"name": "Ａ", "image": f"{tmp_path}/Ａ.webp", "audio": f"{tmp_path}/Ａ.flac"},
    ]


@pytest.mark.parametrize(
    "name", ["a.srt", "a.vtt", "a.VTT", "a.SRT", "a.ass", "a.SSA", "a.lrc", "a.json"]
)
def test_subtitles_beside_a_scene_are_found_in_both_layouts(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.png", "a.mp3", name)
    assert read_scenes(tmp_path)[0]["subtitle"] == f"{tmp_path}/{name}"
    old = tmp_path / "old"
    touch(old, "images/scene_a.png", "audio/scene_a.mp3", f"audio/scene_{name}")
    assert read_scenes(old)[0]["subtitle_path"] == f"{old}/audio/scene_{name}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "a.sub",
            r"a\.sub: subtitles in an unsupported format .*; expected one of \.srt, \.vtt",
        ),
        (
            "a.SMI",
            r"a\.SMI: subtitles in an unsupported format .*; expected one of \.srt, \.vtt",
        ),
        ("a.zh-CN.ttml", r"a\.zh-CN\.ttml: subtitles in an unsupported format"),
        ("a.en.srt", r"a\.en\.srt: subtitles of (scene_)?a with another name; expected \w+\.srt"),
        ("a.en.vtt", r"a\.en\.vtt: subtitles of (scene_)?a with another name; expected \w+\.vtt"),
    ],
)
def test_subtitles_that_would_be_left_out_are_an_error(
    tmp_path: Path, name: str, message: str
) -> None:
    touch(tmp_path, "a.png", "a.mp3", name)
    with pytest.raises(ConfigurationError, match=message):
        read_scenes(tmp_path)
    old = tmp_path / "old"
    touch(old, "images/scene_a.png", "audio/scene_a.mp3", f"audio/scene_{name}")
    with pytest.raises(ConfigurationError, match=message):
        read_scenes(old)


def test_two_subtitles_for_one_scene_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.mp3", "a.srt", "a.vtt")
    with pytest.raises(ConfigurationError, match=r"a\.srt, a\.vtt for one scene; expected one"):
        read_scenes(tmp_path)


def test_texts_and_subtitles_of_no_scene_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.mp3", "a.txt", "film.ass", "b.srt")
    assert read_scenes(tmp_path) == [
        {"name": "a", "image": f"{tmp_path}/a.png", "audio": f"{tmp_path}/a.mp3"}
    ]


def test_a_folder_with_one_file_of_scenes(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.mp3", "b.png", "b.mp3")
    write(tmp_path / "story.json", '[{"name": "b", "image": "b.png", "audio": "b.mp3"}]')
    assert names(tmp_path) == ["b"]
    write(tmp_path / "story.csv", "name,image,audio\nc,a.png,a.mp3\n")
    with pytest.raises(ConfigurationError, match=r"2 scene files, story.csv, story.json"):
        read_scenes(tmp_path)
    assert names(tmp_path / "story.csv") == ["c"]


def test_json_with_the_name_of_a_scene_is_its_subtitle_and_another_one_lists_scenes(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a.jpg", "a.mp3", "a.json", "b.jpg", "b.mp3", "b.JSON", "cover.png")
    assert read_scenes(tmp_path) == [
        {
            "name": name,
            "image": f"{tmp_path}/{name}.jpg",
            "audio": f"{tmp_path}/{name}.mp3",
            "subtitle": f"{tmp_path}/{subtitle}",
        }
        for name, subtitle in (("a", "a.json"), ("b", "b.JSON"))
    ]
    assert pictures_without_audio(tmp_path) == [f"{tmp_path}/cover.png"]
    write(tmp_path / "story.json", '[{"name": "c", "image": "b.jpg", "subtitle": "a.json"}]')
    assert names(tmp_path) == ["c"]
    assert pictures_without_audio(tmp_path) == []


def test_json_of_no_scene_that_lists_none_says_how_subtitles_are_named(tmp_path: Path) -> None:
    advice = "subtitles in JSON have the name of their picture and sound"
    touch(tmp_path, "a.jpg", "a.mp3")
    write(tmp_path / "a.en.json", '{"alignment": {"characters": []}}')
    with pytest.raises(
        ConfigurationError, match=rf"a\.en\.json: .*expected a list of .*; {advice}"
    ):
        read_scenes(tmp_path)
    write(tmp_path / "b.json", "{}")
    with pytest.raises(ConfigurationError, match=rf"2 scene files, a.en.json, b.json; .*{advice}"):
        read_scenes(tmp_path)


def test_a_folder_without_scenes_or_with_doubtful_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no scenes in it; expected a scene file"):
        read_scenes(tmp_path)
    touch(tmp_path, "watermark.png")
    with pytest.raises(
        ConfigurationError, match="pictures but no audio files in it; expected a scene file"
    ):
        read_scenes(tmp_path)
    touch(tmp_path, "a.mp3")
    with pytest.raises(ConfigurationError, match=r"a.mp3: no picture for it; expected a.png"):
        read_scenes(tmp_path)
    touch(tmp_path, "a.png", "a.jpg")
    with pytest.raises(ConfigurationError, match=r"a.jpg, a.png for one scene"):
        read_scenes(tmp_path)


def test_relative_paths_count_from_the_file_and_not_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "a.json", '[{"name": "a", "image": "x/a.png"}]')
    monkeypatch.chdir(tmp_path)
    (scene,) = read_scenes("sub/a.json")
    assert scene["image"] == f"{tmp_path}/sub/x/a.png"


def test_reading_scenes_imports_nothing_heavy() -> None:
    code = (
        "import sys, cloudburst.inputs.scenes; print({'PIL', 'yaml', 'httpx'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"

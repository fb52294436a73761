"""What tells whether a video would look the same again."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from cloudburst import RenderOptions
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.scene import CheckedScene, Scene
from support.checked_scenes import as_checked
from support.fingerprints import fingerprints_of
from support.option_values import FILES, VALUES


@pytest.fixture
def scene(make_scene):
    return as_checked(Scene.model_validate(make_scene("a")))


def of(scene: CheckedScene, **options) -> str:
    chosen = RenderOptions(**options)
    files = (scene.scene.files() | chosen.files()).values()
    versions = {path: FileVersion.from_path(path) for path in files}
    (found,) = fingerprints_of([scene.model_copy(update={"options": chosen, "versions": versions})])
    return found


def test_a_fingerprint_does_not_depend_on_folders(scene, tmp_path):
    files = {}
    for name in ("image", "audio"):
        path = getattr(scene.scene, name)
        files[name] = tmp_path / f"other{path.suffix}"
        shutil.copy(path, files[name])
    moved = scene.model_copy(update={"scene": scene.scene.model_copy(update=files)})
    assert of(moved) == of(scene)
    assert len(of(scene)) == 64


@pytest.mark.parametrize(
    "options",
    [
        *({name: value} for name, value in VALUES.items() if name not in FILES),
        {"effects": ()},
        {"is_portrait": False},
        {"font": "Noto Sans CJK JP"},
    ],
)
def test_each_option_counts(scene, options):
    assert of(scene, **options) != of(scene)


def test_only_the_drawn_effect_counts(scene):
    assert of(scene, effects=("pan_left",)) == of(scene, effects=("pan_left", "pan_left"))
    assert of(scene, effects=("pan_left",)) != of(scene, effects=("pan_right",))


def test_the_place_in_the_subtitles_of_a_film_counts(scene):
    moved = [scene.model_copy(update={"subtitle_frame": frame}) for frame in (0, 15, 16)]
    assert of(moved[0]) == of(scene)
    assert len(set(map(of, moved))) == 3


def test_a_picture_is_no_sound(scene):
    """Each file counts as what it is used for."""
    swapped = scene.scene.model_copy(
        update={"image": scene.scene.audio, "audio": scene.scene.image}
    )
    assert of(scene.model_copy(update={"scene": swapped})) != of(scene)


@pytest.mark.parametrize("option", ["watermark", "music", "font"])
def test_files_of_options_are_inputs(scene, tmp_path, option):
    path = tmp_path / "file"
    shutil.copy(scene.scene.image, path)
    first = of(scene, **{option: path})
    assert first != of(scene)
    Image.new("RGB", (9, 9), "pink").save(path, "PNG")
    assert of(scene, **{option: path}) != first

"""What tells whether a video would look the same again."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from cloudburst import RenderOptions
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.scene import CheckedScene, Scene
from support.fingerprints import fingerprints_of


@pytest.fixture
def scene(make_scene):
    return CheckedScene(scene=Scene.model_validate(make_scene("a")), audio_seconds=1, image_bytes=1)


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
        {"language": "english"},
        {"effects": ()},
        {"size": "720p"},
        {"fps": 60},
        {"fit": "contain"},
        {"backdrop": "#ff0000"},
        {"focus": (0.5, 0.2)},
        {"is_portrait": True},
        {"is_portrait": False},
        {"background_box": False},
        {"background_opacity": 0.3},
        {"fade_in": 1},
        {"motion_amount": 0.2},
        {"fade_out": 1},
        {"motion_easing": "ease_in"},
        {"panorama": True},
        {"font": "Noto Sans CJK JP"},
        {"font_size": 20},
        {"outline_color": "&H00FFFFFF"},
        {"text_color": "#ff0000"},
        {"outline_width": 0.1},
        {"shadow": 0.1},
        {"shadow_color": "#ff0000"},
        {"box_color": "#ff0000"},
        {"box_padding": (0, 0)},
        {"subtitle_position": "top"},
        {"subtitle_margin": (0, 0)},
        {"subtitle_width": 0.5},
        {"highlight": "box"},
        {"highlight_color": "#ff0000"},
        {"music_volume": 0.3},
        {"music_loop": False},
        {"music_fade": 0},
        {"music_ducking": 6},
        {"loudness": -16},
        {"watermark_position": "top"},
        {"watermark_width": 0.5},
        {"watermark_margin": 0},
        {"watermark_opacity": 0.5},
        {"title": "a"},
        {"metadata": {"artist": "a"}},
        {"cover": True},
    ],
)
def test_each_option_counts(scene, options):
    assert of(scene, **options) != of(scene)


def test_every_option_is_looked_at():
    """A new option changes what videos look like, or must be left out by name."""
    looked_at = {"language", "effects", "is_portrait", "background_box", "background_opacity"}
    looked_at |= {
        "cover",
        "font_size",
        "fps",
        "metadata",
        "outline_color",
        "size",
        "title",
        "watermark",
    }
    looked_at |= {f"watermark_{name}" for name in ("position", "width", "margin", "opacity")}
    looked_at |= {"music", "music_volume", "music_loop", "music_fade", "music_ducking", "loudness"}
    looked_at |= {"fit", "backdrop", "focus", "motion_amount", "motion_easing", "panorama"}
    looked_at |= {"fade_in", "fade_out"}
    looked_at |= {"font", "text_color", "outline_width", "shadow", "shadow_color", "box_color"}
    looked_at |= {"box_padding", "subtitle_position", "subtitle_margin", "subtitle_width"}
    looked_at |= {"highlight", "highlight_color"}
    assert set(RenderOptions.model_fields) == looked_at


def test_only_the_drawn_effect_counts(scene):
    assert of(scene, effects=("pan_left",)) == of(scene, effects=("pan_left", "pan_left"))
    assert of(scene, effects=("pan_left",)) != of(scene, effects=("pan_right",))


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

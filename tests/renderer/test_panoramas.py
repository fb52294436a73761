"""Panoramas: pans over the whole of a picture that is longer than the shape of the video."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from cloudburst.models.options import RenderOptions
from cloudburst.models.video_format import Effect
from cloudburst.renderer import pictures
from cloudburst.renderer.fitting import MAX_PANORAMA_PIXELS, plan_panorama
from cloudburst.renderer.kernel.interface import MAX_PLANE_SIDE
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.pictures import load_picture
from cloudburst.renderer.planes import to_planes
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.dot_charts import chart, find_dot
from support.drawn_frames import luma, photo
from support.render_job import drawn_lumas, lay_job, load_here

LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)
PANS = (Effect.PAN_LEFT, Effect.PAN_RIGHT, Effect.PAN_UP, Effect.PAN_DOWN)


@pytest.mark.parametrize(
    ("picture", "video", "effect", "size"),
    [
        ((4000, 1000), LANDSCAPE, "pan_right", (3928, 982)),
        ((4000, 1000), LANDSCAPE, "pan_left", (3928, 982)),
        ((4000, 1000), PORTRAIT, "pan_left", (6984, 1746)),
        ((800, 5000), LANDSCAPE, "pan_down", (1746, 10_912)),
        ((1000, 1000), LANDSCAPE, "pan_up", (1746, 1746)),
        ((1600, 900), LANDSCAPE, "pan_right", None),
        ((1599, 900), LANDSCAPE, "pan_right", None),
        ((4000, 1000), LANDSCAPE, "pan_down", None),
        ((4000, 1000), LANDSCAPE, "zoom_in", None),
    ],
)
def test_the_side_across_a_pan_is_fitted_to_the_video(picture, video, effect, size):
    planned = plan_panorama(picture, video, Effect(effect), 0.1)
    assert (planned and planned.size) == size
    assert planned is None or not planned.is_shortened


@pytest.mark.parametrize("effect", PANS)
@pytest.mark.parametrize("video", [LANDSCAPE, PORTRAIT, (240, 240)])
@pytest.mark.parametrize("ratio", [1.0001, 1.3, 100])
@pytest.mark.parametrize("amount", [0.01, 0.5])
def test_windows_go_from_end_to_end_within_the_picture(effect, video, ratio, amount):
    across = effect in {Effect.PAN_LEFT, Effect.PAN_RIGHT}
    axis = 0 if across else 1
    picture = [20_000 * side // max(video) for side in video]
    picture[axis] = round(picture[axis] * ratio)
    planned = plan_panorama((picture[0], picture[1]), video, effect, amount)
    assert planned is not None
    size, shortened = planned
    assert size[0] * size[1] <= MAX_PANORAMA_PIXELS
    assert max(size) <= MAX_PLANE_SIDE
    assert all(side % 2 == 0 for side in size)
    proportions = size[axis] / size[1 - axis] / (picture[axis] / picture[1 - axis])
    assert proportions == pytest.approx(1, rel=0.01) or (shortened and proportions < 1)
    camera = Camera(effect, video, amount, "linear", (0.2, 0.9), size)
    windows = [camera.window(frame, 50) for frame in range(50)]
    for window in windows:
        shown = [side / window.zoom for side in video]
        for start, length, side in zip(window[:2], shown, size, strict=True):
            assert -1e-6 <= start <= side - length + 1e-6
        assert 1 <= window.zoom <= 2
        assert shown[axis] <= size[axis] * (1 - amount) + 1e-6
    ends = sorted((windows[0][axis], windows[-1][axis]))
    assert ends == pytest.approx([0, size[axis] - video[axis] / windows[0].zoom])
    assert (windows[0][axis] < windows[-1][axis]) == (effect in {Effect.PAN_RIGHT, Effect.PAN_DOWN})
    steps = [after[axis] - before[axis] for before, after in pairwise(windows)]
    assert steps == pytest.approx([steps[0]] * 49)


@pytest.mark.few(1)
@pytest.mark.real
@pytest.mark.parametrize(
    ("size", "effect", "dots", "options"),
    [
        ((2400, 900), "pan_right", [(-1100, 9), (0, 9), (1100, 9)], {"size": "square", "fps": 60}),
        ((4000, 1000), "pan_right", [(-1900, 60), (0, -60), (1900, 60)], {}),
        ((4000, 1000), "pan_left", [(1900, 60), (0, -60), (-1900, 60)], {"fit": "contain"}),
        ((900, 4000), "pan_down", [(60, -1950), (60, 0), (-60, 1950)], {"is_portrait": False}),
        ((900, 4000), "pan_up", [(60, 1900), (-60, 0), (60, -1900)], {"motion_amount": 0.4}),
    ],
)
def test_a_pan_shows_both_ends(tmp_path, size, effect, dots, options):
    """There is a dot near each end and in the middle; they appear one after another."""
    picture = Image.new("RGB", size)
    for dot in dots:
        picture = ImageChops.lighter(picture, chart(size, dot))
    options = {"effects": [effect], "panorama": True} | options
    lay_job(tmp_path, picture=picture, **options)
    assert not load_here(tmp_path, 3).warnings
    frames = drawn_lumas(tmp_path, 3)
    video = frames[0].size
    axis = 0 if effect in {"pan_left", "pan_right"} else 1
    scale = video[1 - axis] / size[1 - axis]
    room = size[axis] - video[axis] / scale
    for frame, dot, part in zip(frames, dots, (0, 0.5, 1), strict=True):
        forward = effect in {"pan_right", "pan_down"}
        centre = [0.0, 0.0]
        centre[axis] = room * (part - 0.5) * (1 if forward else -1)
        expected = tuple((a - b) * scale for a, b in zip(dot, centre, strict=True))
        assert find_dot(frame, expected) == pytest.approx(expected, abs=1)


@pytest.mark.real
@pytest.mark.parametrize(
    ("size", "effects"),
    [
        ((800, 300), []),
        ((800, 300), ["zoom_in"]),
        ((800, 300), ["pan_up"]),
        ((160, 90), ["pan_left"]),
    ],
)
def test_other_movements_and_pictures_are_as_without_it(tmp_path, size, effects):
    found = set()
    for panorama in ("false", "true"):
        folder = tmp_path / panorama
        folder.mkdir()
        options = {"effects": effects, "panorama": panorama, "size": "240x240"}
        options |= {"size": "640x360"} if size == (160, 90) else {}
        source = load_here(lay_job(folder, picture=photo(size), **options), 6).source
        found.add(tuple(source.draw(number).read() for number in (0, 3, 5)))
    assert len(found) == 1


@pytest.mark.real
def test_the_ends_of_an_extremely_long_picture_are_left_out(tmp_path):
    size = (8000, 90)
    options = {"effects": ["pan_right"], "panorama": True, "focus": "0 0.5", "size": "1080p"}
    lay_job(tmp_path, picture=chart(size, (-3950, 0)), **options)
    loaded = load_here(tmp_path, 3)
    assert loaded.warnings == ("image: too long for a panorama; its ends are left out",)
    assert loaded.format.size == LANDSCAPE
    first = luma(loaded.source.draw(0).video)
    assert first.crop((500, 400, 700, 700)).getextrema()[1] > 180, "the focus is kept"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_and_transparent_pictures(tmp_path, orientation):
    """The picture is seen as 300x100, with a red left end, and without colour below."""
    seen = Image.new("RGBA", (300, 100), (0, 0, 255, 255))
    seen.paste((255, 0, 0, 255), (0, 0, 30, 100))
    seen.paste((255, 255, 255, 0), (0, 50, 300, 100))
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = seen
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "picture.png"
    stored.save(path, exif=exif)
    options = RenderOptions(panorama=True, size="1280x720")
    fitted = load_picture(path, 10**8, options, Effect.PAN_LEFT)
    assert fitted.size == (1280, 720)
    assert fitted.image.size == (1962, 654)
    colours = [fitted.image.getpixel(at) for at in ((50, 100), (900, 100), (50, 500), (900, 500))]
    assert colours == [(255, 0, 0), (0, 0, 255), (0, 0, 0), (0, 0, 0)]


def test_parts_of_a_long_picture_have_no_seams(tmp_path: Path, monkeypatch):
    """The picture becomes a panorama of 524,800 pixels, in two parts."""
    monkeypatch.setattr(pictures, "_STRIP_PIXELS", 300_000)
    path = tmp_path / "picture.png"
    photo((1200, 246)).save(path)
    options = RenderOptions(panorama=True, size="640x360")
    fitted = load_picture(path, 10**8, options, Effect.PAN_LEFT)
    assert fitted.image.size == (1600, 328)
    expected = Image.open(path).resize(fitted.image.size, Image.Resampling.LANCZOS)
    difference = ImageChops.difference(fitted.image, expected)
    assert max(high for _, high in difference.getextrema()) <= 2


def test_the_quantizer_does_not_depend_on_the_length_of_the_panorama():
    video = (480, 270)
    picture = photo((480, 246))
    chosen = set()
    for copies in (2, 6, 12):
        long = Image.new("RGB", (480 * copies, 246))
        for number in range(copies):
            turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            long.paste(turned if number % 2 else picture, (480 * number, 0))
        camera = Camera(Effect.PAN_RIGHT, video, picture=long.size)
        for frames in (10, 1000):
            track = SubtitleTrack()
            source = MotionVideo(to_planes(long), frames, camera, None, track)
            chosen.add(source.choose_quantizer())
    assert len(chosen) == 1

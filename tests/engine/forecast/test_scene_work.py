"""The work of a scene: CPU seconds of real renders, as they were measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.models.options import RenderOptions
from cloudburst.models.performance import NATIVE_CPU_SECONDS_PER_WORK
from cloudburst.models.scene import CheckedScene, Scene

STILL, ZOOM = RenderOptions(effects=()), RenderOptions.model_validate({"effects": ["zoom_in"]})


def scene(seconds: float, *, subtitle: bool = False, megabytes: float = 3.2) -> CheckedScene:
    subtitles = Path("s.srt") if subtitle else None
    files = Scene(name="s", image=Path("s.png"), audio=Path("s.mp3"), subtitle=subtitles)
    return CheckedScene(scene=files, audio_seconds=seconds, image_bytes=round(megabytes * 1e6))


@pytest.mark.parametrize(
    ("checked", "options", "cpu_seconds"),
    [
        (scene(1), STILL, 0.48),
        (scene(30), STILL, 0.71),
        (scene(300), STILL, 2.96),
        (scene(2, megabytes=0.3), STILL, 0.52),
        (scene(2, megabytes=19.1), STILL, 1.35),
        (scene(2, megabytes=3.4), STILL, 0.63),
        (scene(30, subtitle=True), STILL, 1.41),
        (scene(300, subtitle=True), STILL, 9.26),
        (scene(1), ZOOM, 0.91),
        (scene(10), ZOOM, 3.36),
        (scene(30), ZOOM, 7.91),
        (scene(3, megabytes=11.8), ZOOM, 1.90),
        (scene(10, subtitle=True), ZOOM, 3.50),
    ],
)
def test_the_work_is_in_proportion_to_measured_cpu_seconds(
    checked: CheckedScene, options: RenderOptions, cpu_seconds: float
) -> None:
    scene = checked.model_copy(update={"options": options})
    expected = NATIVE_CPU_SECONDS_PER_WORK * scene_work(scene)
    assert expected == pytest.approx(cpu_seconds, rel=0.2)


@pytest.mark.parametrize("subtitle", [False, True])
def test_each_frame_of_a_fade_is_encoded(subtitle: bool) -> None:
    """A fade takes the work of camera motion of the same length, also if it is all of the scene."""
    faded = RenderOptions(effects=(), fade_in=1, fade_out=2)
    for seconds, fading in ((3600, 3), (10, 3), (2, 2)):
        plain, more = (
            scene_work(scene(seconds, subtitle=subtitle).model_copy(update={"options": options}))
            for options in (STILL, faded)
        )
        motion = scene_work(scene(fading).model_copy(update={"options": ZOOM}))
        motion -= scene_work(scene(0).model_copy(update={"options": ZOOM}))
        rate = (plain - scene_work(scene(0).model_copy(update={"options": STILL}))) / seconds
        assert more - plain == pytest.approx(motion - rate * fading)


@pytest.mark.parametrize(
    ("sound", "cpu_seconds"),
    [
        ({}, 0.0097),
        ({"music": Path("m.mp3")}, 0.0187),
        ({"music": Path("m.mp3"), "music_ducking": 12}, 0.0234),
        ({"loudness": -16}, 0.0217),
    ],
)
def test_music_and_loudness_are_work_in_each_second(
    sound: dict[str, Any], cpu_seconds: float
) -> None:
    """Measured CPU seconds to decode, mix and encode a second of sound of a still picture."""
    options = RenderOptions(effects=(), **sound)
    works = [scene_work(scene(n).model_copy(update={"options": options})) for n in (0, 100)]
    expected = NATIVE_CPU_SECONDS_PER_WORK * (works[1] - works[0]) / 100
    assert expected == pytest.approx(cpu_seconds, rel=0.2)


@pytest.mark.parametrize(
    ("checked", "options", "ratio"),
    [
        (scene(1, megabytes=0.6), {"size": "240x240"}, 0.40 / 1.03),
        (scene(1, megabytes=0.6), {"size": "720p"}, 0.55 / 1.03),
        (scene(4, megabytes=0.6), {"size": "720p"}, 1.12 / 1.76),
        (scene(4, megabytes=0.6), {"size": "1080p", "fps": 60}, 2.73 / 1.76),
        (scene(1, megabytes=0.6), {"size": "4k"}, 3.27 / 1.03),
        (scene(4, megabytes=0.6), {"size": "4k"}, 5.96 / 1.76),
    ],
)
def test_other_formats_have_the_measured_ratio_to_the_default(
    checked: CheckedScene, options: dict[str, object], ratio: float
) -> None:
    """CPU seconds of zooms over a PNG of 1600x900 (2026-11), on a busy machine."""
    other = ZOOM.model_copy(update=options)
    works = [scene_work(checked.model_copy(update={"options": o})) for o in (other, ZOOM)]
    assert works[0] / works[1] == pytest.approx(ratio, rel=0.25)


def test_still_videos_depend_on_the_pixels_of_a_frame_only() -> None:
    def work(**options: object) -> float:
        look = STILL.model_copy(update=options)
        return scene_work(scene(60, subtitle=True).model_copy(update={"options": look}))

    assert work(fps=60) == work()
    assert work(size="4k") == pytest.approx(work() + 3 * (0.085 * 60 + 0.7))

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


def scene(seconds: float, *, subtitle: bool = False, megabytes: float = 1.1) -> CheckedScene:
    subtitles = Path("s.srt") if subtitle else None
    files = Scene(name="s", image=Path("s.png"), audio=Path("s.mp3"), subtitle=subtitles)
    return CheckedScene(scene=files, audio_seconds=seconds, image_bytes=round(megabytes * 1e6))


def zoom(**options: Any) -> RenderOptions:
    return ZOOM.model_copy(update=options)


@pytest.mark.parametrize(
    ("checked", "options", "cpu_seconds"),
    [
        (scene(1), STILL, 0.33),
        (scene(30), STILL, 0.53),
        (scene(120), STILL, 1.13),
        (scene(30, subtitle=True), STILL, 0.96),
        (scene(120, subtitle=True), STILL, 2.98),
        (scene(1), ZOOM, 0.41),
        (scene(10), ZOOM, 0.92),
        (scene(30), ZOOM, 2.09),
        (scene(60), ZOOM, 2.71),
        (scene(120), ZOOM, 4.80),
        (scene(5, subtitle=True), ZOOM, 0.91),
        (scene(10, subtitle=True), ZOOM, 1.06),
        (scene(120, subtitle=True), ZOOM, 5.14),
        (scene(10), zoom(motion_search=True), 2.02),
        (scene(30), zoom(motion_search=True), 5.30),
        (scene(10), zoom(fade_in=1.0, fade_out=1.0), 1.28),
        (scene(10), zoom(motion_amount=0.5), 0.88),
        (scene(10, subtitle=True), zoom(motion_amount=0.5), 2.50),
        (scene(30, subtitle=True), zoom(motion_amount=0.5), 3.10),
        (scene(10), zoom(fps=60), 1.33),
        (scene(30), zoom(fps=60), 2.28),
        (scene(10), zoom(size="720p"), 0.50),
        (scene(10), zoom(size="720p", fps=60), 0.69),
        (scene(1), STILL.model_copy(update={"size": "4k"}), 0.98),
        (scene(10), zoom(size="4k"), 2.66),
        (scene(10, subtitle=True), zoom(size="4k"), 4.28),
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
    """A fade takes the work of a searched movement of the same length, also if it is all of it."""
    faded = RenderOptions(effects=(), fade_in=1, fade_out=2)
    for seconds, fading in ((3600, 3), (10, 3), (2, 2)):
        plain, more = (
            scene_work(scene(seconds, subtitle=subtitle).model_copy(update={"options": options}))
            for options in (STILL, faded)
        )
        searched = zoom(motion_search=True)
        motion = scene_work(scene(fading).model_copy(update={"options": searched}))
        motion -= scene_work(scene(0).model_copy(update={"options": searched}))
        rate = (plain - scene_work(scene(0).model_copy(update={"options": STILL}))) / seconds
        assert more - plain == pytest.approx(motion - rate * fading)


@pytest.mark.parametrize(
    ("sound", "cpu_seconds"),
    [
        ({}, 0.0068),
        ({"music": Path("m.mp3")}, 0.0093),
        ({"music": Path("m.mp3"), "music_ducking": 12}, 0.0106),
        ({"loudness": -16}, 0.0119),
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


def test_still_videos_depend_on_the_pixels_of_a_frame_only() -> None:
    def work(**options: object) -> float:
        look = STILL.model_copy(update=options)
        return scene_work(scene(60, subtitle=True).model_copy(update={"options": look}))

    assert work(fps=60) == work()
    assert work(size="4k") == pytest.approx(work() + 3 * (0.085 * 60 + 1.1))

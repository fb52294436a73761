"""What the benchmark of rendering compares with: ideal frames, text on them, scores and goals."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from cloudburst.models.video_format import Effect
from cloudburst.renderer.motion import Camera
from support.project import ROOT
from support.video_probe import FFMPEG

pytestmark = pytest.mark.real

NAMES = ("costs", "frames", "inputs", "processes", "quality", "renderers", "scoring")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield SimpleNamespace(**{n: importlib.import_module(f"renders.{n}") for n in NAMES})
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def picture(bench):
    drawn = Image.new("RGB", bench.inputs.SIZE, (40, 90, 160))
    draw = ImageDraw.Draw(drawn)
    for x in range(0, 1920, 60):
        draw.line([(x, 0), (1920 - x, 1080)], fill=(250, x % 256, 30), width=5)
    return drawn


def video(path, frames, *arguments):
    """Encode raw frames; without arguments, libx264 is lossless."""
    command = [
        *(FFMPEG, "-v", "error", "-y", "-f", "rawvideo", "-pixel_format", "yuv420p"),
        *("-framerate", "30", "-video_size", "1920x1080", "-i", "pipe:0", "-c:v", "libx264"),
        *("-preset", "ultrafast", *(arguments or ("-qp", "0")), str(path)),
    ]
    raw = b"".join(frame.tobytes() for frame in frames)
    subprocess.run(command, input=raw, check=True)
    return path


@pytest.mark.parametrize(
    ("matrix", "y", "u", "v"), [("bt709", 63, 102, 240), ("bt601", 81, 90, 240)]
)
def test_colours_of_red(bench, matrix, y, u, v):
    """The values are those of BT.709-6 and BT.601-7 for pure red."""
    red = Image.new("RGB", bench.inputs.SIZE, (255, 0, 0))
    frame = bench.frames.ideal_frame(red, bench.frames.WHOLE, matrix)
    assert set(np.unique(frame[:1080])) == {y}
    assert set(np.unique(frame[1080:1350])) == {u}
    assert set(np.unique(frame[1350:])) == {v}


def test_the_windows_are_those_of_the_renderer(bench):
    """The benchmark has its own geometry, so that both can be wrong only in the same way."""
    ours = [Camera(Effect.ZOOM_IN, (1920, 1080)).window(n, 7) for n in range(7)]
    assert [tuple(w) for w in bench.frames.zoom_windows(7)] == [
        pytest.approx(tuple(window)) for window in ours
    ]


def test_text_is_that_of_the_renderer_and_the_rest_is_ideal(bench, picture, tmp_path):
    ideal = bench.frames.ideal_frame(picture, bench.frames.WHOLE, "bt709")
    plain = ideal.copy()
    plain[::7] ^= 3  # the renderer's picture is not quite the ideal one
    drawn = plain.copy()
    drawn[900:950, 600:700] = 235
    files = [video(tmp_path / f"{n}.mp4", [f] * 2) for n, f in enumerate((drawn, plain))]
    assert all(map(bench.frames.is_lossless, files))
    expected = ideal.copy()
    changed = drawn != plain
    expected[changed] = 235
    for frame in bench.frames.with_text([ideal] * 2, *files):
        assert np.array_equal(frame, expected)


def test_text_outside_the_scored_area_is_an_error(bench, picture, tmp_path):
    plain = bench.frames.ideal_frame(picture, bench.frames.WHOLE, "bt709")
    drawn = plain.copy()
    drawn[700, 600] = 235 if plain[700, 600] != 235 else 16
    files = [video(tmp_path / f"{n}.mp4", [f]) for n, f in enumerate((drawn, plain))]
    with pytest.raises(SystemExit, match="above row 800"):
        list(bench.frames.with_text([plain], *files))


def test_a_lossy_video_is_recognised(bench, picture, tmp_path):
    frame = bench.frames.ideal_frame(picture, bench.frames.WHOLE, "bt709")
    assert not bench.frames.is_lossless(video(tmp_path / "lossy.mp4", [frame], "-crf", "21"))


@pytest.mark.nightly
def test_scores_find_the_frames_and_the_area_that_are_worse(bench, picture, tmp_path):
    """The end of the clip is damaged, below row 800 only."""
    ideal = bench.frames.ideal_frame(picture, bench.frames.WHOLE, "bt709")
    worse = ideal.copy()
    worse[900:1000] = 128
    frames = [ideal] * 4 + [worse] * 2
    clip = video(tmp_path / "clip.mp4", frames)
    found = bench.scoring.compare(clip, [ideal] * 6, 6, text=True)
    for quality in found.values():
        assert quality.ssim.worst < quality.ssim.mean < 1
    assert found["text"].ssim.worst < found["whole"].ssim.worst
    assert found["text"].vmaf.mean < found["whole"].vmaf.mean
    whole = bench.scoring.compare(clip, [*[ideal] * 4, *[worse] * 2], 6, text=False)["whole"]
    assert whole.ssim == (1, 1, 1)


@pytest.mark.nightly
def test_a_video_that_is_too_short_is_not_scored(bench, picture, tmp_path):
    ideal = bench.frames.ideal_frame(picture, bench.frames.WHOLE, "bt709")
    with pytest.raises(SystemExit, match="3 expected"):
        bench.scoring.compare(video(tmp_path / "v.mp4", [ideal] * 2), [ideal] * 3, 3, text=False)


def test_ratios_are_those_of_medians_and_missed_goals_are_found(bench):
    costs, zoom = bench.costs, bench.inputs.EFFECTS_ONLY

    def runs(*seconds):
        return costs.Runs([bench.processes.Cost(cpu, 1, 150, 2) for cpu in seconds], 300)

    row = costs.Row(zoom, 10, {"ours": runs(1, 9, 2), "other": runs(4, 12, 9)}, "photo")
    assert row.ours.spread == 8
    dear = row._replace(runs={"ours": runs(2), "other": runs(0)}, picture="page")
    for rows, found, met in (([row], 4.5, True), ([row, dear], 2.25, True), ([dear], 0, False)):
        *sizes, cheap, size = costs.judge_against(rows, "other")
        assert [verdict.met for verdict in sizes] == [True] * len(rows)
        assert (cheap.found, cheap.goal, cheap.met) == (found, 2.2, met)
        assert (size.found, size.goal, size.met) == (1, 0.95, False)
    assert costs.judge_peak([row]).met


def test_quality_is_judged_for_each_picture_and_in_the_mean_without_noise(bench):
    def pair(picture, ours, other, step):
        for vmaf in (ours, other):
            score = bench.scoring.Score(vmaf, 0, 0)
            areas = {"whole": bench.scoring.Quality(score, score)}
            zoom = bench.inputs.EFFECTS_ONLY
            yield bench.quality.VideoScore(picture, zoom, "", areas, step, 1)

    scores = [*pair("photo", 93, 93.1, 0.1), *pair("page", 91, 90.5, 0), *pair("noise", 80, 82, 0)]
    verdicts = [*bench.quality.judge(scores, 10)]
    assert [v.met for v in verdicts] == [True, False, True, True, False, True, True]
    assert verdicts[-1].found == pytest.approx(0.2)
    assert len([*bench.quality.judge(scores, 30)]) == 4


@pytest.mark.nightly
def test_a_sharper_picture_is_a_step_and_movement_is_none(bench, picture, tmp_path):
    windows = bench.frames.zoom_windows(3)
    ideal = [bench.frames.ideal_frame(picture, window, "bt709") for window in windows]
    soft = picture.filter(ImageFilter.GaussianBlur(8))
    soft = bench.frames.ideal_frame(soft, bench.frames.WHOLE, "bt709")
    exact = video(tmp_path / "exact.mp4", ideal)
    assert bench.scoring.largest_edge_step(exact, ideal) == 0
    sharper = video(tmp_path / "sharper.mp4", [soft, soft, ideal[0]])
    assert bench.scoring.largest_edge_step(sharper, [ideal[0]] * 3) > 0.1


@pytest.mark.nightly
def test_our_lossless_video_is_what_is_drawn(bench, picture, tmp_path):
    """A still picture is drawn without any change, so its frames are the ideal ones."""
    inputs = bench.inputs.make_inputs(tmp_path, 1)
    picture.save(inputs.picture)
    renderer = bench.renderers.ours()
    clip = renderer.run_lossless(bench.inputs.BASELINE, inputs, tmp_path / "job")
    ideal = bench.frames.ideal_frame(picture, bench.frames.WHOLE, "bt709")
    frames = list(bench.frames.decoded(clip))
    assert len(frames) == 30
    for frame in frames:
        assert np.array_equal(frame[:1080], ideal[:1080])  # colours are reduced differently
    share = renderer.encoder_share(bench.inputs.BASELINE, inputs, tmp_path / "share")
    assert 0.01 < share < 0.9

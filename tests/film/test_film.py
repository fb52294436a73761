"""Films of rendered scenes: every frame, the sound, chapters and subtitles."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from cloudburst.film.plan import FilmScene
from support.drawn_frames import photo, psnr, strict_decode
from support.film_scenes import (
    RATE,
    clicks,
    film_of,
    heard,
    key_frames,
    sine,
)
from support.film_scenes import scene_video as video_of_scene
from support.h264 import IDR, Bits, length_prefixed, parameter_sets, read_sps
from support.openh264 import check_same_frames
from support.render_job import subtitle_file
from support.video_probe import ffmpeg, frames, luma, probe

pytestmark = pytest.mark.timeout(120)

FRAMES = {"first 一": 45, "second": 200, "third": 31}
"""Length of each scene, in frames. The second one has two groups of pictures."""
SIZE = (426, 240)
"""Size of the videos of all scenes. Films copy and mix videos of every size in the same way."""
SAMPLES = RATE // 30
"""Samples of a frame."""
CUES = {
    "first 一": subtitle_file((0.2, 1.0, "你好 <i>one</i>"), (1.2, 9.0, "cut at the end")),
    "third": subtitle_file((0.1, 0.5, "three")),
}


def scene_video(*scene: Any, **options: Any) -> FilmScene:
    """Render a small video of a scene."""
    return video_of_scene(*scene, size=f"{SIZE[0]}x{SIZE[1]}", **options)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Three scenes, black, photo in motion and white, with a sine that continues through them."""
    folder = tmp_path_factory.mktemp("scenes")
    black, white = (Image.new("RGB", (16, 9), colour) for colour in ("black", "white"))
    pictures = [black, photo(SIZE), white]
    effects = [[], ["zoom_in"], []]
    first, made = 0, []
    for (name, count), picture, effect in zip(FRAMES.items(), pictures, effects, strict=True):
        sound = sine(first, count * SAMPLES)
        given = {"subtitle": CUES[name]} if name in CUES else {}
        made.append(
            scene_video(folder / name, picture, sound, effects=effect, is_portrait=False, **given)
        )
        first += count * SAMPLES
    return made


@pytest.fixture(scope="module")
def cut(scenes, tmp_path_factory):
    film, _ = film_of(tmp_path_factory.mktemp("cut"), scenes)
    return film


def pictures(path: Path) -> list[bytes]:
    return [luma(frame).tobytes() for frame in frames(path)]


def test_cut_shows_every_frame_of_every_scene_unchanged(scenes, cut):
    expected = [picture for scene in scenes for picture in pictures(Path(scene.video))]
    assert len(expected) == sum(FRAMES.values())
    assert pictures(cut) == expected


def test_a_film_is_a_valid_video_of_its_whole_length(cut):
    seconds = sum(FRAMES.values()) / 30
    found = probe(cut)  # raises for any warning of the decoders
    found.check(size=SIZE, seconds=seconds, within=0.001)
    # FFmpeg 8 plays the last packet to its end, which the file says is later than the sound's.
    assert 0 <= found.samples - sum(FRAMES.values()) * SAMPLES < 1024
    strict_decode(cut)
    assert cut.read_bytes().find(b"moov") < cut.read_bytes().find(b"mdat")


@pytest.fixture(scope="module")
def movements(tmp_path_factory) -> list[FilmScene]:
    """Return three scenes with movements, of which the second one's is searched."""
    return [
        video_of_scene(
            tmp_path_factory.mktemp(f"scene-{number}"),
            photo((320, 240), number),
            sine(0, 60 * SAMPLES),
            effects=[effect],
            motion_search=number == 1,
            size="320x240",
        )
        for number, effect in enumerate(("zoom_in", "zoom_out", "pan_left"))
    ]


@pytest.mark.few(1)
@pytest.mark.parametrize("transition", ["crossfade", "cut", "fade"])
def test_known_and_searched_movements_are_joined(movements, transition, tmp_path):
    """Two decoders show the same, also where pictures of a transition were encoded again."""
    film, _ = film_of(tmp_path, movements, transition=transition, transition_seconds=0.5)
    strict_decode(film)
    ffmpeg("-i", film, "-map", "0:v", "-c", "copy", tmp_path / "film.h264")
    assert check_same_frames(tmp_path / "film.h264") >= 150


def errors_of(found: array[float], expected: list[float], at: int, radius: int = 1024) -> float:
    """Return the root mean square of the difference near a sample."""
    span = range(max(0, at - radius), min(at + radius, len(expected)))
    return math.sqrt(sum((found[n] - expected[n]) ** 2 for n in span) / len(span))


def test_a_sine_has_neither_gap_nor_click_at_a_seam(cut):
    total = sum(FRAMES.values()) * SAMPLES
    expected = [32_000 / 32_768 * sample for sample in sine(0, total)]
    found = heard(cut)
    seams = [45 * SAMPLES, 245 * SAMPLES]
    inside = errors_of(found, expected, 20 * SAMPLES)
    assert inside < 0.01, "the sound is not where it belongs"
    for seam in seams:
        assert errors_of(found, expected, seam) < max(4 * inside, 0.004)
        steps = [abs(found[n] - found[n - 1]) for n in range(seam - 1024, seam + 1024)]
        assert max(steps) < 1.5 * 0.5 * math.tau * 440 / RATE


def test_chapters_are_the_scenes(cut):
    with av.open(str(cut)) as container:
        chapters = container.chapters()
    starts = [float(chapter["start"] * chapter["time_base"]) for chapter in chapters]
    ends = [float(chapter["end"] * chapter["time_base"]) for chapter in chapters]
    assert [chapter["metadata"]["title"] for chapter in chapters] == [*FRAMES]
    assert starts == pytest.approx([0, 1.5, 245 / 30], abs=0.001)
    assert ends == pytest.approx([1.5, 245 / 30, 276 / 30], abs=0.001)


def test_subtitles_are_those_of_the_scenes_at_their_time(cut):
    assert cut.with_suffix(".srt").read_text("utf-8") == (
        "1\n00:00:00,200 --> 00:00:01,000\n你好 <i>one</i>\n\n"
        "2\n00:00:01,200 --> 00:00:01,500\ncut at the end\n\n"
        "3\n00:00:08,267 --> 00:00:08,667\nthree\n"
    )


def test_the_cover_is_the_first_frame(scenes, tmp_path):
    film, _ = film_of(tmp_path, scenes[::-1])
    with Image.open(film.with_suffix(".jpg")) as cover:
        assert cover.size == SIZE
        assert min(low for low, _ in cover.getextrema()) > 245


def test_the_cover_is_the_middle_frame_if_the_first_one_is_black(tmp_path):
    scene = scene_video(
        tmp_path / "one", Image.new("RGB", (16, 9), "teal"), [0.0] * 48_000, fade_in=0.4
    )
    film, _ = film_of(tmp_path, [scene])
    with Image.open(film.with_suffix(".jpg")) as cover:
        assert ImageStat.Stat(cover).mean == pytest.approx([0, 128, 128], abs=4)


def test_a_film_without_subtitles_has_no_subtitle_file(scenes, tmp_path):
    film_of(tmp_path, [scenes[1]])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.jpg", "film.mp4"]


def test_flash_and_click_are_within_a_frame(tmp_path):
    """Scenes alternate between black and white, and each begins with a click."""
    lengths = [31, 45, 30, 61]
    scenes = [
        scene_video(
            tmp_path / str(number),
            Image.new("RGB", (16, 9), ("black", "white")[number % 2]),
            clicks(count * SAMPLES, [0]),
            is_portrait=False,
        )
        for number, count in enumerate(lengths)
    ]
    film, _ = film_of(tmp_path, scenes)
    light = [ImageStat.Stat(luma(frame)).mean[0] > 128 for frame in frames(film)]
    flashes = [n for n in range(1, len(light)) if light[n] != light[n - 1]]
    sound = heard(film)
    assert flashes == [31, 76, 106]
    for flash in flashes:
        near = range(flash * SAMPLES - 3 * SAMPLES, flash * SAMPLES + 3 * SAMPLES)
        click = max(near, key=lambda n: abs(sound[n]))
        assert abs(click - flash * SAMPLES) < 16
        assert abs(sound[click]) > 0.3


@pytest.mark.few(1)
@pytest.mark.parametrize("transition", ["crossfade", "fade"])
def test_transitions_encode_only_what_they_touch(scenes, tmp_path, transition):
    film, _ = film_of(tmp_path, scenes, transition=transition, transition_seconds=0.5)
    overlap, touched = (15, 15) if transition == "crossfade" else (0, 8)
    starts = [0, 45 - overlap, 245 - 2 * overlap]
    found = pictures(film)
    assert len(found) == 276 - 2 * overlap
    probe(film).check(size=SIZE, seconds=len(found) / 30, within=0.001)
    strict_decode(film)
    same = 0
    for scene, start, count in zip(scenes, starts, FRAMES.values(), strict=True):
        expected = pictures(Path(scene.video))
        head = touched if start else 0
        tail = 0 if scene is scenes[-1] else touched
        for number in range(head, count - tail):
            one, other = (
                Image.frombytes("L", SIZE, data)
                for data in (found[start + number], expected[number])
            )
            same += found[start + number] == expected[number]
            assert psnr(one, other) > 40, (scene.name, number)
    # Of the scene with two groups of pictures, the second one is copied up to the transition.
    assert same >= 30 + 31


@pytest.mark.few(1)
@pytest.mark.parametrize(("transition", "changed"), [("crossfade", 15), ("fade", 8)])
def test_of_videos_rendered_for_a_film_only_the_transitions_are_encoded(
    tmp_path, transition, changed
):
    scenes = [
        scene_video(
            tmp_path / str(number),
            photo((320, 180)),
            sine(0, 45 * SAMPLES),
            effects=["zoom_in"] if number == 1 else [],
            seams=seams,
        )
        for number, seams in enumerate([(0, changed), (changed, changed), (changed, 0)])
    ]
    assert key_frames(Path(scenes[1].video)) == [0, changed, 45 - changed]
    film, _ = film_of(tmp_path, scenes, transition=transition, transition_seconds=0.5)
    strict_decode(film)
    stored = {packet for scene in scenes for packet in packets(Path(scene.video))}
    new = [packet for packet in packets(film) if packet not in stored]
    assert len(new) <= 2 * (changed if transition == "crossfade" else 2 * changed)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_a_crossfade_shows_both_scenes(scenes, tmp_path):
    film, _ = film_of(
        tmp_path, [scenes[0], scenes[2]], transition="crossfade", transition_seconds=0.5
    )
    light = [ImageStat.Stat(luma(frame)).mean[0] for frame in frames(film)]
    assert len(light) == 45 + 31 - 15
    expected = [16 + 219 * max(0, min(1, (n - 29) / 16)) for n in range(len(light))]
    assert max(abs(a - b) for a, b in zip(light, expected, strict=True)) < 3
    with av.open(str(film)) as container:
        starts = [float(c["start"] * c["time_base"]) for c in container.chapters()]
    assert starts == pytest.approx([0, 1.0], abs=0.001)
    assert "00:00:01,100 --> 00:00:01,500\nthree" in film.with_suffix(".srt").read_text("utf-8")
    assert 30 in key_frames(film), "a player can start at the chapter"


def test_a_fade_goes_through_black(scenes, tmp_path):
    film, _ = film_of(tmp_path, [scenes[2], scenes[2]], transition="fade", transition_seconds=0.6)
    light = [ImageStat.Stat(luma(frame)).mean[0] for frame in frames(film)]
    assert len(light) == 62
    expected = [16 + 219 * min(1, abs(n - 30.5) / 9 - 0.5 / 9) for n in range(62)]
    assert max(abs(a - b) for a, b in zip(light, expected, strict=True)) < 3


def test_each_seam_has_the_transition_of_the_scene_before_it(scenes, tmp_path):
    """White fades to white, which crossfades to black, and a cut leads back to white."""
    black, _, white = scenes
    order = [(white, None), (white, "crossfade"), (black, "cut"), (white, "crossfade")]
    given = [replace(scene, transition=transition) for scene, transition in order]
    film, _ = film_of(tmp_path, given, transition="fade", transition_seconds=0.5)
    strict_decode(film)
    light = [(ImageStat.Stat(luma(frame)).mean[0] - 16) / 219 for frame in frames(film)]
    faded = [n / 8 for n in reversed(range(8))]
    mixed = [1 - n / 16 for n in range(1, 16)]
    expected = [1.0] * 23 + faded + faded[::-1] + [1.0] * 8 + mixed + [0.0] * 30 + [1.0] * 31
    assert light == pytest.approx(expected, abs=0.02)
    assert 0 <= len(heard(film)) - len(expected) * SAMPLES < 1024
    with av.open(str(film)) as container:
        starts = [round(30 * float(c["start"] * c["time_base"])) for c in container.chapters()]
    assert starts == [0, 31, 47, 92]


@pytest.mark.parametrize("transition", ["cut", "fade"])
def test_a_gap_is_black_and_silent(scenes, tmp_path, transition):
    white = scenes[2]
    film, _ = film_of(
        tmp_path, [white, white], transition=transition, transition_seconds=0.2, film_gap=0.5
    )
    strict_decode(film)
    probe(film).check(size=SIZE, seconds=77 / 30, within=0.001)
    light = [ImageStat.Stat(luma(frame)).mean[0] for frame in frames(film)]
    fade = [] if transition == "cut" else [0, 1 / 3, 2 / 3]
    bright = [1.0] * (31 - len(fade))
    expected = [*bright, *fade[::-1], *[0.0] * 15, *fade, *bright]
    assert [(each - 16) / 219 for each in light] == pytest.approx(expected, abs=0.02)
    sound = heard(film)
    gap = sound[31 * SAMPLES + 2048 : 46 * SAMPLES - 2048]
    assert max(map(abs, gap)) < 0.001
    assert max(map(abs, sound[46 * SAMPLES + 64 : 47 * SAMPLES])) > 0.4
    assert "00:00:01,633 --> 00:00:02,033" in film.with_suffix(".srt").read_text("utf-8")


def test_the_shortest_fades_and_gaps_have_no_group_of_one_picture(tmp_path):
    """Two groups of one picture in a row would have key frames of the same number."""
    picture = Image.new("RGB", (16, 9), "teal")
    scenes = [scene_video(tmp_path / name, picture, sine(0, RATE // 4), fps=24) for name in "ab"]
    film, _ = film_of(tmp_path, scenes, transition="fade", transition_seconds=0.1, film_gap=0.1)
    strict_decode(film)
    assert all(one[1] != other[1] for one, other in pairwise(idr_ids(film)) if one[0] and other[0])
    assert min(after - before for before, after in pairwise(key_frames(film))) > 1


def test_sound_crossfades_with_the_picture(tmp_path):
    """Two tones: in the middle of the transition both have half their level."""
    picture = Image.new("RGB", (16, 9), "navy")
    scenes = [
        scene_video(tmp_path / str(hertz), picture, sine(0, 60 * SAMPLES, hertz), is_portrait=False)
        for hertz in (400, 1500)
    ]
    film, _ = film_of(tmp_path, scenes, transition="crossfade", transition_seconds=1.0)
    sound = heard(film)
    assert 0 <= len(sound) - 90 * SAMPLES < 1024

    def level(hertz: int, at: int, count: int = 2400) -> float:
        span = range(at - count // 2, at + count // 2)
        parts = [
            sum(sound[n] * wave(math.tau * hertz * n / RATE) for n in span)
            for wave in (math.sin, math.cos)
        ]
        return 2 * math.hypot(*parts) / count

    for frame, share in ((15, 0), (37.5, 0.25), (45, 0.5), (52.5, 0.75), (75, 1)):
        at = round(frame * SAMPLES)
        assert level(400, at) == pytest.approx(0.49 * (1 - share), abs=0.02)
        assert level(1500, at) == pytest.approx(0.49 * share, abs=0.02)


def test_encoded_parts_have_the_parameter_sets_of_the_others(scenes, tmp_path):
    """One decoder configuration serves all; no picture carries sets or settings of its own."""
    film, _ = film_of(tmp_path, scenes, transition="crossfade", transition_seconds=0.5)
    with av.open(scenes[0].video) as one, av.open(str(film)) as other:
        assert one.streams.video[0].codec_context.extradata == (
            other.streams.video[0].codec_context.extradata
        )
        kinds = [
            {unit[0] & 0x1F for unit in length_prefixed(bytes(packet))}
            for packet in other.demux(video=0)
            if packet.size
        ]
    assert kinds[0] == {5, 6}
    assert all(kind in ({1}, {5}, {5, 6}) for kind in kinds[1:])


def idr_ids(path: Path) -> list[tuple[bool, int]]:
    """Return for each picture whether it is an IDR picture, and its ``idr_pic_id``, else 0."""
    found = []
    with av.open(str(path)) as container:
        configuration = container.streams.video[0].codec_context.extradata
        sps = read_sps(parameter_sets(configuration)[0])
        for packet in container.demux(video=0):
            for unit in length_prefixed(bytes(packet)):
                if unit[0] & 0x1F in (1, IDR):
                    bits = Bits(unit[1:33])
                    bits.ue(), bits.ue(), bits.ue(), bits.u(sps.log2_max_frame_num)
                    is_idr = unit[0] & 0x1F == IDR
                    found.append((is_idr, bits.ue() if is_idr else 0))
    return found


def test_two_key_frames_in_a_row_have_other_numbers(tmp_path):
    """A still picture of 301 frames ends with a group of one picture."""
    scenes = [
        scene_video(tmp_path / name, Image.new("RGB", (16, 9), name), sine(0, count * SAMPLES))
        for name, count in (("teal", 301), ("navy", 30))
    ]
    film, _ = film_of(tmp_path, scenes)
    assert key_frames(film) == [0, 300, 301]
    strict_decode(film)
    found = idr_ids(film)
    pairs = [pair for pair in pairwise(found) if pair[0][0] and pair[1][0]]
    assert len(pairs) == 1
    assert all(one[1] != other[1] for one, other in pairs)
    expected = [picture for scene in scenes for picture in pictures(Path(scene.video))]
    shown = pictures(film)
    assert shown[:300] + shown[301:] == expected[:300] + expected[301:]
    one, other = (Image.frombytes("L", SIZE, data[300]) for data in (shown, expected))
    assert psnr(one, other) > 45


def test_mixed_frames_are_means_of_both(scenes, tmp_path):
    film, _ = film_of(tmp_path, scenes[1:], transition="crossfade", transition_seconds=0.5)
    found = [luma(frame) for frame in frames(film)]
    one = [luma(frame) for frame in frames(Path(scenes[1].video))]
    other = [luma(frame) for frame in frames(Path(scenes[2].video))]
    for number in range(15):
        expected = Image.blend(one[185 + number], other[number], (number + 1) / 16)
        assert psnr(found[185 + number], expected) > 38, number
        assert ImageChops.difference(found[185 + number], expected).getextrema()[1] < 60

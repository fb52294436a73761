"""Videos of all kinds, rendered by real processes: each one is right, and any two can be joined."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import av
import pytest
from PIL import Image

from cloudburst.models.video_format import VideoFormat, VideoSize
from cloudburst.renderer import pictures, scene
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.job import IMAGE, SUBTITLE, WATERMARK, RenderJob
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.planes import to_picture_layer, to_planes
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support import drawn_frames
from support.drawn_frames import luma, psnr, strict_decode
from support.h264 import (
    IDR,
    check_counters,
    length_prefixed,
    parameter_sets,
    picture_slices,
    read_sps,
)
from support.joined_videos import joined
from support.once import made_once
from support.render_job import Rendered, make_job, render_job, subtitle_file

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

EFFECTS = ("none", "zoom_in", "zoom_out", "pan_left", "pan_right")
SUBTITLES = ("none", "box", "outline")
PORTRAIT = (None, True, False)
LENGTHS = ("a frame", "part of a GOP", "two GOPs")
KINDS = ("photo", "noise", "line_art", "see_through")


class Case(NamedTuple):
    effect: str
    subtitles: str
    portrait: bool | None
    length: str
    kind: str

    @property
    def gop_seconds(self) -> float:
        return 10 if self.effect == "none" else 5

    @property
    def seconds(self) -> float:
        """Length of the audio; a second GOP has three frames."""
        return {LENGTHS[0]: 0.04, LENGTHS[1]: 1, LENGTHS[2]: self.gop_seconds + 0.1}[self.length]


CASES = [
    Case("pan_left", "outline", False, "part of a GOP", "see_through"),
    Case("zoom_in", "box", True, "part of a GOP", "line_art"),
    Case("none", "outline", True, "a frame", "photo"),
    Case("none", "box", False, "two GOPs", "noise"),
    Case("none", "outline", None, "a frame", "line_art"),
    Case("none", "none", None, "part of a GOP", "see_through"),
    Case("zoom_in", "outline", None, "two GOPs", "photo"),
    Case("zoom_in", "outline", False, "a frame", "noise"),
    Case("zoom_in", "none", False, "a frame", "see_through"),
    Case("zoom_out", "outline", False, "a frame", "photo"),
    Case("zoom_out", "none", None, "part of a GOP", "noise"),
    Case("zoom_out", "outline", False, "a frame", "line_art"),
    Case("zoom_out", "box", True, "two GOPs", "see_through"),
    Case("pan_left", "none", True, "two GOPs", "photo"),
    Case("pan_left", "box", None, "a frame", "noise"),
    Case("pan_left", "none", None, "a frame", "line_art"),
    Case("pan_right", "box", False, "part of a GOP", "photo"),
    Case("pan_right", "none", True, "a frame", "noise"),
    Case("pan_right", "outline", True, "two GOPs", "line_art"),
    Case("pan_right", "box", None, "a frame", "see_through"),
]
"""Smallest number of cases in which any two values of different parameters occur together."""

SIZE = "720p"
"""Size of all videos: full HD takes twice the time, and other tests render it."""
LANDSCAPE_SIZE, PORTRAIT_SIZE = (1280, 720), (720, 1280)

UPRIGHT = "line_art"
"""Kind whose pictures are upright."""
LOWEST_PSNR = {"photo": 30.0, "noise": 14.5, "line_art": 28.0, "see_through": 30.0}
"""Luma PSNR in dB that each frame must have compared with the drawn one. Two frames of noise have
12.6, and noise is encoded with a high quantizer, because its bitrate is limited."""


def test_any_two_values_occur_together():
    values = (EFFECTS, SUBTITLES, PORTRAIT, LENGTHS, KINDS)
    for one, other in combinations(range(5), 2):
        found = {(case[one], case[other]) for case in CASES}
        assert found == set(product(values[one], values[other]))


def is_upright(case: Case) -> bool:
    return case.kind == UPRIGHT if case.portrait is None else case.portrait


def job_of(case: Case, folder: Path) -> RenderJob:
    size = (720, 1280) if case.kind == UPRIGHT else (1600, 900)
    picture = getattr(drawn_frames, case.kind)(size)
    end = case.seconds
    cues = subtitle_file(
        (0, 0.4 * end, "第一行字幕，first"),
        (0.3 * end, 0.6 * end, "second\n两行"),
        (0.8 * end, end, "last"),
    )
    return make_job(
        folder,
        picture,
        case.seconds,
        subtitle=None if case.subtitles == "none" else cues,
        mark=drawn_frames.photo((80, 50)) if case.kind == "see_through" else None,
        effects=[] if case.effect == "none" else [case.effect],
        size=SIZE,
        is_portrait=case.portrait,
        background_box=case.subtitles == "box",
    )


def drawn(
    folder: Path, job: RenderJob, frames: int, wanted: Sequence[int]
) -> Iterator[Image.Image]:
    """Yield the luma of the wanted frames, drawn without the classes that encode."""
    picture = pictures.load_picture(folder / IMAGE, job.image_pixels, job.options).image
    size = VideoSize(*picture.size)
    source, canvas = Frame(*size), Frame(*size)
    source.fill(to_planes(picture))
    mark = None
    if (folder / WATERMARK).exists():
        width, height = size
        image = pictures.scaled_watermark(
            folder / WATERMARK, job.image_pixels, width // 8, height - 10
        )
        mark = to_picture_layer(image, 10, 10)
    track = SubtitleTrack()
    if (folder / SUBTITLE).exists():
        fonts = [find_font(family) for family in job.options.font]
        path, look = folder / SUBTITLE, VideoFormat(size)
        track, _ = scene._read_subtitles(path, job, look, frames, fonts, mark=None)
    for number in wanted:
        if job.effect is None:
            canvas.copy_rectangle(source, 0, 0, *size)
        else:
            canvas.zoom_from(source, Camera(job.effect, size).window(number, frames))
        if mark is not None:
            canvas.blend(mark)
        for layer in track.layers(track.states(number, 1)[0].number):
            canvas.blend(layer)
        yield luma(canvas.video)


def check_frames(video: Path, folder: Path, job: RenderJob, case: Case) -> None:
    """Decode the whole video with all checks; compare every 13th frame and those near borders."""
    with av.open(str(video)) as container:
        count = container.streams.video[0].frames
    near = {border + step for border in (150, 300, count) for step in (-2, -1, 0, 1)}
    wanted = sorted({*range(0, count, 13), *near} & set(range(count)))
    chosen = "+".join(f"eq(n,{number})" for number in wanted)
    output = (
        "-map",
        "0:v",
        "-vf",
        f"select='{chosen}',extractplanes=y",
        "-fps_mode",
        "passthrough",
    )
    decoded = strict_decode(video, outputs=(*output, "-f", "rawvideo", "-", "-map", "0:a"))
    size = PORTRAIT_SIZE if is_upright(case) else LANDSCAPE_SIZE
    step = size[0] * size[1]
    assert len(decoded) == step * len(wanted)
    for place, frame in enumerate(drawn(folder, job, count, wanted)):
        found = Image.frombytes("L", size, decoded[place * step : (place + 1) * step])
        ratio = psnr(found, frame)
        assert ratio > LOWEST_PSNR[case.kind], f"{case}, frame {wanted[place]}: {ratio:.1f} dB"


def check_file(rendered: Rendered, case: Case) -> None:
    """Check times, counters and the whole stream."""
    size = PORTRAIT_SIZE if is_upright(case) else LANDSCAPE_SIZE
    length = round(30 * case.gop_seconds)
    with av.open(str(rendered.video)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height) == size
        assert (video.start_time, audio.start_time) == (0, 0)
        seconds = [float(stream.duration * stream.time_base) for stream in (video, audio)]
        assert abs(seconds[0] - case.seconds) <= 1 / 30, case
        assert abs(seconds[1] - seconds[0]) <= 1 / 30, case
        assert video.frames == rendered.done["frames"] == round(seconds[0] * 30)
        sps = read_sps(parameter_sets(bytes(video.codec_context.extradata))[0])
        assert sps.size == size
        packets = [packet for packet in container.demux(video) if packet.size]
        positions = [round(p.pts * p.time_base * 30) % length for p in packets]
        headers = picture_slices((length_prefixed(bytes(p)) for p in packets), sps)
        assert check_counters(headers, positions, sps) == video.frames, case


def each_before_each(videos: Sequence[Path]) -> list[Path]:
    """Return a list in which every video is followed by every other one: an Eulerian circuit."""
    unused = {one: [other for other in videos if other != one] for one in videos}
    stack, circuit = [videos[0]], []
    while stack:
        if unused[stack[-1]]:
            stack.append(unused[stack[-1]].pop())
        else:
            circuit.append(stack.pop())
    return circuit[::-1]


def slices(path: Path) -> list[bytes]:
    """Return the coded pictures; joining repeats the parameter sets before key frames."""
    with av.open(str(path)) as container:
        found = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    units = (unit for packet in found for unit in length_prefixed(packet))
    return [unit for unit in units if unit[0] & 0x1F in (1, IDR)]


def render_case(case: Case, folder: Path) -> tuple[RenderJob, Rendered]:
    """Render a case in an empty folder."""
    job = job_of(case, folder)
    return job, render_job(folder)


@pytest.fixture
def rendered(tmp_path_factory):
    """Return a function that returns folder, job and result of a case, which is rendered once."""

    def once(case: Case) -> tuple[Path, RenderJob, Rendered]:
        folder, (job, result) = made_once(
            tmp_path_factory, "matrix " + "-".join(map(str, case)), partial(render_case, case)
        )
        return folder, job, result

    return once


@pytest.mark.nightly
@pytest.mark.long(30)
@pytest.mark.parametrize("upright", [False, True], ids=["landscape", "portrait"])
def test_videos_of_all_kinds_can_be_joined(upright, rendered, tmp_path):
    videos: list[Path] = []
    configurations: dict[bytes, list[Case]] = {}
    for case in (case for case in CASES if is_upright(case) == upright):
        video = rendered(case)[2].video
        videos.append(video)
        with av.open(str(video)) as container:
            configuration = bytes(container.streams.video[0].codec_context.extradata)
        configurations.setdefault(configuration, []).append(case)
    assert len(configurations) == 1, configurations
    order = each_before_each(videos)
    assert len(order) == len(videos) * (len(videos) - 1) + 1
    assert joined(order, tmp_path / "all.mp4") == []
    random.Random(4).shuffle(videos)
    assert joined(videos, tmp_path / "once.mp4") == []
    parts = [unit for video in videos for unit in slices(video)]
    assert slices(tmp_path / "once.mp4") == parts


@pytest.mark.few(2)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_a_video_of_each_kind(case, rendered):
    folder, job, result = rendered(case)
    check_file(result, case)
    check_frames(result.video, folder, job, case)

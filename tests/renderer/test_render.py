"""The render child with a real ffmpeg: files in a folder, one video out."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloudburst.models.options import RenderOptions
from cloudburst.renderer import process_limits
from cloudburst.renderer.ffmpeg import find_ffmpeg
from cloudburst.renderer.job import JobOptions, RenderJob
from support.dot_charts import LANDSCAPE, chart, dot
from support.service_inputs import tone

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]

SRT = "1\n00:00:00,100 --> 00:00:00,300\n{text}\n"


@pytest.fixture
def job(tmp_path):
    """Lay a job's folder; a grey picture and half a second of tone when nothing else is said."""

    def lay(*, picture=None, subtitle=None, mark=None, seconds=0.5, limits=(), **options):
        (picture or Image.new("RGB", (320, 180), (90, 90, 90))).save(tmp_path / "image", "PNG")
        tone(tmp_path / "audio", seconds)
        if subtitle is not None:
            (tmp_path / "subtitle").write_text(subtitle, "utf-8")
        if mark is not None:
            mark.save(tmp_path / "watermark", "PNG")
        chosen = JobOptions.from_options(RenderOptions.model_validate({"effects": [], **options}))
        said = RenderJob(name="scene", options=chosen, **dict(limits))
        (tmp_path / "job.json").write_text(said.to_json())
        return tmp_path

    return lay


def child(folder, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "cloudburst.renderer.render_process", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        start_new_session=True,
    )


def outcome(folder, **environment):
    """Exit code, lines and errors of a child that runs to its end."""
    with child(folder, **environment) as process:
        # Not `communicate`: it would close the input, and with it end the child.
        lines = [json.loads(line) for line in process.stdout]
        errors = process.stderr.read().decode()
        process.wait()
    return process.returncode, lines, errors


def rendered(folder):
    code, lines, errors = outcome(folder)
    assert (code, errors) == (0, "")
    return lines[-1]["done"]


def decoded(folder, *arguments):
    command = [find_ffmpeg().path, "-v", "error", "-i", "video.mp4", *arguments, "pipe:1"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout


def lumas(folder, size):
    raw = decoded(folder, "-f", "rawvideo", "-pix_fmt", "yuv420p")
    frames = np.frombuffer(raw, np.uint8).reshape(-1, size[0] * size[1] * 3 // 2)
    return frames[:, : size[0] * size[1]].reshape(-1, size[1], size[0])


def streams(folder):
    found = subprocess.run(  # noqa: PLW1510 - it wants an output, and says all the same
        [find_ffmpeg().path, "-hide_banner", "-i", "video.mp4"], cwd=folder, capture_output=True
    )
    return re.findall(r"Stream #.*", found.stderr.decode())


@pytest.mark.parametrize(
    ("effects", "subtitle", "scenario", "seconds", "frames"),
    [
        ([], None, "baseline", 0.5, 15),
        ([], None, "baseline", 0.01, 1),
        ([], SRT.format(text="字"), "subtitles_only", 0.51, 16),
        (["zoom_in"], None, "effects_only", 0.5, 15),
        (["zoom_in"], None, "effects_only", 0.01, 1),
        (["random"], SRT.format(text="字"), "full_featured", 0.51, 16),
    ],
)
def test_a_video_is_what_was_promised(  # noqa: PLR0917
    job, effects, subtitle, scenario, seconds, frames
):
    folder = job(effects=effects, subtitle=subtitle, seconds=seconds)
    done = rendered(folder)
    data = (folder / "video.mp4").read_bytes()
    assert done == {
        "seconds": frames / 30,
        "frames": frames,
        "width": 1920,
        "height": 1080,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "scenario": scenario,
    }
    video, sound = streams(folder)
    assert re.search(r"h264 .*yuv420p\(tv, bt709.*1920x1080.*30 fps", video)
    assert re.search(r"aac .*48000 Hz, stereo", sound)
    assert data.index(b"moov") < data.index(b"mdat")
    shown = len(decoded(folder, "-vf", "scale=2:2", "-f", "rawvideo", "-pix_fmt", "gray")) // 4
    heard = len(decoded(folder, "-f", "s16le")) // 4
    assert shown == frames
    assert abs(heard - frames * 1600) <= 1600
    assert not (folder / "video.mp4.part").exists()


def test_upright(job):
    folder = job(picture=Image.new("RGB", (180, 320)), effects=["pan_left"], seconds=0.1)
    assert (rendered(folder)["width"], rendered(folder)["height"]) == (1080, 1920)
    assert "1080x1920" in streams(folder)[0]


def test_loudness_is_untouched(job):
    folder = job(seconds=1)
    rendered(folder)
    heard = np.frombuffer(decoded(folder, "-f", "s16le"), "<i2").reshape(-1, 2)[8000:40_000]
    loud = np.sqrt((heard.astype(float) ** 2).mean(axis=0))
    assert loud == pytest.approx([9000 / math.sqrt(2)] * 2, rel=0.02)


def test_progress_grows_to_the_end(job):
    _, lines, _ = outcome(job(effects=["zoom_in"], seconds=3))
    progress = [line["progress"] for line in lines[:-1] if "progress" in line]
    assert len(progress) >= 2
    assert progress == sorted(set(progress))
    assert 0 <= progress[0] <= progress[-1] <= 1


def box(frame, flat=90, by=12):
    """Left, top, right, bottom of what differs from the grey picture."""
    grey = 16 + flat * 219 / 255
    rows, columns = np.nonzero(np.abs(frame.astype(float) - grey) > by)
    return (columns.min(), rows.min(), columns.max(), rows.max()) if rows.size else None


@pytest.mark.parametrize("effects", [[], ["zoom_out"]])
def test_subtitles_show_while_they_last(job, effects):
    folder = job(effects=effects, subtitle=SRT.format(text="你好 hello"))
    rendered(folder)
    frames = lumas(folder, LANDSCAPE)
    assert [box(frame) is not None for frame in frames] == [3 <= n < 9 for n in range(15)]
    left, top, right, bottom = box(frames[5])
    assert abs((left + right) / 2 - 959.5) <= 2
    assert 800 < top < bottom < 1010


LONG = {
    "chinese": "在很久很久以前，有一个小小的村庄坐落在群山之间，村里的人们每天清晨都会听见钟声。"
    * 2,
    "english": "Once upon a time a small village lay between the mountains, and a bell rang. " * 3,
}


@pytest.mark.parametrize("language", LONG)
@pytest.mark.parametrize(("is_portrait", "background_box"), [(False, True), (True, False)])
def test_long_lines_wrap(job, language, is_portrait, background_box):
    text = SRT.format(text=LONG[language])
    folder = job(
        subtitle=text,
        language=language,
        is_portrait=is_portrait,
        background_box=background_box,
        seconds=0.2,
    )
    rendered(folder)
    width, height = size = LANDSCAPE[::-1] if is_portrait else LANDSCAPE
    left, top, right, bottom = box(lumas(folder, size)[4])
    assert left > 0.04 * width
    assert right < 0.96 * width
    assert bottom < 0.95 * height
    assert bottom - top > 120


def letters(job, text, **options):
    folder = job(subtitle=SRT.format(text=text), seconds=0.2, **options)
    rendered(folder)
    return lumas(folder, LANDSCAPE)[4]


def test_letters_are_letters_and_not_empty_boxes(job):
    seen = [letters(job, text) > 180 for text in ("你", "好", "Ω")]
    for one, other in pairwise(seen):
        assert (one ^ other).sum() > 200


def test_braces_and_backslashes_show(job):
    plain, braces = letters(job, "an8 Nb"), letters(job, "{an8} \\Nb")
    assert box(plain)[1] > 800
    assert box(braces)[1] > 800
    assert box(braces)[1] == pytest.approx(box(plain)[1], abs=4)  # one line
    assert (braces > 180).sum() > (plain > 180).sum()


def test_a_position_in_the_text_places_it_and_does_not_show(job):
    """``\\an1`` to ``\\an9`` lie like the keys of a number pad; each is shown for two frames."""
    cues = [
        f"{n}\n00:00:00,{(n - 1) * 67:03} --> 00:00:00,{n * 67:03}\n{{\\an{n}}}一一\n"
        for n in range(1, 10)
    ]
    folder = job(subtitle="\n".join(cues), seconds=0.6)
    rendered(folder)
    frames = lumas(folder, LANDSCAPE)
    for n in range(9):
        left, top, right, bottom = box(frames[2 * n + 1])
        width = right - left
        assert 100 < width < 300, n  # two letters and their box: the tag is not shown
        assert int((left + right) / 2 // (1920 / 3)) == n % 3
        assert int((top + bottom) / 2 // (1080 / 3)) == 2 - n // 3


@pytest.mark.parametrize(
    ("text", "short_word_first"),
    [("אב WWWWWWWW", False), ("ab WWWWWWWW", True)],
    ids=["right to left", "left to right"],
)
def test_the_first_strong_letter_of_a_line_sets_its_direction(job, text, short_word_first):
    frame = letters(job, text)
    left, top, right, bottom = box(frame)
    drawn = (frame[top:bottom, left:right] > 200).any(axis=0)
    changes = np.flatnonzero(np.diff(drawn.astype(int)))
    gaps = [(b - a, (a + b) / 2) for a, b in pairwise(changes) if not drawn[a + 1]]
    _, space = max(gaps)
    assert (space < (right - left) / 2) == short_word_first


def test_webvtt_is_drawn_with_its_settings(job):
    text = "WEBVTT\n\n00:00.100 --> 00:00.300 line:0 align:start\n<v Bob>一一</v>\n"
    folder = job(subtitle=text, seconds=0.2)
    rendered(folder)
    left, _, right, bottom = box(lumas(folder, LANDSCAPE)[4])
    assert 100 < right - left < 300
    assert right < 640
    assert bottom < 360


def test_white_letters_have_an_outline_where_the_box_is_clear(job):
    folder = job(
        picture=Image.new("RGB", (320, 180), (255, 255, 255)),
        subtitle=SRT.format(text="一一"),
        background_opacity=1,
        seconds=0.2,
    )
    rendered(folder)
    assert (lumas(folder, LANDSCAPE)[4] < 60).sum() > 500


def test_opacity_is_transparency(job):
    dark, clear = (letters(job, "一", background_opacity=value) for value in (0, 1))
    left, top, _, _ = box(dark)
    assert dark[top + 4, left + 4] < 20
    assert clear[top + 4, left + 4] == pytest.approx(16 + 90 * 219 / 255, abs=3)


def test_outline_has_its_colour(job):
    folder = job(
        subtitle=SRT.format(text="一一一"),
        background_box=False,
        outline_color="&H000000FF",
        seconds=0.2,
    )
    rendered(folder)
    raw = decoded(folder, "-f", "rawvideo", "-pix_fmt", "rgb24")
    frame = np.frombuffer(raw, np.uint8).reshape(-1, 1080, 1920, 3)[4].astype(int)
    red = (frame[..., 0] > 170) & (frame[..., 1] < 70) & (frame[..., 2] < 70)
    assert red.sum() > 100


@pytest.mark.parametrize("effects", [[], ["zoom_in"]])
def test_watermark(job, effects):
    mark = Image.new("RGBA", (80, 40), (0, 0, 0, 0))
    mark.paste((255, 255, 255, 128), (0, 0, 40, 40))
    folder = job(mark=mark, effects=effects)
    rendered(folder)
    for frame in lumas(folder, LANDSCAPE)[[0, -1]]:
        left, top, right, bottom = box(frame)
        assert (left, top) == pytest.approx((10, 10), abs=1)
        assert (right, bottom) == pytest.approx((129, 129), abs=2)
        assert frame[60, 60] == pytest.approx(16 + 172.5 * 219 / 255, abs=3)


def test_zoom_steps_of_the_finished_video(job):
    """As `test_motion` has it, but after the encoder, whose motion vectors count in quarters.

    A sixth of a pixel is what it adds to a lonely dot; whole pixels, as zoompan has them, are six
    times that. 60 frames, 1.53 px each.
    """
    place = (780.0, 450.0)
    raw = chart(LANDSCAPE, [place]).y
    grey = Image.frombytes("L", LANDSCAPE, raw).point(lambda value: (value - 16) * 255 / 219)
    folder = job(picture=grey.convert("RGB"), effects=["zoom_in"], seconds=2)
    rendered(folder)
    found = []
    for n, frame in enumerate(lumas(folder, LANDSCAPE)):
        zoom = 1 + 0.1 * n / 59
        found.append(math.hypot(*dot(frame, (place[0] * zoom, place[1] * zoom))))
    steps = [b - a for a, b in pairwise(found)]
    assert len(steps) == 59
    assert np.mean(steps) == pytest.approx(math.hypot(*place) * 0.1 / 59, abs=0.004)
    assert max(abs(step - np.mean(steps)) for step in steps) < 0.25


@pytest.mark.parametrize(
    ("name", "raw", "found"),
    [
        ("image", b"GIF89a", ""),
        ("audio", b"no sound", "Invalid data"),
        ("subtitle", b"", "an empty file"),
        ("subtitle", b"no cue", "without any line of timing"),
        ("watermark", b"\x89PNG", ""),
    ],
)
def test_bad_inputs_are_faults(job, name, raw, found):
    folder = job()
    (folder / name).write_bytes(raw)
    code, lines, errors = outcome(folder)
    assert (code, errors) == (2, "")
    fault = lines[-1]["fault"]
    assert fault["field"] == name
    assert found in fault["found"]
    assert fault["expected"]
    assert not (folder / "video.mp4").exists()


def test_limits_are_the_jobs(job):
    code, lines, _ = outcome(job(limits={"audio_seconds": 0.2}))
    assert (code, lines[-1]["fault"]["found"]) == (2, "more than 0.2 seconds")
    code, lines, _ = outcome(job(limits={"image_pixels": 1000}))
    assert (code, lines[-1]["fault"]["found"]) == (2, "320×180 pixels, 57,600 in all")


@pytest.mark.parametrize("effects", [[], ["zoom_in"]])
def test_a_failing_ffmpeg_is_the_services_fault(job, tmp_path, effects):
    folder = job(effects=effects, seconds=3)
    broken = tmp_path / "broken-ffmpeg"
    real = shlex.quote(find_ffmpeg().path)
    broken.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" -version "*|*" au "*) exec {real} "$@";; esac\n'
        "echo the encoder is on fire >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    code, lines, errors = outcome(folder, CLOUDBURST_FFMPEG=str(broken))
    assert code not in (0, 2)
    assert not any("fault" in line or "done" in line for line in lines)
    assert "the encoder is on fire" in errors


def alive(group):
    """Processes of a group that are more than an entry nobody has asked for yet."""
    listed = subprocess.run(["ps", "-e", "-o", "pgid=,stat="], capture_output=True, check=True)
    rows = (line.split() for line in listed.stdout.decode().splitlines())
    return [stat for pgid, stat in rows if int(pgid) == group and not stat.startswith("Z")]


@pytest.mark.parametrize("effects", [[], ["zoom_in"]])
@pytest.mark.parametrize("end", ["input ends", "group is killed"])
def test_the_child_ends_with_its_ffmpeg(job, effects, end):
    folder = job(effects=effects, seconds=60)
    with child(folder) as process:
        for line in process.stdout:
            if b"progress" in line:
                break
        assert len(alive(process.pid)) == 2  # ffmpeg is at work
        if end == "input ends":
            process.stdin.close()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    for _ in range(100):  # the kernel kills each of a group in its own time
        if not alive(process.pid):
            break
        time.sleep(0.02)
    assert not alive(process.pid)
    assert not (folder / "video.mp4").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux only")
def test_memory_is_limited_and_processor_time_is_not_once_everything_was_read(job):
    import resource

    folder = job(effects=["zoom_in"], seconds=60)
    with child(folder) as process:
        for line in process.stdout:
            if b"progress" in line:
                break
        pid = process.pid
        (encoder,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        limits = {
            (who, name): resource.prlimit(int(who), getattr(resource, name))[0]
            for who in (str(pid), encoder)
            for name in ("RLIMIT_DATA", "RLIMIT_CPU")
        }
        process.stdin.close()
        process.wait(10)
    assert limits == {
        (str(pid), "RLIMIT_DATA"): process_limits.READ_MEMORY_BYTES,
        (str(pid), "RLIMIT_CPU"): resource.RLIM_INFINITY,
        (encoder, "RLIMIT_DATA"): process_limits.ENCODE_MEMORY_BYTES,
        (encoder, "RLIMIT_CPU"): 140,  # 20 seconds, and 2 for each second of the video
    }


def test_large_letters_leave_room_for_fewer_of_them(job):
    folder = job(subtitle=SRT.format(text="一" * 60), font_size=120)
    code, lines, _ = outcome(folder)
    assert code == 2
    assert lines[-1]["fault"] == {
        "field": "subtitle",
        "found": "60 characters of 450 pixels at once at 00:00:00,100",
        "expected": "at most 59 of that size at once, or a smaller font_size",
    }


def test_started_by_hand_it_kills_only_itself(job):
    """Without a session of its own it makes one: this test lives on."""
    folder = job(seconds=60)
    command = [sys.executable, "-m", "cloudburst.renderer.render_process", str(folder)]
    ended = subprocess.run(  # noqa: PLW1510 - it is killed
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30
    )
    assert ended.returncode == -signal.SIGKILL


def test_a_header_that_claims_hours_changes_nothing(job):
    folder = job()
    raw = bytearray((folder / "audio").read_bytes())
    raw[40:44] = struct.pack("<I", 2**31)
    (folder / "audio").write_bytes(raw)
    assert rendered(folder)["frames"] == 15

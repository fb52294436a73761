"""The render process: files in a folder become a video."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import struct
import subprocess
import sys
import time
from array import array
from contextlib import suppress
from dataclasses import asdict
from itertools import islice, pairwise

import av
import psutil
import pytest
from PIL import Image

from cloudburst.renderer import process_limits
from cloudburst.renderer.job import InputFaultError
from support.audio_probe import played, rms
from support.dot_charts import LANDSCAPE, chart, find_dot
from support.render_job import (
    COMMAND,
    lay_job,
    outcome,
    render_here,
    rendered,
    rendered_here,
    start_render,
)
from support.video_probe import lumas, probe

if sys.platform == "linux":
    import resource

pytestmark = pytest.mark.real

SRT = "1\n00:00:00,100 --> 00:00:00,300\n{text}\n"


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("effects", "subtitle", "seconds", "frames"),
    [
        ([], None, 0.5, 15),
        ([], None, 0.01, 1),
        ([], SRT.format(text="字"), 0.51, 16),
        (["zoom_in"], None, 0.5, 15),
        (["zoom_in"], None, 0.01, 1),
        (["random"], SRT.format(text="字"), 0.51, 16),
    ],
)
def test_a_video_is_what_was_promised(tmp_path, effects, subtitle, seconds, frames):
    folder = lay_job(tmp_path, effects=effects, subtitle=subtitle, seconds=seconds)
    done = rendered(folder)
    data = (folder / "video.mp4").read_bytes()
    assert done == {
        "seconds": frames / 30,
        "frames": frames,
        "width": 1920,
        "height": 1080,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "warnings": [],
        "cover": None,
        "subtitles": None,
    }
    assert data.index(b"moov") < data.index(b"mdat")
    found = probe(folder / "video.mp4")
    found.check(size=LANDSCAPE, seconds=frames / 30)
    assert found.frames == frames
    assert not (folder / "video.mp4.part").exists()


def test_upright(tmp_path):
    folder = lay_job(
        tmp_path, picture=Image.new("RGB", (180, 320)), effects=["pan_left"], seconds=0.1
    )
    done = rendered_here(folder)
    assert (done["width"], done["height"]) == (1080, 1920)
    probe(folder / "video.mp4").check(size=(1080, 1920), seconds=0.1)


def test_loudness_is_untouched(tmp_path):
    folder = lay_job(tmp_path, seconds=1, size="240x240")
    rendered_here(folder)
    heard = array("f", played(folder / "video.mp4")[16_000:80_000])
    for channel in (heard[::2], heard[1::2]):
        assert rms(channel) * 32_768 == pytest.approx(9000 / math.sqrt(2), rel=0.02)


def test_the_same_job_becomes_the_same_bytes(tmp_path):
    options = {"effects": ["zoom_in"], "size": "640x360"}
    folder = lay_job(tmp_path, subtitle=SRT.format(text="字"), seconds=0.4, **options)
    first, second = (rendered(folder)["sha256"] for _ in range(2))
    assert first == second


def test_progress_grows_to_the_end(tmp_path):
    _, lines, _ = outcome(lay_job(tmp_path, effects=["zoom_in"], duration=8))
    progress = [line["progress"] for line in lines[:-1] if "progress" in line]
    assert len(progress) >= 2
    assert progress == sorted(set(progress))
    assert 0 <= progress[0] <= progress[-1] <= 1


def zoomed(place, part):
    return tuple(offset * (1 + 0.1 * part) for offset in place)


def panned(place, part):
    return (place[0] + 96 - 192 * part) / 0.9, place[1] / 0.9


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("effect", "moved", "place"),
    [("zoom_in", zoomed, (780.0, 450.0)), ("pan_right", panned, (100.0, -240.0))],
)
def test_movement_of_the_finished_video_is_even(tmp_path, effect, moved, place):
    """The picture does not shake: a dot moves by parts of a pixel also after the encoder.

    60 frames of 1.53 px each in the zoom, and of 3.62 px in the pan. Whole pixels would be off by
    up to half of one.
    """
    folder = lay_job(tmp_path, picture=chart(LANDSCAPE, place), effects=[effect], seconds=2)
    rendered_here(folder)
    frames = lumas(folder / "video.mp4")
    found = [find_dot(frame, moved(place, n / 59)) for n, frame in enumerate(frames)]
    steps = [math.dist(before, after) for before, after in pairwise(found)]
    assert len(steps) == 59
    expected = math.dist(moved(place, 0), moved(place, 1)) / 59
    assert math.dist(found[0], found[-1]) / 59 == pytest.approx(expected, abs=0.004)
    assert max(abs(step - expected) for step in steps) < 0.25


@pytest.mark.few(2, spread=True)
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
def test_bad_inputs_are_faults(tmp_path, name, raw, found):
    folder = lay_job(tmp_path)
    (folder / name).write_bytes(raw)
    code, lines, errors = outcome(folder)
    assert (code, errors) == (2, "")
    fault = lines[-1]["fault"]
    assert fault["field"] == name
    assert found in fault["found"]
    assert fault["expected"]
    assert not (folder / "video.mp4").exists()


def test_limits_are_the_jobs(tmp_path):
    for limit, value, found in (
        ("audio_seconds", 0.2, "more than 0.2 seconds"),
        ("image_pixels", 1000, "320×180 pixels, 57,600 in all"),
    ):
        lay_job(tmp_path, limits={limit: value})
        with pytest.raises(InputFaultError) as caught:
            render_here(tmp_path)
        assert caught.value.fault.found == found


def test_a_disk_that_cannot_be_written_is_the_services_fault(tmp_path):
    folder = lay_job(tmp_path)
    (folder / "video.mp4.part").mkdir()
    code, lines, errors = outcome(folder)
    assert code not in (0, 2)
    assert not any("fault" in line or "done" in line for line in lines)
    assert "Is a directory" in errors


def running(group: int) -> list[str]:
    """States of the processes of a group, without those that have ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group:
                found.append(process.status())
    return [state for state in found if state != psutil.STATUS_ZOMBIE]


def until_progress(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert any(b"progress" in line for line in process.stdout)


@pytest.mark.parametrize("end", ["input ends", "group is killed"])
def test_the_process_renders_alone_and_ends_with_its_server(tmp_path, end):
    folder = lay_job(tmp_path, effects=["zoom_in"], duration=60, size="640x360")
    with start_render(folder) as process:
        until_progress(process)
        assert len(running(process.pid)) == 1
        if end == "input ends":
            assert process.stdin is not None
            process.stdin.close()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    for _ in range(100):  # the kernel kills each of a group in its own time
        if not running(process.pid):
            break
        time.sleep(0.02)
    assert not running(process.pid)
    assert not (folder / "video.mp4").exists()


def limits_while_it_encodes(folder):
    """Return the limits of memory in bytes and of processor time in seconds."""
    with start_render(folder) as process:
        until_progress(process)
        memory, _ = resource.prlimit(process.pid, resource.RLIMIT_DATA)
        seconds, _ = resource.prlimit(process.pid, resource.RLIMIT_CPU)
        process.kill()
    return memory, seconds


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux only")
def test_memory_and_processor_time_are_limited_while_it_encodes(tmp_path):
    folder = lay_job(tmp_path, effects=["zoom_in"], seconds=20)
    memory, seconds = limits_while_it_encodes(folder)
    assert memory == process_limits.MEMORY_BYTES
    assert 60 <= seconds <= 65  # 20, 2 for each second of the video, and those until here


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux only")
def test_larger_videos_may_take_more_memory_and_processor_time(tmp_path):
    folder = lay_job(tmp_path, effects=["zoom_in"], seconds=20, size="3840x1080", fps=60)
    memory, seconds = limits_while_it_encodes(folder)
    assert memory == process_limits.MEMORY_BYTES + 60 * 1920 * 1080
    assert 20 + 4 * 2 * 20 <= seconds <= 20 + 4 * 2 * 20 + 15


def test_text_that_would_leave_the_picture_is_a_fault(tmp_path):
    text = SRT.format(text="一" * 60)
    lay_job(tmp_path, subtitle=text, font_size=120, subtitle_lines=0)
    with pytest.raises(InputFaultError) as caught:
        render_here(tmp_path)
    assert asdict(caught.value.fault) == {
        "field": "subtitle",
        "found": "text that would leave the picture at 00:00:00,100: 12 lines of 450 pixels, "
        "beside 0 other cues",
        "expected": "a smaller font_size, a larger subtitle_width, less text or fewer cues at once",
    }


def test_started_by_hand_it_kills_only_itself(tmp_path):
    """Without a session of its own it makes one, so this test is not killed."""
    folder = lay_job(tmp_path, effects=["zoom_in"], seconds=20)
    ended = subprocess.run(
        [*COMMAND, str(folder)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )
    assert ended.returncode == -signal.SIGKILL


def test_a_header_that_claims_hours_changes_nothing(tmp_path):
    folder = lay_job(tmp_path)
    raw = bytearray((folder / "audio").read_bytes())
    raw[40:44] = struct.pack("<I", 2**31)
    (folder / "audio").write_bytes(raw)
    assert rendered_here(folder)["frames"] == 15


@pytest.mark.few(1)
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seconds", [60, 3 * 3600])
def test_picture_and_sound_of_a_long_scene_end_together_and_can_be_sought(tmp_path, seconds):
    lay_job(tmp_path, duration=seconds, size="240x240", fps=24, effects=["zoom_in"])
    assert rendered_here(tmp_path)["frames"] == 24 * seconds
    with av.open(str(tmp_path / "video.mp4")) as video:
        for stream in video.streams:
            assert float(stream.duration * stream.time_base) == pytest.approx(seconds, abs=0.03)
        for share in (0.99, 0.1, 0.5):
            wanted = round(seconds * share)
            video.seek(wanted * av.time_base)
            assert wanted in (frame.time for frame in islice(video.decode(video=0), 300))

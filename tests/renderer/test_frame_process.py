"""Frames that the frame process draws: exactly those that the encoder gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from cloudburst.renderer.audio import measure_voice, prepare_audio
from cloudburst.renderer.encoder import GopEncoder
from cloudburst.renderer.frame_process import frame_at
from cloudburst.renderer.job import JOB_FILE, RenderJob
from cloudburst.renderer.planes import Planes, to_picture
from cloudburst.renderer.scene import load_scene
from support.drawn_frames import photo
from support.project import ROOT
from support.render_job import lay_job, subtitle_file

STORY = ROOT / "examples" / "story"
CUES = subtitle_file((0, 0.3, "第一行"), (0.3, 0.5, "second line"), (0.9, 2, "最后 last"))
MARK = Image.new("RGBA", (31, 17), (255, 80, 0, 160))


def draw(folder: Path, at: float, name: str = "frame.png") -> subprocess.CompletedProcess[bytes]:
    """Run the frame process. It would end with its standard input, so that stays open."""
    module = "cloudburst.renderer.frame_process"
    reading, writing = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-m", module, str(folder), str(at), name, "4096"],
            stdin=reading,
            capture_output=True,
            check=False,
            timeout=50,
            start_new_session=True,
        )
    finally:
        os.close(reading)
        os.close(writing)


def encoded_frames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Planes]:
    """Return the first frames of each GOP's states, as the encoder of the video gets them."""
    job = RenderJob.from_json((folder / JOB_FILE).read_bytes())
    frames = prepare_audio(folder, 3600).frames
    scene = load_scene(folder, job, frames, lambda _: None)
    seen = []

    def note(kind):
        original = getattr(GopEncoder, kind)

        def add(self, frame):
            planes = [
                Image.frombytes("L", (p.width, p.height), bytes(p), "raw", "L", p.line_size)
                for p in frame.planes
            ]
            seen.append(Planes(frame.width, frame.height, *(p.tobytes() for p in planes)))
            return original(self, frame)

        monkeypatch.setattr(GopEncoder, kind, add)

    for kind in ("add", "add_p"):
        note(kind)
    for gop in scene.source.gops(frames):
        scene.source.encode(gop, 40, lambda _: None)
    monkeypatch.undo()
    return seen


CASES = [
    pytest.param({"effects": ["zoom_in"]}, 31, id="zoom"),
    pytest.param({"effects": ["pan_left"], "size": "360x640", "fade_out": 1}, 31, id="fade"),
    pytest.param({"effects": ["pan_up"], "watermark_position": "right"}, 15, id="mark"),
]


@pytest.mark.few(1)
@pytest.mark.real
@pytest.mark.parametrize(("options", "frame"), CASES)
def test_the_pixels_are_those_that_are_encoded(tmp_path, monkeypatch, options, frame):
    folder = lay_job(
        tmp_path,
        picture=photo((640, 400)),
        subtitle=CUES,
        mark=MARK,
        seconds=1.2,
        motion_search=True,
        **({"size": "640x360"} | options),
    )
    ended = draw(folder, (frame + 0.5) / 30)
    assert (ended.returncode, ended.stderr) == (0, b"")
    encoded = encoded_frames(folder, monkeypatch)
    assert len(encoded) == 36
    with Image.open(tmp_path / "frame.png") as found:
        assert found.mode == "RGB"
        assert found.tobytes() == to_picture(encoded[frame]).tobytes()
        assert found.tobytes() != to_picture(encoded[frame - 16]).tobytes()


@pytest.mark.few(1)
@pytest.mark.real
@pytest.mark.parametrize(("at", "state"), [(0, 0), (0.29, 0), (0.3, 1), (0.6, 2), (1.19, 3)])
def test_a_still_video_shows_the_frame_of_its_state(tmp_path, monkeypatch, at, state):
    pictures = {"picture": photo((640, 400)), "subtitle": CUES, "mark": MARK}
    folder = lay_job(tmp_path, **pictures, seconds=1.2, size="640x360")
    assert draw(folder, at).returncode == 0
    encoded = encoded_frames(folder, monkeypatch)
    states = list(dict.fromkeys(planes for planes in encoded if planes.y[0] != 128))
    assert len(states) == 4
    with Image.open(tmp_path / "frame.png") as found:
        assert found.tobytes() == to_picture(states[state]).tobytes()


@pytest.mark.real
def test_a_jpeg_shows_the_same(tmp_path):
    folder = lay_job(tmp_path, picture=photo((320, 200)), effects=["zoom_out"], size="640x360")
    for name in ("frame.png", "frame.jpg"):
        assert draw(folder, 0.2, name).returncode == 0
    with Image.open(folder / "frame.png") as png, Image.open(folder / "frame.jpg") as jpeg:
        assert jpeg.format == "JPEG"
        histogram = ImageChops.difference(png, jpeg).convert("L").histogram()
    assert sum(level * count for level, count in enumerate(histogram)) / sum(histogram) < 2


@pytest.mark.parametrize("name", ["01-harbour.mp3", "05-starlight.m4a", None])
def test_the_length_is_that_of_the_video(tmp_path, name):
    """It is found without encoding the sound: an mp3, packets that are copied, and a wav."""
    folder = lay_job(tmp_path, seconds=1.2345)
    if name is not None:
        (folder / "audio").write_bytes((STORY / name).read_bytes())
    job = RenderJob.from_json((folder / JOB_FILE).read_bytes())
    voice = measure_voice(folder, job, lambda _: None)
    assert list(folder.glob("*.m4a")) == []
    assert voice.frames == prepare_audio(folder, 3600).frames


@pytest.mark.few(2, spread=True)
@pytest.mark.real
@pytest.mark.parametrize(
    ("at", "name", "raw", "field", "found"),
    [
        (0.5, "audio", None, "at", "0.5 seconds"),
        (1e300, "audio", None, "at", "1e+300 seconds"),
        (0, "audio", b"no sound", "audio", "Invalid data"),
        (0, "image", b"GIF89a", "image", ""),
        (0, "subtitle", b"no cue", "subtitle", "without any line of timing"),
        (0, "watermark", b"\x89PNG", "watermark", ""),
    ],
)
def test_faults_name_their_input(tmp_path, at, name, raw, field, found):  # noqa: PLR0917
    folder = lay_job(tmp_path)
    if raw is not None:
        (folder / name).write_bytes(raw)
    ended = draw(folder, at)
    assert (ended.returncode, ended.stderr) == (2, b"")
    fault = json.loads(ended.stdout.splitlines()[-1])["fault"]
    assert fault["field"] == field
    assert found in fault["found"]
    assert fault["expected"]
    assert not (folder / "frame.png").exists()


@pytest.mark.parametrize(
    ("seconds", "frame"),
    [(0, 0), (0.033, 0), (1 / 30, 1), (0.1, 3), (0.7, 21), (2.3, 69), (2.5, 75), (2.4999, 74)],
)
def test_the_frame_of_a_time(seconds, frame):
    assert frame_at(seconds, 30) == frame

"""Playback in Chromium: no frame is dropped, and each position shows its frame.

``nox -s browser`` runs it; it needs the program ``chromium``. Run it on a machine with nothing else
to do: a browser drops frames if it gets no CPU time.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import av
import pytest
from PIL import Image

from cloudburst.models.film import Transition
from cloudburst.renderer import known_vectors
from cloudburst.renderer.known_vectors import Spacing
from cloudburst.renderer.planes import to_planes
from support.drawn_frames import dark_gradient, luma, photo, psnr
from support.film_scenes import RATE, film_of, scene_video, sine
from support.render_job import make_job, render_here, render_job, subtitle_file

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

CHROMIUM = shutil.which("chromium") or "chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--autoplay-policy=no-user-gesture-required",
)
SECONDS, FPS = 11.5, 30
FRAMES = (0, 1, 4, 15, 44, 45, 114, 115, 116, 149, 150, 151, 230, 299, 300, 301)
"""Frames of which screenshots are compared: near changes of the subtitles, borders of GOPs and
borders of a film's scenes."""
SEEKS = 50
"""Further frames of `SOUGHT`, at random places."""
CUES = subtitle_file((0.5, 1.5, "第一 first"), (1, 5, "second"), (9.9, 10.1, "border"))
KINDS: dict[str, dict[str, Any]] = {
    "still": {},
    "still-subtitles": {"subtitle": CUES},
    "zoom": {"effects": ["zoom_in"]},
    "zoom-subtitles": {"effects": ["zoom_out"], "subtitle": CUES, "background_box": False},
    "portrait-pan": {"effects": ["pan_left"], "subtitle": CUES, "is_portrait": True},
    "dark-still": {"subtitle": CUES},
}
DISTANCES: dict[int, dict[str, Any]] = {
    6: {"effects": ["pan_up"], "motion_easing": "ease_in"},
    12: {"effects": ["pan_right"], "motion_easing": "ease_in_out"},
    16: {"effects": ["pan_down"], "motion_easing": "ease_out"},
}
"""Movements of further videos, by the distance of their P pictures in frames."""
SOUGHT = {"zoom-subtitles", "film-crossfade", *(f"distance-{number}" for number in DISTANCES)}
FILMS: dict[str, Transition] = {
    "film-cut": "cut",
    "film-fade": "fade",
    "film-crossfade": "crossfade",
}
"""Transitions of films of three scenes, which are a third of `SECONDS` long each."""
LOWEST_PSNR = 56.0
"""Luma PSNR in dB of a screenshot against the frame that PyAV decodes; only colours are converted
in between. The lowest found is 57.3; two frames of a zoom that follow each other have up to
55.2."""


class Server(ThreadingHTTPServer):
    """Server of the page and the videos, which collects what the page finds."""

    def __init__(self, videos: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.videos = videos
        self.results: dict[str, dict[str, Any]] = {}
        self.shots: dict[str, dict[int, bytes]] = {name: {} for name in videos}
        self.ended = Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        match self.path.split("/")[1:]:
            case ["list"]:
                chosen = {
                    name: frames_of(name, video) for name, video in self.server.videos.items()
                }
                body = json.dumps(chosen).encode()
            case ["video", name]:
                body = self.server.videos[name].read_bytes()
            case _:
                body = Path(__file__).with_suffix(".html").read_bytes()
        self._answer(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.path.split("/")[1:]:
            case ["shot", name, number]:
                self.server.shots[name][int(number)] = body
            case ["result", name]:
                self.server.results[name] = json.loads(body)
            case ["end"]:
                self.server.ended.set()
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def frames_of(name: str, video: Path) -> list[int]:
    """Return the numbers of the frames to compare, in the order in which they are sought."""
    others = sorted({*range(frame_count(video))}.difference(FRAMES))
    return [*FRAMES, *random.Random(name).sample(others, SEEKS if name in SOUGHT else 0)]


def videos(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, options in KINDS.items():
        picture = (dark_gradient if name == "dark-still" else photo)((1600, 900))
        make_job(folder / name, picture, SECONDS, **options)
        found[name] = render_job(folder / name).video
    for distance, options in DISTANCES.items():
        spacing = Spacing(distance, 0)
        monkeypatch.setattr(known_vectors, "choose_spacing", lambda _, spacing=spacing: spacing)
        place = folder / f"distance-{distance}"
        make_job(place, photo((1600, 900)), SECONDS, **options)
        render_here(place)
        found[place.name] = place / "video.mp4"
    return found | films(folder / "films")


def films(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    sound = sine(0, round(SECONDS / 3 * RATE))
    scenes = [
        scene_video(folder / name, photo((1600, 900)), sound, **KINDS[name])
        for name in ("still-subtitles", "zoom", "zoom-subtitles")
    ]
    found: dict[str, Path] = {}
    for name, transition in FILMS.items():
        (folder / name).mkdir()
        found[name], _ = film_of(folder / name, scenes, transition=transition)
    return found


def test_chromium_plays_every_kind_of_video(tmp_path, monkeypatch):
    with Server(videos(tmp_path, monkeypatch)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        command = (CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", address)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as browser:
            try:
                ended = server.ended.wait(600)
            finally:
                browser.terminate()
                output, _ = browser.communicate()
        server.shutdown()
    assert ended, output.decode()
    for name, video in server.videos.items():
        lowest = check_screenshots(server.shots[name], video)
        sys.stdout.write(f"{name}: {server.results[name]}, lowest PSNR {lowest:.1f} dB\n")
        assert lowest > LOWEST_PSNR, name
    for name, found in server.results.items():
        size = [1080, 1920] if name.startswith("portrait") else [1920, 1080]
        assert (found["size"], found["dropped"], found["corrupted"]) == (size, 0, 0), (name, found)
        frames = frame_count(server.videos[name])
        assert abs(found["duration"] - frames / FPS) < 0.03
        assert found["shown"] > 0.85 * frames, (name, found)


def frame_count(video: Path) -> int:
    with av.open(str(video)) as container:
        return container.streams.video[0].frames


def check_screenshots(shots: dict[int, bytes], video: Path) -> float:
    """Return the lowest similarity of a screenshot and its frame in a whole decode, in dB."""
    assert sorted(shots) == sorted(frames_of(video.parent.name, video))
    ratios = []
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in shots:
                with Image.open(io.BytesIO(shots[number])) as picture:
                    planes = to_planes(picture.convert("RGB"))
                found = Image.frombytes("L", picture.size, planes.y)
                ratios.append(psnr(found, luma(frame)))
    return min(ratios)

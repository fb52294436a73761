"""What a render costs: CPU-seconds, wall time, memory, size and quality.

    python benchmarks/render.py [--peer] [--seconds 10 30] [--no-quality]

Four scenarios at 1080p, on a picture and a sound made here. For each it prints

- ours: a whole render child, from its start to its end, with the ffmpeg that it starts;
- x264: that encoder alone, with the same settings on the very same frames, which another ffmpeg
  makes and pipes to it. Only the encoding process is counted: this is the bound;
- peer (``--peer``): the public image's own code, PyPI ``video-generation-api``, unmodified, asked
  through its own ``/create_video_onestep`` in an environment of its own under the cache folder. It
  wants ``ffmpeg`` and ``ffprobe`` on the path.

CPU is user plus system of a process and all that it waited for (`os.wait4`). Memory is the peak of
the sum over all living processes of the tree, sampled twenty times a second; shared pages count
once (PSS). All of one row ran one after the other on the same machine: compare ratios, not runs.

Quality: both videos of the shortest clip without subtitles against ideal frames: the picture in
RGB, enlarged by Pillow's Lanczos with exact sub-pixel windows. The peer's zoom turns about a point
half a pixel off the middle (its matrix counts from pixel middles); its ideal frames do too, so that
it is measured against what it means to show. Its videos carry no colour tags and hold BT.601, and
are read so; both are compared in BT.709. SSIM of luma always, VMAF where an ffmpeg has libvmaf.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from cloudburst.models.camera_effects import Effect
from cloudburst.renderer import camera_motion, media
from cloudburst.renderer import ffmpeg as ff
from cloudburst.renderer.planes import to_planes

SIZE = WIDTH, HEIGHT = 1920, 1080
QUALITY_FRAMES = 150
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cloudburst-bench"

RAW = ("-f", "rawvideo", "-pixel_format", "yuv420p", "-framerate", "30", "-video_size", "1920x1080")

PEER = """
import base64, json, shutil, sys
from pathlib import Path
from video_generation_api.app import app
said = json.loads(sys.argv[1])
body = said["options"]
for key, path in said["files"].items():
    body[key] = base64.b64encode(Path(path).read_bytes()).decode()
answer = app.test_client().post("/create_video_onestep", json=body).get_json()
shutil.copy("outputs/" + answer["file_id"] + ".mp4", said["video"])
"""


class Scenario(NamedTuple):
    name: str
    effects: tuple[str, ...]
    subtitled: bool


SCENARIOS = (
    Scenario("baseline", (), False),
    Scenario("subtitles_only", (), True),
    Scenario("effects_only", ("zoom_in",), False),
    Scenario("full_featured", ("zoom_in",), True),
)

GOALS: dict[tuple[str, int], float] = {
    ("baseline", 10): 5,
    ("subtitles_only", 10): 5,
    ("baseline", 30): 8,
    ("subtitles_only", 30): 8,
    ("effects_only", 30): 12,
    ("full_featured", 30): 15,
}
"""The peer's CPU-seconds over ours, at least."""
BOUND_GOAL = ("full_featured", 30, 1.9)
"""Our CPU-seconds over those of x264 alone, at most."""
PEAK_GOAL = 550
"""Megabytes of the render child's tree, at most."""


class Cost(NamedTuple):
    cpu: float
    wall: float
    peak: float
    """Megabytes."""
    size: float
    """Megabytes."""


class Row(NamedTuple):
    scenario: Scenario
    seconds: int
    ours: Cost
    bound: float
    peer: Cost | None


def make_inputs(folder: Path, seconds: int) -> None:
    """Make a picture with detail at every scale and grain, audio like a voice, and subtitles."""
    rng = np.random.default_rng(7)
    total = np.full((HEIGHT, WIDTH, 3), 118, np.float32)
    for step, weight in ((256, 34), (96, 22), (32, 14), (12, 8), (4, 5), (2, 3)):
        small = rng.normal(size=(HEIGHT // step + 2, WIDTH // step + 2, 3)).astype(np.float32)
        small = small * 0.4 + small.mean(axis=2, keepdims=True)  # colours vary less than light
        layers = (Image.fromarray(small[..., band]) for band in range(3))
        wide = [np.asarray(layer.resize(SIZE, Image.Resampling.BICUBIC)) for layer in layers]
        total += weight * np.stack(wide, axis=-1)
    total += rng.normal(size=(HEIGHT, WIDTH, 1)) * 2.5
    picture = Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, r = (
            int(rng.integers(low, high)) for low, high in ((0, WIDTH), (0, HEIGHT), (9, 120))
        )
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=int(rng.integers(1, 8)))
    picture.save(folder / "image.png")

    moment = np.arange(seconds * 44_100) / 44_100
    pitch = np.cumsum(150 + 40 * np.sin(2.1 * moment)) / 44_100
    voice = sum(np.sin(2 * np.pi * pitch * n) / n for n in range(1, 9))
    voice *= np.clip(np.sin(2 * np.pi * 3.1 * moment) + 0.4, 0, 1)
    voice += rng.normal(size=moment.size) * 0.01
    with wave.open(str(folder / "audio.wav"), "wb") as out:
        out.setparams((1, 2, 44_100, 0, "NONE", ""))
        out.writeframes((voice / np.abs(voice).max() * 20_000).astype("<i2").tobytes())

    lines = ("很久很久以前，群山之间有一个小小的村庄。", "Every morning a bell rang, far away.")
    cues = (
        f"{n + 1}\n00:00:{n * 3:02d},100 --> 00:00:{n * 3 + 2:02d},900\n{lines[n % 2]}\n"
        for n in range(seconds // 3)
    )
    (folder / "subtitle.srt").write_text("\n".join(cues), "utf-8")


def memory(process: int) -> int:
    """Kilobytes of a process and its descendants, now."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        children = [
            int(child)
            for task in Path(f"/proc/{process}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
    return (int(found[1]) if found else 0) + sum(map(memory, children))


def measured(command: Sequence[str | Path], folder: Path, video: Path) -> Cost:
    """Run to the end with an input that stays open; ``SystemExit`` when it fails."""
    began = time.monotonic()
    with (
        (folder / "bench.log").open("wb") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        ended, peak = threading.Event(), 0

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.05):
                peak = max(peak, memory(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
    wall = time.monotonic() - began
    if process.returncode != 0 or not video.exists():
        sys.exit(f"{command[0]} failed:\n{(folder / 'bench.log').read_text()[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(cpu, wall, peak / 1024, video.stat().st_size / 1e6)


def run_ours(scenario: Scenario, inputs: Path, folder: Path) -> Cost:
    folder.mkdir()
    shutil.copy(inputs / "image.png", folder / "image")
    shutil.copy(inputs / "audio.wav", folder / "audio")
    if scenario.subtitled:
        shutil.copy(inputs / "subtitle.srt", folder / "subtitle")
    job = {"name": scenario.name, "options": {"effects": scenario.effects}}
    (folder / "job.json").write_text(json.dumps(job))
    command: list[str | Path] = [sys.executable, "-m", "cloudburst.renderer.render_process", folder]
    return measured(command, folder, folder / "video.mp4")


def run_alone(scenario: Scenario, seconds: int, folder: Path) -> float:
    """CPU-seconds of x264 on the frames of our finished job."""
    program = ff.find_ffmpeg().path
    frames = seconds * ff.FPS
    scene = ff.EncodeSpec(*SIZE, frames, moving=True, subtitled=scenario.subtitled, mono=True)
    graph = ff.filter_graph(scene)
    inputs = [*RAW, "-i", "pipe:0", "-i", "audio", "-filter_complex", graph]
    outputs = ["-map", "[v]", "-f", "rawvideo", "pipe:1", "-map", "[a]", "-f", "null", "-"]
    settings = ff.picture_arguments(scene._replace(moving=bool(scenario.effects)))
    encode = [*RAW, "-i", "pipe:0", *settings, "-f", "mp4", "alone.mp4"]
    quiet = [program, "-v", "error", "-y"]
    with (
        subprocess.Popen(
            [*quiet, *inputs, *outputs], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as maker,
        subprocess.Popen([*quiet, *encode], cwd=folder, stdin=maker.stdout) as encoder,
    ):
        assert maker.stdin is not None
        assert maker.stdout is not None
        maker.stdout.close()  # the encoder's alone: it sees the end when the maker ends
        picture = to_planes(media.load_picture(folder / "image", 10**8, None))
        camera = camera_motion.Camera(picture)
        still = camera_motion.Window(0, 0, 1)
        moving = camera_motion.camera_windows(Effect.ZOOM_IN, *SIZE, frames)
        with maker.stdin:
            for window in moving if scenario.effects else [still] * frames:
                maker.stdin.write(camera.frame(window).data.data)
        _, status, usage = os.wait4(encoder.pid, 0)
        encoder.returncode = os.waitstatus_to_exitcode(status)
    if encoder.returncode != 0:
        sys.exit("x264 alone failed")
    return usage.ru_utime + usage.ru_stime


def peer_python() -> Path:
    """Python of the peer's environment, made on first use."""
    python = CACHE / "peer" / "bin" / "python"
    if not (CACHE / "peer" / "complete").exists():
        shutil.rmtree(CACHE / "peer", ignore_errors=True)
        # Its pins have wheels up to Python 3.12, and its imageio-ffmpeg wants pkg_resources.
        packages = ("video-generation-api", "setuptools<81")
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "-q", "-p", "3.11", CACHE / "peer"], check=True)
            subprocess.run([uv, "pip", "install", "-q", "-p", python, *packages], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", CACHE / "peer"], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        (CACHE / "peer" / "complete").touch()
    return python


def run_peer(scenario: Scenario, inputs: Path, folder: Path) -> Cost:
    folder.mkdir()
    files = {"input_image": inputs / "image.png", "input_audio": inputs / "audio.wav"}
    if scenario.subtitled:
        files["subtitle"] = inputs / "subtitle.srt"
    said = {
        "files": {key: str(path) for key, path in files.items()},
        "options": {"effects": scenario.effects, "language": "chinese"},
        "video": str(folder / "video.mp4"),
    }
    return measured([peer_python(), "-c", PEER, json.dumps(said)], folder, folder / "video.mp4")


def ideal_frames(picture: Image.Image, windows: Iterator[camera_motion.Window]) -> Iterator[bytes]:
    """RGB frames of exact windows."""
    for left, top, zoom in windows:
        box = (left, top, min(left + WIDTH / zoom, WIDTH), min(top + HEIGHT / zoom, HEIGHT))
        yield picture.resize(SIZE, Image.Resampling.LANCZOS, box=box).tobytes()


def peer_windows(frames: int) -> Iterator[camera_motion.Window]:
    """Return the peer's zoom: about (960, 540), counted from the middle of the first pixel."""
    for left, top, zoom in camera_motion.camera_windows(Effect.ZOOM_IN, *SIZE, frames):
        aside = (1 - 1 / zoom) / 2
        yield camera_motion.Window(left + aside, top + aside, zoom)


def score(program: str, metric: str, video: Path, matrix: str, frames: Iterator[bytes]) -> float:
    """SSIM or VMAF of a video's first frames against ideal ones."""
    to_709 = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bicubic"
    same = f"{to_709},format=yuv420p,setpts=N/30/TB"
    graph = (
        f"[0:v]trim=end_frame={QUALITY_FRAMES},"
        f"scale=in_color_matrix={matrix}:flags=accurate_rnd+full_chroma_inp+full_chroma_int,"
        f"format=gbrp,{same}[seen];[1:v]format=gbrp,{same}[ideal];[seen][ideal]{metric}"
    )
    command = [
        *(program, "-v", "info", "-hide_banner", "-nostats"),
        *("-i", str(video), "-f", "rawvideo", "-pixel_format", "rgb24", "-framerate", "30"),
        *("-video_size", "1920x1080", "-i", "pipe:0"),
        *("-filter_complex", graph, "-an", "-f", "null", "-"),
    ]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        assert process.stdin is not None
        feed(process.stdin, frames)
        process.wait()
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
    found = re.search(r"SSIM Y:([\d.]+)" if metric == "ssim" else r"VMAF score: ([\d.]+)", text)
    if found is None:
        sys.exit(f"no {metric}:\n{text[-2000:]}")
    return float(found[1])


def feed(pipe: IO[bytes], frames: Iterator[bytes]) -> None:
    with pipe:
        for _, frame in zip(range(QUALITY_FRAMES), frames, strict=False):
            pipe.write(frame)


def metrics() -> list[tuple[str, str]]:
    """Names of metrics, each with an ffmpeg that has it."""
    found = [("ssim", ff.find_ffmpeg().path)]
    for path in dict.fromkeys((found[0][1], ff.find_ffmpeg({"PATH": ""}).path)):
        listed = subprocess.run([path, "-hide_banner", "-filters"], capture_output=True, check=True)
        if b" libvmaf " in listed.stdout:
            return [*found, ("libvmaf", path)]
    return found


def quality(work: Path, seconds: int, *, peer: bool) -> None:
    picture = media.load_picture(work / f"inputs{seconds}" / "image.png", 10**8, None)
    frames = seconds * ff.FPS
    still = [camera_motion.Window(0, 0, 1)] * frames
    sides: list[tuple[str, str, Callable[[int], Iterator[camera_motion.Window]]]] = [
        ("ours", "bt709", lambda count: camera_motion.camera_windows(Effect.ZOOM_IN, *SIZE, count))
    ]
    if peer:
        sides.append(("peer", "bt601", peer_windows))
    print(f"\nquality of the first {QUALITY_FRAMES} frames of {seconds} s against ideal ones")
    for scenario in (s for s in SCENARIOS if not s.subtitled):
        for side, matrix, zooming in sides:
            video = work / f"{side}-{scenario.name}-{seconds}" / "video.mp4"
            scores = []
            for metric, path in metrics():
                windows = zooming(frames) if scenario.effects else iter(still)
                found = score(path, metric, video, matrix, ideal_frames(picture, windows))
                scores.append(f"{metric} {found:.4f}")
            print(f"  {scenario.name:15} {side}: {', '.join(scores)}", flush=True)


def cells(cost: Cost | None) -> str:
    if cost is None:
        return ""
    return f"{cost.cpu:7.2f} {cost.wall:6.1f} {cost.peak:6.0f} {cost.size:6.2f}"


def show(row: Row) -> None:
    ratio = f"{row.peer.cpu / row.ours.cpu:6.1f}" if row.peer else ""
    print(
        f"{row.scenario.name:15} {row.seconds:4d} | {cells(row.ours)} | {row.bound:7.2f} "
        f"{row.ours.cpu / row.bound:5.2f} | {cells(row.peer)} {ratio}",
        flush=True,
    )


def judge(rows: Sequence[Row]) -> None:
    print("\ngoals")
    for row in rows:
        key = (row.scenario.name, row.seconds)
        if row.peer and (goal := GOALS.get(key)):
            ratio = row.peer.cpu / row.ours.cpu
            verdict("{} at {} s: the peer's CPU over ours".format(*key), ratio, goal, ratio >= goal)
        if key == BOUND_GOAL[:2]:
            ratio = row.ours.cpu / row.bound
            verdict(
                "{} at {} s: our CPU over x264 alone".format(*key),
                ratio,
                BOUND_GOAL[2],
                ratio <= BOUND_GOAL[2],
            )
    peak = max(row.ours.peak for row in rows)
    verdict("highest peak of the child's tree, MB", peak, PEAK_GOAL, peak <= PEAK_GOAL)


def verdict(what: str, found: float, goal: float, met: bool) -> None:
    print(f"  {'met   ' if met else 'MISSED'} {what}: {found:.2f}, goal {goal:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What a render costs.")
    parser.add_argument("--peer", action="store_true", help="measure the public image's code too")
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--no-quality", action="store_true")
    said = parser.parse_args()
    if said.peer:
        peer_python()
    print(ff.find_ffmpeg().version, f"{os.cpu_count()} cores", sep=", ")
    print(
        f"{'':20} | {'ours CPU':>7} {'wall':>5} {'MB':>6} {'size':>6} | {'x264':>7} {'ratio':>5} | "
        f"{'peer CPU':>7} {'wall':>5} {'MB':>6} {'size':>6} {'ratio':>6}"
    )
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        work = Path(name)
        for seconds in said.seconds:
            inputs = work / f"inputs{seconds}"
            inputs.mkdir()
            make_inputs(inputs, seconds)
            for scenario in SCENARIOS:
                place = f"{scenario.name}-{seconds}"
                ours = run_ours(scenario, inputs, work / f"ours-{place}")
                bound = run_alone(scenario, seconds, work / f"ours-{place}")
                peer = run_peer(scenario, inputs, work / f"peer-{place}") if said.peer else None
                rows.append(Row(scenario, seconds, ours, bound, peer))
                show(rows[-1])
        judge(rows)
        if not said.no_quality:
            quality(work, min(said.seconds), peer=said.peer)


if __name__ == "__main__":
    main()

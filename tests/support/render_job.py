"""Jobs of the render process: their folders, and what the process writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JOB_FILE, JobOptions, RenderedVideo, RenderJob
from cloudburst.renderer.process_limits import lift_cpu_limit
from cloudburst.renderer.render import render
from cloudburst.renderer.scene import LoadedScene, load_scene
from support.service_inputs import tone

COMMAND = (sys.executable, "-m", "cloudburst.renderer.render_process")


def lay_job(
    folder: Path,
    *,
    picture: Image.Image | None = None,
    subtitle: str | None = None,
    mark: Image.Image | None = None,
    seconds: float = 0.5,
    duration: float | None = None,
    name: str = "scene",
    limits: dict[str, Any] | None = None,
    seams: tuple[int, int] = (0, 0),
    **options: Any,
) -> Path:
    """Write the files of a job into a folder, and return it.

    Without other values it has a grey picture, half a second of a tone and no camera effect. A job
    with a duration has no audio file.
    """
    picture = picture or Image.new("RGB", (320, 180), (90, 90, 90))
    picture.save(folder / "image", "PNG", compress_level=0)  # three times as fast
    if duration is None:
        tone(folder / "audio", seconds)
    if subtitle is not None:
        (folder / "subtitle").write_text(subtitle, "utf-8")
    if mark is not None:
        mark.save(folder / "watermark", "PNG", compress_level=0)
    chosen = JobOptions.from_options(RenderOptions.model_validate({"effects": [], **options}))
    job = RenderJob(name=name, options=chosen, duration=duration, seams=seams, **(limits or {}))
    (folder / "job.json").write_text(job.to_json())
    return folder


def start_render(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start the render process of a job. It ends when its standard input is closed."""
    return subprocess.Popen(
        [*COMMAND, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        start_new_session=True,
    )


def outcome(folder: Path, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Return exit code, lines and error output of a render process that runs to its end."""
    with start_render(folder, **environment) as process:
        # `communicate` would close the input, and with it end the process.
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stdout]
        errors = process.stderr.read().decode()
        process.wait()
    return process.returncode, lines, errors


def rendered(folder: Path, **environment: str) -> dict[str, Any]:
    """Render a job, and return the properties of its video."""
    code, lines, errors = outcome(folder, **environment)
    assert (code, errors) == (0, "")
    done: dict[str, Any] = lines[-1]["done"]
    return done


class Rendered(NamedTuple):
    """Result of a render process."""

    done: dict[str, Any]
    """Properties of the video, as the process reports them."""
    gops: list[int]
    """Numbers of GOPs that the process offered to others, once for each plan."""
    video: Path


def make_job(folder: Path, picture: Image.Image, seconds: float, **files: Any) -> RenderJob:
    """Write the files of a job into a new folder; see `lay_job`."""
    folder.mkdir(exist_ok=True)
    lay_job(folder, picture=picture, seconds=seconds, name=folder.name, **files)
    return RenderJob.from_json((folder / JOB_FILE).read_bytes())


def subtitle_file(*cues: tuple[float, float, str]) -> str:
    """Return the content of a subtitle file; cues have a start, an end in seconds, and a text."""
    blocks = [
        f"{number}\n{_clock(start)} --> {_clock(end)}\n{text}\n"
        for number, (start, end, text) in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def _clock(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{thousandths:03}"


@contextmanager
def started(module: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process of the renderer for a job, and kill it at the end if it still runs."""
    server_end, process_end = os.pipe()  # a process ends when its server's end is closed
    command = [sys.executable, "-m", f"cloudburst.renderer.{module}", str(folder)]
    env = dict(os.environ)
    process = subprocess.Popen(
        command,
        stdin=server_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    os.close(server_end)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        os.close(process_end)


def result(process: subprocess.Popen[bytes], folder: Path) -> Rendered:
    """Wait until a render process has ended, which must succeed."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    assert not errors, errors.decode()
    lines = [json.loads(line) for line in output.splitlines()]
    gops = [line["gops"] for line in lines if "gops" in line]
    return Rendered(lines[-1]["done"], gops, folder / "video.mp4")


def render_job(folder: Path) -> Rendered:
    """Render a job in a process of its own."""
    with started("render_process", folder) as process:
        return result(process, folder)


def render_here(folder: Path) -> RenderedVideo:
    """Render a job in this process, whose limits are those of before afterwards."""
    job = RenderJob.from_json((folder / JOB_FILE).read_bytes())
    limited = sys.platform == "linux"
    handler = signal.getsignal(signal.SIGXCPU) if limited else None
    try:
        return render(folder, job, lambda _: None, lambda _: None, lambda _: None)
    finally:
        lift_cpu_limit()
        if limited:
            signal.signal(signal.SIGXCPU, handler)


def rendered_here(folder: Path) -> dict[str, Any]:
    """Render like `rendered`, in this process: a short video takes less time than a new process."""
    done: dict[str, Any] = json.loads(json.dumps(asdict(render_here(folder))))
    return done


def load_here(folder: Path, frames: int) -> LoadedScene:
    """Load a job in this process to draw frames of its video, which are those that are encoded.

    To draw a frame takes a fifth of the time in which the shortest video is rendered.
    """
    job = RenderJob.from_json((folder / JOB_FILE).read_bytes())
    return load_scene(folder, job, frames, lambda _: None, encodes=False)


def drawn_lumas(folder: Path, frames: int, *numbers: int) -> list[Image.Image]:
    """Return the luma samples of frames of a video, or of all frames without numbers."""
    source = load_here(folder, frames).source
    drawn = (source.draw(number).read() for number in numbers or range(frames))
    return [Image.frombytes("L", (one.width, one.height), one.y) for one in drawn]

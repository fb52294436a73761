"""Jobs for the render process, and the processes that render them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from cloudburst.renderer.job import AUDIO, IMAGE, JOB_FILE, SUBTITLE, WATERMARK, RenderJob
from support.project import ROOT

OPTIONS: dict[str, Any] = {
    "language": "chinese",
    "effects": [],
    "is_portrait": None,
    "background_box": True,
    "background_opacity": 0.2,
    "font_size": None,
    "outline_color": "&H00000000",
}


class Rendered(NamedTuple):
    """Result of a render process."""

    done: dict[str, Any]
    """Properties of the video, as the process reports them."""
    gops: list[int]
    """Numbers of GOPs that the process offered to others, once for each plan."""
    video: Path


def make_job(
    folder: Path,
    picture: Image.Image,
    seconds: float,
    *,
    cues: str = "",
    watermark: Image.Image | None = None,
    **options: Any,
) -> RenderJob:
    """Write the files of a job with a quiet tone as its audio."""
    folder.mkdir(exist_ok=True)
    picture.save(folder / IMAGE, "PNG", compress_level=1)
    with wave.open(str(folder / AUDIO), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        count = round(8000 * seconds)
        wave_form = b"\0\4" * 10 + b"\0\xfc" * 10
        sound.writeframes((wave_form * (count // 20 + 1))[: 2 * count])
    if cues:
        (folder / SUBTITLE).write_text(cues, "utf-8")
    if watermark is not None:
        watermark.save(folder / WATERMARK, "PNG")
    text = json.dumps({"name": folder.name, "options": OPTIONS | options})
    (folder / JOB_FILE).write_text(text)
    return RenderJob.from_json(text)


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
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
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

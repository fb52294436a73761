"""What ffmpeg says of a video, and what a frame of it shows."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
from PIL import Image

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


class Probe(NamedTuple):
    """A video that was decoded from its first to its last byte."""

    video: str
    """Ffmpeg's own line about the video stream."""
    audio: str
    size: tuple[int, int]
    frames: int
    samples: int
    """Of one channel."""
    peak: int
    """Loudest sample, of 32767."""

    @property
    def seconds(self) -> float:
        return self.frames / 30

    def check(self, *, size: tuple[int, int], seconds: float, within: float = 0.05) -> None:
        """That it is what every video of ours is, so long and so large."""
        assert self.video.startswith("h264 ("), self.video
        assert "yuv420p(tv, bt709" in self.video, self.video
        assert " 30 fps" in self.video, self.video
        assert self.audio.startswith("aac (LC)"), self.audio
        assert "48000 Hz, stereo" in self.audio, self.audio
        assert self.size == size
        assert abs(self.frames / 30 - self.samples / 48_000) <= 1 / 30
        assert abs(self.seconds - seconds) <= within


def ffmpeg(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [FFMPEG, "-hide_banner", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, timeout=60)


def probe(path: Path) -> Probe:
    """Decode all of it; an error on the way raises."""
    arguments = ("-map", "0:v", "-f", "null", "-", "-map", "0:a", "-f", "s16le", "pipe:1")
    done = ffmpeg("-xerror", "-err_detect", "explode", "-i", path, *arguments)
    told = done.stderr.decode()
    inputs = told.partition("Stream mapping:")[0]
    (video,) = re.findall(r"Stream #.*: Video: (.*)", inputs)
    (audio,) = re.findall(r"Stream #.*: Audio: (.*)", inputs)
    width, height = re.search(r", (\d+)x(\d+)[, ]", video).groups()
    frames = re.findall(r"frame= *(\d+)", told)[-1]
    sound = memoryview(done.stdout).cast("h")
    return Probe(
        video=video,
        audio=audio,
        size=(int(width), int(height)),
        frames=int(frames),
        samples=len(sound) // 2,
        peak=max(map(abs, sound), default=0),
    )


def frame(path: Path, at: float = 0.0) -> Image.Image:
    """One frame in RGB."""
    shot = ffmpeg(
        *("-ss", str(at), "-i", path, "-frames:v", "1"),
        *("-vf", "scale=in_color_matrix=bt709,format=rgb24", "-c:v", "png", "-f", "image2", "-"),
    )
    return Image.open(io.BytesIO(shot.stdout)).convert("RGB")


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    """Colours near the corners: top left, top right, bottom left, bottom right."""
    width, height = picture.size
    across, down = (width // 10, width * 9 // 10), (height // 10, height * 9 // 10)
    return [picture.getpixel((x, y)) for y in down for x in across]

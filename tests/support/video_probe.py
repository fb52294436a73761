"""Contents of videos, decoded by PyAV in this process, and an ffmpeg program.

The program comes with the package imageio-ffmpeg. It has other libraries than PyAV, with which
cloudburst renders, so it finds errors that are common to the writer and the reader of PyAV.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import av
import imageio_ffmpeg
from av.video.reformatter import Colorspace
from PIL import Image

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
"""Path of the ffmpeg program in the package imageio-ffmpeg."""

STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}


class Probe(NamedTuple):
    """Properties of a video that was decoded from its first to its last byte."""

    video: tuple[Any, ...]
    """Codec, profile, pixel format, range, primaries, transfer, matrix, frames per second and
    proportions of a pixel; numbers are those of H.264."""
    audio: tuple[Any, ...]
    """Codec, profile, samples per second and layout."""
    size: tuple[int, int]
    frames: int
    samples: int
    """Samples of one channel."""
    peak: float
    """Loudest sample, of 32767."""

    @property
    def fps(self) -> float:
        return float(self.video[7])

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    def check(
        self, *, size: tuple[int, int], seconds: float, within: float = 0.05, fps: int = 30
    ) -> None:
        """Assert what holds for every video of this package, and the size and the length."""
        assert self.video == ("h264", "High", "yuv420p", 1, 1, 1, 1, fps, 1)
        assert self.audio == ("aac", "LC", 48_000, "stereo")
        assert self.size == size
        assert abs(self.seconds - self.samples / 48_000) <= 1 / fps
        assert abs(self.seconds - seconds) <= within


def ffmpeg(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the ffmpeg program."""
    command = [FFMPEG, "-hide_banner", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, timeout=120)


def probe(path: Path) -> Probe:
    """Decode a whole video; raise for any error or warning of a decoder."""
    with no_complaints(), av.open(str(path), options=STRICT) as container:
        return _probed(container)


@contextmanager
def no_complaints() -> Generator[None]:
    """Raise for any warning of FFmpeg's libraries within the block."""
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as complaints:
            yield
    finally:
        av.logging.set_level(None)
    assert not complaints, complaints


def _probed(container: av.container.InputContainer) -> Probe:
    video, audio = container.streams.video[0], container.streams.audio[0]
    for stream in (video, audio):
        stream.codec_context.options = STRICT
    frames = samples = 0
    peak = 0.0
    for frame in container.decode(video, audio):
        if isinstance(frame, av.VideoFrame):
            frames += 1
            continue
        samples += frame.samples
        for plane in frame.planes:
            values = memoryview(bytes(plane)).cast("f")[: frame.samples]
            peak = max([peak, max(values), -min(values)])
    pixels = video.codec_context
    return Probe(
        video=(
            *(pixels.name, video.profile, pixels.pix_fmt, pixels.color_range),
            *(pixels.color_primaries, pixels.color_trc, pixels.colorspace),
            *(video.average_rate, video.sample_aspect_ratio),
        ),
        audio=(audio.codec.name, audio.profile, audio.rate, audio.layout.name),
        size=(pixels.width, pixels.height),
        frames=frames,
        samples=samples,
        peak=peak * 32_767,
    )


def frames(path: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of a video. A frame is valid until the next one is requested."""
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def luma(frame: av.VideoFrame) -> Image.Image:
    """Return the luma samples of a frame."""
    plane = frame.planes[0]
    size = (plane.width, plane.height)
    return Image.frombytes("L", size, bytes(plane), "raw", "L", plane.line_size)


def lumas(path: Path) -> list[Image.Image]:
    """Return the luma samples of every frame."""
    return [luma(frame) for frame in frames(path)]


def frame(path: Path, at: float = 0.0) -> Image.Image:
    """Return the first frame at a time in seconds, or after it, in RGB."""
    for found in frames(path):
        assert found.time is not None
        if found.time >= at - 1e-6:
            return to_rgb(found)
    raise AssertionError(f"{path} ends before {at} s")


def to_rgb(frame: av.VideoFrame) -> Image.Image:
    """Return a frame of BT.709 in RGB."""
    return frame.to_image(src_colorspace=Colorspace.ITU709)


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    """Colours near the corners: top left, top right, bottom left, bottom right."""
    width, height = picture.size
    across, down = (width // 10, width * 9 // 10), (height // 10, height * 9 // 10)
    return [picture.getpixel((x, y)) for y in down for x in across]

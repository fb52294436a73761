"""Pictures through Pillow, and how long a sound is.

All that reads a caller's bytes is here, in the render child: what is broken, too large or not what
it should be leaves as `InputFaultError`. Pillow alone goes from file to YUV planes, so a still
picture needs neither numpy nor OpenCV.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from cloudburst.service.ffmpeg import (
    FPS,
    SAMPLE_RATE,
    Ffmpeg,
    FfmpegError,
    decode_arguments,
    last_words,
    running,
)
from cloudburst.service.job import AUDIO, IMAGE, WATERMARK, InputFaultError

LONG, SHORT = 1920, 1080
MARK_AT = 10
"""Pixels between the watermark and the top and left edges."""
MARK_PART = 8
"""A watermark is as wide as one part in so many of the video."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 lie on their side
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error)
"""What Pillow's decoders raise for broken files; they are many, and listed nowhere."""

_BT709 = (
    *(0.2126 * 219 / 255, 0.7152 * 219 / 255, 0.0722 * 219 / 255, 16),
    *(-0.2126 / 1.8556 * 224 / 255, -0.7152 / 1.8556 * 224 / 255, 0.5 * 224 / 255, 128),
    *(0.5 * 224 / 255, -0.7152 / 1.5748 * 224 / 255, -0.0722 / 1.5748 * 224 / 255, 128),
)
"""R'G'B' to Y'CbCr of ITU-R BT.709-6, limited range of 8 bits."""

Image.MAX_IMAGE_PIXELS = None  # the job's own limit is checked before anything is decoded


class Planes(NamedTuple):
    """A frame in YUV 4:2:0, BT.709, limited range; chroma sited left, as H.264 assumes."""

    width: int
    height: int
    y: bytes
    u: bytes
    v: bytes


class Sound(NamedTuple):
    """A sound that was decoded once to see how long it is."""

    samples: int
    """Of one channel."""
    rate: int
    channels: int

    @property
    def frames(self) -> int:
        """Video frames that cover it, the last one perhaps in part."""
        return -(-self.samples * FPS // self.rate)


def photo(path: Path, pixels: int, is_portrait: bool | None) -> Image.Image:
    """The picture in RGB, turned as EXIF says, filling 1920x1080 or 1080x1920 by a centre crop.

    Without ``is_portrait`` its own shape decides, and a square makes a landscape. Transparent
    parts are black.
    """
    with _opened(path, IMAGE, pixels) as picture:
        orientation = _orientation(picture)
        lies = orientation in range(5, 9)
        width, height = reversed(picture.size) if lies else picture.size
        upright = width < height if is_portrait is None else is_portrait
        size = (SHORT, LONG) if upright else (LONG, SHORT)
        stored = (size[1], size[0]) if lies else size
        picture.draft("RGB", stored)  # a large JPEG is decoded smaller, never below this
        filled = ImageOps.fit(_colours(picture), stored, Image.Resampling.LANCZOS)
    filled.getexif()[_ORIENTATION] = orientation
    turned = ImageOps.exif_transpose(filled)
    if turned.mode == "RGBA":
        black = Image.new("RGBA", size, (0, 0, 0, 255))
        turned = Image.alpha_composite(black, turned)
    return turned.convert("RGB")


def _orientation(picture: Image.Image) -> int:
    if picture.format == "PNG":
        picture.load()  # else getexif would, and a load that failed succeeds when repeated
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except (*_BROKEN, TypeError):
        return 1  # the picture may be good all the same


def mark(path: Path, pixels: int, canvas: tuple[int, int]) -> Image.Image:
    """The watermark in RGBA: an eighth of the canvas wide, cut where it would leave the canvas."""
    with _opened(path, WATERMARK, pixels) as picture:
        width = canvas[0] // MARK_PART
        height = max(1, round(picture.height * width / picture.width))
        if height > canvas[1] * 8:
            raise InputFaultError(
                WATERMARK, f"{picture.width}x{picture.height}", "a picture less tall for its width"
            )
        sized = _colours(picture).convert("RGBA").resize((width, height), Image.Resampling.LANCZOS)
    return sized.crop((0, 0, width, min(height, canvas[1] - MARK_AT)))


def planes(picture: Image.Image) -> Planes:
    """An RGB picture of even size as the encoder takes it."""
    width, height = picture.size
    y, cb, cr = picture.convert("RGB", _BT709).split()
    return Planes(width, height, y.tobytes(), halved(cb).tobytes(), halved(cr).tobytes())


def halved(plane: Image.Image) -> Image.Image:
    """Half the size, each sample lying on every second column and between two rows."""
    width, height = plane.size
    padded = Image.new("L", (width + 1, height))
    padded.paste(plane)  # the first column once more on the left
    padded.paste(plane, (1, 0))
    return padded.resize(
        (width // 2, height // 2),
        Image.Resampling.BILINEAR,
        box=(0.5, 0, width + 0.5, height),
    )


def _colours(picture: Image.Image) -> Image.Image:
    """RGB, or RGBA where parts are transparent."""
    if picture.mode.startswith("I"):  # 16 bits of grey, whatever the number of bits it says
        return picture.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    mode = "RGBA" if transparent else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)  # no needless copy


@contextmanager
def _opened(path: Path, field: str, pixels: int) -> Generator[Image.Image]:
    """The picture, checked but not decoded; what its decoder raises inside is a fault of it."""
    expected = f"a picture ({', '.join(_FORMATS)}) of at most {pixels:,} pixels"
    try:
        with Image.open(path, formats=_FORMATS) as probe:
            if probe.width * probe.height > pixels:
                raise InputFaultError(field, f"{probe.width}x{probe.height} pixels", expected)
            probe.verify()
        with Image.open(path, formats=_FORMATS) as picture:
            yield picture
    except _BROKEN as exc:
        raise InputFaultError(field, _complaint(path, exc), expected) from exc


def _complaint(path: Path, exc: BaseException) -> str:
    if path.stat().st_size == 0:
        return "an empty file"
    return str(exc).replace(f"{str(path)!r}", "the file") or type(exc).__name__


def measure_sound(ffmpeg: Ffmpeg, folder: Path, limit: float) -> Sound:
    """Decode the job's sound and count: headers lie, above all those of mp3.

    ``limit`` is in seconds; decoding ends there, whatever the file claims. Raises
    `InputFaultError` for what is no sound, `FfmpegError` when ffmpeg did not come to an end.
    """
    expected = f"mp3, wav, m4a, ogg or flac of at most {limit:g} seconds"
    with running(ffmpeg, decode_arguments(), folder, seconds=60 + limit) as process:
        assert process.stdout is not None
        header = process.stdout.read(24)
        rate, channels, size = SAMPLE_RATE, 2, 0
        if len(header) == 24:
            _, offset, _, _, rate, channels = struct.unpack(">4s5I", header)
            size = len(header) - offset
        while piece := process.stdout.read(1 << 20):
            size += len(piece)
            if size > limit * rate * channels * 2:
                raise InputFaultError(AUDIO, f"more than {limit:g} seconds", expected)
        code = process.wait()
    if code < 0:
        msg = f"ffmpeg was killed while it decoded the sound ({code})"
        raise FfmpegError(msg)
    samples = size // (2 * channels)
    if code or samples <= 0:
        raise InputFaultError(AUDIO, last_words(folder, 1) or "no sound", expected)
    return Sound(samples, rate, channels)

"""Pictures and sounds of every kind, good and bad, and subtitles."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from support.deflated import zeros
from support.project import TESTS
from support.video_probe import ffmpeg

RED, GREEN, BLUE, WHITE, BLACK = (
    (200, 30, 30),
    (30, 160, 40),
    (40, 60, 200),
    (235, 235, 235),
    (0, 0, 0),
)
GREYS16 = ((0x1000, 0x5000), (0xA000, 0xF000))
HEIC = TESTS / "data" / "heic"
CUES = "1\n00:00:00,000 --> 00:00:05,000\n你好, harbour\n"


def quadrants(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Red and green above, blue and white below."""
    picture = Image.new("RGB", (width, height), RED)
    half_w, half_h = width // 2, height // 2
    picture.paste(GREEN, (half_w, 0, width, half_h))
    picture.paste(BLUE, (0, half_h, half_w, height))
    picture.paste(WHITE, (half_w, half_h, width, height))
    return picture.convert(mode)


def see_through(path: Path) -> None:
    picture = quadrants(320, 180, "RGBA")
    picture.paste((0, 0, 0, 0), (160, 0, 320, 90))
    picture.save(path, "PNG")


def grey16(path: Path) -> None:
    upper, lower = ((left,) * 160 + (right,) * 160 for left, right in GREYS16)
    rows = struct.pack("<57600H", *(upper * 90 + lower * 90))
    Image.frombytes("I;16", (320, 180), rows).save(path, "PNG")


def turned(path: Path) -> None:
    """Stored on its side: shown, the picture is upright with red at its top left."""
    shown = quadrants(180, 320)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show it
    shown.transpose(Image.Transpose.ROTATE_90).save(path, "JPEG", quality=95, exif=exif)


def png_header(width: int, height: int, *rest: bytes) -> bytes:
    chunks = (b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0), *rest, b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def bomb(path: Path) -> None:
    """400 million black pixels in a megabyte of well-formed PNG."""
    rows = zeros(20_000 * (1 + 3 * 20_000))
    path.write_bytes(png_header(20_000, 20_000, b"IDAT" + rows))


def tone(path: Path, *options: str, seconds: float = 1.0) -> None:
    ffmpeg(*("-f", "lavfi", "-i", f"sine=440:duration={seconds}"), *options, path)


def xing_that_lies(path: Path) -> None:
    """Its header says that there are a hundred times as many frames as there are."""
    tone(path, "-f", "mp3", "-b:a", "64k")
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    assert at > 0
    frames = int.from_bytes(data[at + 8 : at + 12])
    data[at + 8 : at + 12] = (frames * 100).to_bytes(4)
    path.write_bytes(data)


def wav_from_a_pipe(path: Path) -> None:
    """Its header says that there are 4 GB to come."""
    tone(path, "-f", "wav")
    data = bytearray(path.read_bytes())
    at = data.find(b"data")
    data[4:8] = data[at + 4 : at + 8] = b"\xff" * 4
    path.write_bytes(data)


def cut(path: Path, make: Callable[[Path], object], share: float) -> None:
    make(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def saved(*size: int, mode: str = "RGB", **how: object) -> Callable[[Path], None]:
    return lambda path: quadrants(*size, mode=mode).save(path, **how)


def sounding(*options: str) -> Callable[[Path], None]:
    return lambda path: tone(path, *options)


def written(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


PICTURES: Mapping[str, Callable[[Path], object]] = {
    "jpg": saved(640, 360, format="JPEG", quality=95),
    "png": saved(640, 360, format="PNG"),
    "webp": saved(640, 360, format="WEBP", quality=95),
    "avif": saved(640, 360, format="AVIF", quality=95),
    "heic": lambda path: shutil.copyfile(HEIC / "grid_turned.heic", path),
    "odd": saved(333, 777, format="PNG"),
    "4k": saved(3840, 2160, format="JPEG", quality=90),
    "see-through": see_through,
    "grey16": grey16,
    "turned": turned,
}
SOUNDS: Mapping[str, Callable[[Path], object]] = {
    "mp3-cbr": sounding("-f", "mp3", "-b:a", "128k"),
    "mp3-vbr-no-xing": sounding("-f", "mp3", "-q:a", "4", "-write_xing", "0"),
    "mp3-lying-xing": xing_that_lies,
    "wav": sounding("-f", "wav"),
    "wav-float-96k": sounding("-f", "wav", "-c:a", "pcm_f32le", "-ar", "96000"),
    "wav-from-a-pipe": wav_from_a_pipe,
    "m4a": sounding("-f", "ipod", "-c:a", "aac"),
    "ogg": sounding("-f", "ogg", "-c:a", "libvorbis"),
    "opus": sounding("-f", "ogg", "-c:a", "libopus"),
    "flac": sounding("-f", "flac", "-ar", "44100"),
}

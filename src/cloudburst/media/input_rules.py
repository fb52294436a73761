"""Limits of pictures and audio, which client and worker check before decoding. No I/O."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cloudburst.media.input_error import InvalidInputError

if TYPE_CHECKING:
    from PIL import Image


# Maximum length of the longer side of a picture, in pixels. Pillow needs 8 bytes of memory for
# each row, even if the row is short.
MAX_SIDE_PIXELS = 32_768
# Largest ratio of the longer side to the shorter side.
MAX_ASPECT_RATIO = 100
# Maximum memory for decoding one picture, in bytes. A Fargate task has 2 GB of memory for each
# scene that it renders at the same time, and a render process may take 700 MB in all.
MAX_DECODED_BYTES = 600_000_000

# Bytes that Pillow stores for each pixel of a picture, by Pillow's name of the pixel format
# (mode); all other modes take 4.
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
# Bytes of memory per pixel that Pillow needs to decode a WebP file: 8 for two canvases, 4 for a
# copy of one canvas, 4 for the picture, and 2 for the decoder.
_WEBP_BYTES = 18
# Bytes of memory per pixel that Pillow needs to decode a TIFF file, in addition to the picture:
# for a compressed strip with up to 16 bits per channel.
_TIFF_BYTES = 8
# Bytes of memory per sample for a JPEG file with several scans, whose coefficients the decoder
# keeps until the last scan.
_JPEG_COEFFICIENT_BYTES = 2

# Maximum number of audio channels: the 8 channels of 7.1 surround sound. A file with more channels
# does not define which channel belongs to which loudspeaker.
MAX_CHANNELS = 8
MIN_SAMPLE_RATE = 1_000
# Maximum sample rate in Hz. Resampling from a much higher rate takes gigabytes of memory.
MAX_SAMPLE_RATE = 384_000


def check_dimensions(width: int, height: int, max_pixels: int) -> None:
    """Raise `InvalidInputError` for a picture with too many pixels or too large an aspect ratio."""
    size = f"{width}×{height} pixels"
    if width * height > max_pixels:
        raise InvalidInputError(
            f"{size}, {width * height:,} in all", f"at most {max_pixels:,} pixels", "too_large"
        )
    if min(width, height) < 1:
        raise InvalidInputError(size, "a picture with at least one pixel")
    if max(width, height) > MAX_SIDE_PIXELS:
        raise InvalidInputError(size, f"sides of at most {MAX_SIDE_PIXELS:,} pixels", "too_large")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        expected = f"a longer side at most {MAX_ASPECT_RATIO} times the shorter one"
        raise InvalidInputError(size, expected, "out_of_range")


def check_picture(picture: Image.Image, max_pixels: int) -> None:
    """Raise `InvalidInputError` for an opened picture that breaks a rule. Nothing is decoded."""
    width, height = picture.size
    check_dimensions(width, height, max_pixels)
    words = f"{picture.format} ({picture.mode})"
    if picture.mode == "F":  # of which nothing says how bright 1.0 is
        raise InvalidInputError(f"{words}, pixels of floating-point numbers", "pixels of integers")
    _check_memory(width, height, decoded_bytes_per_pixel(picture), words)


def check_webp(head: bytes, max_pixels: int) -> None:
    """Raise `InvalidInputError` if a file, of this start, is a WebP that is too large."""
    # Opening a WebP with Pillow allocates memory for the whole picture.
    if size := webp_size(head):
        check_dimensions(*size, max_pixels)
        _check_memory(*size, _WEBP_BYTES, "WebP")


def _check_memory(width: int, height: int, bytes_per_pixel: float, words: str) -> None:
    needed = round(width * height * bytes_per_pixel)
    if needed > MAX_DECODED_BYTES:
        size = f"{width}×{height} pixels of {words}"
        found = f"{size}, which take {needed // 10**6:,} MB of memory to decode"
        fitting = int(MAX_DECODED_BYTES / bytes_per_pixel)
        raise InvalidInputError(found, f"at most {fitting:,} pixels of this kind", "too_large")


def decoded_bytes_per_pixel(picture: Image.Image) -> float:
    """Return the maximum bytes per pixel that Pillow needs to decode this picture."""
    stored = _STORED_BYTES.get(picture.mode, 4)
    match picture.format:
        case "WEBP":
            return _WEBP_BYTES
        case "TIFF":
            return stored + _TIFF_BYTES
        case "JPEG" | "MPO":
            return max(stored, _JPEG_COEFFICIENT_BYTES * _samples_per_pixel(picture))
        case "HEIF":
            return float(picture.info["decoded_bytes"]) / (picture.width * picture.height)
        case "BMP":
            return stored + 2  # the run-length decoder builds the picture as bytes and copies them
        case _:
            return stored


def _samples_per_pixel(picture: Image.Image) -> float:
    """Return the samples per pixel of a JPEG over all channels, for example 1.5 for 4:2:0."""
    layers: list[tuple[int, int, int, int]] = getattr(picture, "layer", [])
    if not layers:
        return len(picture.getbands())
    across = max(layer[1] for layer in layers)
    down = max(layer[2] for layer in layers)
    return sum(layer[1] * layer[2] for layer in layers) / max(1, across * down)


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height from the first bytes of a WebP file, ``None`` for any other file."""
    # Layout: developers.google.com/speed/webp/docs/riff_container (2026-11).
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    match head[12:16]:
        case b"VP8X":
            width, height = head[24:27], head[27:30]
            return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack("<2H", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


def check_audio_format(channels: int, rate: int) -> None:
    """Raise `InvalidInputError` for audio that cannot be converted to stereo at 48 kHz."""
    if not 1 <= channels <= MAX_CHANNELS:
        found = f"audio with {channels} channels"
        raise InvalidInputError(found, f"1 to {MAX_CHANNELS} channels", "out_of_range")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        found = f"audio with {rate:,} samples per second"
        expected = f"{MIN_SAMPLE_RATE:,} to {MAX_SAMPLE_RATE:,} samples per second"
        raise InvalidInputError(found, expected, "out_of_range")

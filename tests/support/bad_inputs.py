"""Scenes with inputs that cannot be rendered, and what is found in each."""

from __future__ import annotations

from support.sample_media import (
    PICTURES,
    SOUNDS,
    bomb,
    cut,
    png_header,
    written,
)
from support.video_probe import ffmpeg


def only_pictures(path):
    ffmpeg("-f", "lavfi", "-i", "color=size=64x64:duration=1", "-f", "mp4", path)


def rotten_png(path):
    """Well-formed chunks whose content is no picture: only decoding shows it."""
    path.write_bytes(png_header(640, 360, b"IDAT" + b"this was never deflated" * 50))


def five_hours(path):
    """Of silence, in some hundred kilobytes."""
    ffmpeg(
        *("-f", "lavfi", "-i", "anullsrc=r=1000:cl=mono", "-t", "18000"),
        *("-f", "flac", "-c:a", "flac", path),
    )


def flac_header(path):
    """Only the first block of metadata of a flac file, marked as the last one."""
    SOUNDS["flac"](path)
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes([data[4] | 0x80]) + data[5:42])


EARLY = {
    "empty picture": ("image", written(b""), "an empty file", "a picture"),
    "cut png": (
        "image",
        lambda p: cut(p, PICTURES["png"], 0.6),
        "broken|too early",
        "picture|whole",
    ),
    "cut jpg": ("image", lambda p: cut(p, PICTURES["jpg"], 0.6), "too early", "the whole file"),
    "cut webp": (
        "image",
        lambda p: cut(p, PICTURES["webp"], 0.6),
        "a WebP picture",
        "picture|whole",
    ),
    "text as picture": ("image", written(b"Dear harbour,\n"), "text", "a picture"),
    "sound as picture": ("image", SOUNDS["mp3-cbr"], "an mp3 file", "a picture"),
    "60000x60000": (
        "image",
        written(png_header(60_000, 60_000, b"IDAT")),
        "60000×60000 pixels",
        "at most 100,000,000 pixels",
    ),
    "bomb": ("image", bomb, "20000×20000 pixels", "at most 100,000,000 pixels"),
    "empty sound": ("audio", written(b""), "an empty file", "an audio file"),
    "picture as sound": ("audio", PICTURES["png"], "a PNG picture", "an audio file"),
    "text as sound": ("audio", written("海港".encode()), "text", "an audio file"),
    "five hours": ("audio", five_hours, "18000 seconds", "at most 14400 seconds"),
    "sound as subtitle": ("subtitle", SOUNDS["wav"], "a wav file", "subtitles|lines like"),
    "no cue": ("subtitle", written(b"Once upon a time"), "without any line of timing", "-->"),
    "empty subtitle": ("subtitle", written(b""), "an empty file", "subtitles"),
}
"""What the client sees before anything starts: field, file, what it finds and what it wants."""


LATE = {
    "rotten png": ("image", rotten_png, "broken data", "a picture"),
    "no sound in it": ("audio", only_pictures, "", "mp3, wav"),
    "cut to its header": ("audio", flac_header, "", "mp3, wav"),
    "cut m4a": ("audio", lambda p: cut(p, SOUNDS["m4a"], 0.5), "", "mp3, wav"),
}
"""What only decoding shows, so that the worker says it."""

"""Hostile pictures, sounds and subtitles, made when they are needed: none of them is in git.

A file of gigabytes is never held in memory: its compressed form is written as it is made.
"""

from __future__ import annotations

import io
import random
import struct
import wave
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from support.deflated import zeros
from support.substation import ass, dialogue
from support.video_probe import ffmpeg

Make = Callable[[Path], object]


class Case(NamedTuple):
    """A file, and what must become of a scene with it."""

    name: str
    field: Literal["image", "watermark", "audio", "subtitle"]
    make: Make
    ends: Literal["early", "late", "done", "either"]
    """``early``: the client refuses it, and so does the service; ``late``: only the service does;
    ``done``: it is rendered; ``either``: it is rendered or refused, as long as it costs little."""


# Pictures


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PALETTE = chunk(b"PLTE", bytes(range(48)))


def png(
    width: int, height: int, depth: int = 8, color: int = 2, *, extra: bytes = b"", adam7: int = 0
) -> Make:
    """A black PNG. ``color`` as in its header: 0 grey, 2 RGB, 3 palette, 4 grey-alpha, 6 RGBA."""

    def make(path: Path) -> None:
        row = 1 + (width * CHANNELS[color] * depth + 7) // 8
        header = struct.pack(">2I5B", width, height, depth, color, 0, 0, adam7)
        # Adam7 has up to 7 filter bytes for each 8 rows more.
        data = zeros(row * height + (height * 8 if adam7 else 0))
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + extra
            + chunk(b"IDAT", data)
            + chunk(b"IEND", b"")
        )

    return make


def png_claiming(width: int, height: int) -> Make:
    header = struct.pack(">2I5B", width & 0xFFFFFFFF, height & 0xFFFFFFFF, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zeros(1000)) + chunk(b"IEND", b"")
    return written(b"\x89PNG\r\n\x1a\n" + body)


def png_with_text_bomb(path: Path) -> None:
    text = b"Comment\0\0" + zeros(200_000_000)
    png(64, 36, extra=chunk(b"zTXt", text))(path)


def png_with_profile_bomb(path: Path) -> None:
    png(64, 36, extra=chunk(b"iCCP", b"icc\0\0" + zeros(200_000_000)))(path)


def png_of_a_million_chunks(path: Path) -> None:
    png(64, 36, extra=chunk(b"teSt", b"") * 300_000)(path)


def apng(path: Path) -> None:
    frames = [Image.new("RGB", (640, 360), (n, 0, 0)) for n in range(200)]
    frames[0].save(path, "PNG", save_all=True, append_images=frames[1:])


def gif(path: Path) -> None:
    frames = [Image.new("P", (640, 360), n) for n in range(250)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def gif_screen(width: int, height: int) -> Make:
    """A GIF that claims a screen of this size and has a frame of one pixel."""
    screen = b"GIF89a" + struct.pack("<2H3B", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;"
    return written(screen + frame)


def gif_frame_beyond_its_screen(path: Path) -> None:
    screen = b"GIF89a" + struct.pack("<2H3B", 1, 1, 0x80, 0, 0) + bytes(6)
    path.write_bytes(screen + b"," + struct.pack("<4HB", 60000, 60000, 5000, 5000, 0) + b"\x02;")


def webp(width: int, height: int) -> Make:
    """A lossless WebP of one colour, in some 30 bytes: no pixel of it takes a bit."""
    bits = count = 0

    def put(value: int, size: int) -> None:
        nonlocal bits, count
        bits |= value << count
        count += size

    put(width - 1, 14)
    put(height - 1, 14)
    put(0, 1 + 3 + 1 + 1 + 1)  # no alpha, version 0, no transform, no cache, one set of codes
    for symbol in (80, 40, 60, 255):
        put(0b101, 3)  # a simple code with one symbol of 8 bits
        put(symbol, 8)
    put(0b0001, 4)  # the same with a symbol of 1 bit: 0
    data = b"\x2f" + bits.to_bytes((count + 7) // 8 + 4, "little")
    data += b"\0" * (len(data) % 2)
    size = struct.pack("<I", len(data))
    return written(b"RIFF" + struct.pack("<I", len(data) + 12) + b"WEBPVP8L" + size + data)


def webp_canvas(width: int, height: int) -> Make:
    """An extended WebP that claims this canvas and has nothing in it."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return written(b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X\x0a\0\0\0" + bytes(4) + sides)


def saved(mode: str, width: int, height: int, color: object, kind: str, **how: object) -> Make:
    return lambda path: Image.new(mode, (width, height), color).save(path, kind, **how)


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", len(data) + 8) + kind + data


def numbers(*values: int, size: str = "H") -> bytes:
    return struct.pack(f">{len(values)}{size}", *values)


def heif(size: tuple[int, int], tile: tuple[int, int], *, items: int = 0) -> bytes:
    """A HEIC file that claims a grid of tiles, all of them in the first bytes of its data."""
    columns, rows = (-(-whole // part) for whole, part in zip(size, tile, strict=True))
    ids = range(2, 2 + max(items, columns * rows))
    entries = [box(b"infe", b"\2\0\0\0", numbers(at, 0), b"hvc1\0") for at in ids]
    entries.append(box(b"infe", b"\2\0\0\0", numbers(1, 0), b"grid\0"))
    places = b"".join(numbers(at, 0, 1) + numbers(0, 8, size="I") for at in ids)
    owned = b"".join(numbers(at) + b"\1\2" for at in ids) + numbers(1) + b"\1\1"
    sizes = [box(b"ispe", bytes(4), numbers(*each, size="I")) for each in (size, tile)]
    tables = (
        box(b"pitm", bytes(4), numbers(1)),
        box(b"iinf", bytes(4), numbers(len(entries)), *entries),
        box(b"iloc", bytes(4), b"\x44\0", numbers(len(ids)), places),
        box(b"iref", bytes(4), box(b"dimg", numbers(1, columns * rows, *ids[: columns * rows]))),
        box(
            b"iprp",
            box(b"ipco", *sizes),
            box(b"ipma", bytes(4), numbers(len(ids) + 1, size="I"), owned),
        ),
    )
    return (
        box(b"ftyp", b"heic\0\0\0\0mif1heic")
        + box(b"meta", bytes(4), *tables)
        + box(b"mdat", bytes(64))
    )


def heif_with_opacities(count: int, size: tuple[int, int], padding: int) -> bytes:
    """The header of a HEIC file of 64 x 64 whose opacities have another size, and padding."""
    ids = range(2, 2 + count)
    sizes = [box(b"ispe", bytes(4), numbers(*each, size="I")) for each in ((64, 64), size)]
    kind = box(b"auxC", bytes(4), b"urn:mpeg:hevc:2015:auxid:1", bytes(padding))
    colours = box(b"colr", b"prof", bytes(padding))
    owned = b"".join(numbers(at) + b"\3\2\3\4" for at in ids)
    tables = (
        box(b"pitm", bytes(4), numbers(1)),
        box(b"iref", bytes(4), *(box(b"auxl", numbers(at, 1, 1)) for at in ids)),
        box(
            b"iprp",
            box(b"ipco", *sizes, colours, kind),
            box(b"ipma", bytes(4), numbers(count + 1, size="I"), numbers(1), b"\1\1", owned),
        ),
    )
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(4), *tables)


def heif_file(size: tuple[int, int], tile: tuple[int, int], items: int = 0, cut: int = 0) -> Make:
    return lambda path: path.write_bytes(heif(size, tile, items=items)[: -cut or None])


def heif_in_boxes(depth: int) -> bytes:
    """A HEIC file whose properties are in boxes of boxes."""
    inner = b""
    for _ in range(depth):
        inner = box(b"ipco", inner)
    return box(b"ftyp", b"heic\0\0\0\0") + box(b"meta", bytes(4), box(b"iprp", inner))


def heif_claiming(size: int, kind: bytes = b"meta") -> bytes:
    """A HEIC file with a box of this size, of which little is there."""
    head = numbers(1, size="I") + kind + numbers(size, size="Q")
    return box(b"ftyp", b"heic\0\0\0\0mif1") + head + bytes(100)


def avif_bomb(path: Path) -> None:
    """One colour in a few kilobytes, as large as a picture without tiles may be."""
    Image.new("RGB", (8192, 4200), "teal").save(path, "AVIF", speed=10)


def ycck(path: Path) -> None:
    """A CMYK JPEG whose Adobe segment says YCCK."""
    out = io.BytesIO()
    Image.new("CMYK", (3000, 2000), (10, 200, 90, 30)).save(out, "JPEG")
    raw = bytearray(out.getvalue())
    raw[raw.index(b"Adobe") + 11] = 2
    path.write_bytes(raw)


def jpeg_of_many_scans(path: Path) -> None:
    """A progressive JPEG of 700 KB whose last scan comes 3,000 times: a minute or more of work."""
    out = io.BytesIO()
    Image.new("L", (9000, 9000), 200).save(out, "JPEG", progressive=True)
    raw = out.getvalue()
    scan = raw[raw.rindex(b"\xff\xda") : -2]
    path.write_bytes(raw[:-2] + scan * 3_000 + raw[-2:])


def exif_bomb(path: Path) -> None:
    """A good picture whose EXIF points into itself and claims 4 billion entries."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0" * 900
    Image.new("RGB", (320, 180), (90, 40, 30)).save(path, "JPEG", exif=exif)


def bmp_run_length(path: Path) -> None:
    """20 million pixels in runs of one: as slow as it gets."""
    data = (b"\x01\x00" * 10_000 + b"\x00\x00") * 2_000 + b"\x00\x01"
    head = struct.pack("<IiiHHIIiiII", 40, 10_000, 2_000, 1, 8, 1, len(data), 1, 1, 256, 0)
    offset = 14 + len(head) + 1024
    path.write_bytes(
        b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + bytes(1024) + data
    )


def bmp_claiming(width: int, height: int) -> Make:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
    return written(b"BM" + struct.pack("<IHHI", 54 + 90, 0, 0, 54) + head + bytes(90))


def tiff_with_a_huge_tile(path: Path) -> None:
    entries = (
        *((256, 4, 100), (257, 4, 100), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)),
        *((322, 4, 0x7FFFFFF0), (323, 4, 0x7FFFFFF0), (324, 4, 8), (325, 4, 100)),
    )
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(104))


def cut(mode: str, kind: str) -> Make:
    def make(path: Path) -> None:
        out = io.BytesIO()
        Image.effect_noise((640, 360), 80).convert(mode).save(out, kind)
        path.write_bytes(out.getvalue()[: len(out.getvalue()) // 2])

    return make


# Sounds


def silence(seconds: float, *options: str, rate: int = 8000) -> Make:
    source = f"anullsrc=r={rate}:cl=mono"
    return lambda path: ffmpeg(*("-f", "lavfi", "-i", source, "-t", str(seconds)), *options, path)


def flac_of_ten_hours(path: Path) -> None:
    """Silence in 300 KB, whose header leaves the number of samples out."""
    silence(36_000, "-f", "flac", "-frame_size", "65535")(path)
    raw = bytearray(path.read_bytes())
    raw[21] &= 0xF0  # 36 bits: the lower half of this byte and the next four
    raw[22:26] = bytes(4)
    path.write_bytes(raw)


def mp3_of_five_hours(path: Path) -> None:
    """An hour more than a scene may have; its Xing header claims a few frames."""
    silence(10, "-f", "mp3", "-b:a", "8k")(path)
    raw = path.read_bytes()
    frames = raw[raw.index(b"\xff", raw.find(b"Info") + 100) :]
    path.write_bytes(raw + frames * 1800)


def wav(
    *, channels: int = 1, rate: int = 8000, bits: int = 16, align: int | None = None, data: int = 0
) -> Make:
    """A wav with this header, and two seconds of silence or ``data`` bytes."""
    block = channels * bits // 8 if align is None else align
    size = data or min(2 * 8000 * max(1, channels * bits // 8), 4_000_000)
    fmt = struct.pack(
        "<HHIIHH", 1, channels, rate, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    head = (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", len(fmt))
        + fmt
        + b"data"
        + struct.pack("<I", size)
    )
    return lambda path: path.write_bytes(head + bytes(size))


def wav_that_claims_hours(path: Path) -> None:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(2 * 8000))
    raw = bytearray(path.read_bytes())
    raw[4:8] = raw[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(raw)


def many_streams(path: Path) -> None:
    streams = [part for _ in range(300) for part in ("-map", "0:a")]
    ffmpeg(
        *("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "1", *streams),
        *("-c:a", "pcm_s16le", "-f", "matroska", path),
    )


def mp3_behind_a_large_tag(path: Path) -> None:
    silence(2, "-f", "mp3", "-b:a", "8k", "-id3v2_version", "0")(path)
    size = 10 * 1024 * 1024
    digits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    frame = b"COMM" + struct.pack(">I", size - 10) + b"\0\0"
    path.write_bytes(b"ID3\x04\0\0" + digits + frame + bytes(size - 10) + path.read_bytes())


def with_video(codec: str, size: str, *, kind: str = "matroska", audio: str = "pcm_s16le") -> Make:
    """Sound beside a picture stream that a decoder need not look at."""
    return lambda path: ffmpeg(
        *("-f", "lavfi", "-i", f"color=s={size}:r=1:d=1"),
        *("-f", "lavfi", "-i", "sine=d=2", "-c:v", codec, "-c:a", audio, "-f", kind, path),
    )


def mka_of_channels(count: int) -> Make:
    """Channels that a reader of tags does not see."""

    def make(path: Path) -> None:
        inner = path.with_name("inner.wav")
        wav(channels=count)(inner)
        ffmpeg("-i", inner, "-c:a", "copy", "-f", "matroska", path)

    return make


def m4a_without_its_index(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=3", "-c:a", "aac", "-f", "ipod", path)
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex(b"moov") - 4])


def table(name: bytes, *numbers: int, rest: bytes = b"") -> bytes:
    return box(name, bytes(4) + struct.pack(f">{len(numbers)}I", *numbers) + rest)


def m4a_of_samples(count: int, *, codec: bytes = b"ulaw", size: int = 160, chunks: int = 1) -> Make:
    """An m4a of four seconds whose index claims so many samples, all of one size.

    The samples of each further chunk are those of the first one again.
    """
    sound = b"\xff" * 32_000  # silence, 8000 samples a second
    entry = bytes(6) + struct.pack(">H8x5H2x", 1, 1, 16, 0, 0, 8000)
    if codec == b"mp4a":  # the descriptor of AAC-LC in stereo at 44.1 kHz
        stream = b"\x04\x11\x40\x15" + bytes(11) + b"\x05\x02\x12\x10"
        entry += box(b"esds", bytes(4) + b"\x03\x16\0\1\0" + stream)
        sound = b"\x6e" * 1200  # no packet of it can be decoded
    samples = (
        table(b"stsd", 1, rest=box(codec, entry))
        + table(b"stts", 1, count, 160)
        + table(b"stsc", 1, 1, count // chunks, 1)
        + table(b"stsz", size, count)
        + table(b"stco", chunks, rest=struct.pack(">I", 24) * chunks)
    )
    media = (
        table(b"mdhd", 0, 0, 8000, 0, 0x55C40000)
        + table(b"hdlr", 0, rest=b"soun" + bytes(13))
        + box(b"minf", table(b"smhd", 0) + box(b"stbl", samples))
    )
    track = box(b"trak", box(b"tkhd", bytes(84)) + box(b"mdia", media))
    return written(box(b"ftyp", b"isom" + bytes(4)) + box(b"mdat", sound) + box(b"moov", track))


def ogg_that_changes_its_rate(path: Path) -> None:
    parts: list[bytes] = []
    for rate in ("8000", "48000", "16000"):
        ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-ar", rate, "-c:a", "libvorbis", "-f", "ogg", path)
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))


# Subtitles


def stamp(milliseconds: float) -> str:
    seconds, rest = divmod(round(milliseconds), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}"


def cue(text: str, start: float = 0, end: float = 4000) -> str:
    return f"{stamp(start)} --> {stamp(end)}\n{text}\n\n"


def written(data: bytes | str) -> Make:
    raw = data.encode() if isinstance(data, str) else data
    return lambda path: path.write_bytes(raw)


def signs(count: int, seed: int = 1) -> str:
    """Chinese signs that hardly ever repeat: each is drawn anew."""
    rng = random.Random(seed)
    return "".join(chr(rng.randint(0x4E00, 0x9FA5)) for _ in range(count))


def every_frame(path: Path) -> None:
    """As much new text as is allowed, as often as it can change."""
    texts = (cue(signs(160, n), n * 320, n * 320 + 319) for n in range(13))
    path.write_text("".join(texts) * 3)


def vtt(*blocks: str) -> Make:
    return written("WEBVTT\n\n" + "\n\n".join(blocks) + "\n")


def vtt_noise(path: Path) -> None:
    rng = random.Random(7)
    alphabet = "WEBVTT\n-->0123456789:.% <>&;{}\\line:align\u202e\u0000字"
    text = "".join(rng.choice(alphabet) for _ in range(200_000))
    path.write_text(f"WEBVTT\n\n00:00.000 --> 00:02.000 line:-99999999 align:\n<c.\n\n{text}")


def joined(parts: Callable[[], Iterable[str]]) -> Make:
    """Write parts that are made when they are needed, unlike those of `written`."""
    return lambda path: path.write_bytes("".join(parts()).encode())


PICTURES = [
    Case("png of 2^31 a side", "image", png_claiming(2**31 - 1, 2**31 - 1), "early"),
    Case("png of no size", "image", png_claiming(0, 0), "early"),
    Case("png of 1 x 100M, grey", "image", png(1, 100_000_000, 8, 0), "early"),
    Case("png of 1 x 100M, RGB", "image", png(1, 100_000_000), "early"),
    Case("png of 40000 x 500", "image", png(40_000, 500), "early"),
    Case("png of 20000 x 100", "image", png(20_000, 100), "early"),
    Case("webp of 16383 x 6000", "image", webp(16_383, 6_000), "early"),
    Case("webp of 16384 a side", "image", webp(16_384, 16_384), "early"),
    Case("webp of 16M a side", "image", webp_canvas(2**24, 2**24), "early"),
    Case("webp watermark of 16383 x 6000", "watermark", webp(16_383, 6_000), "early"),
    Case("png of 10000 a side, not there", "image", png_claiming(10_000, 10_000), "late"),
    Case("heic of 2^31 a side", "image", heif_file((2**31, 2**31), (2**31, 2**31)), "early"),
    Case("heic without properties", "image", heif_file((64, 64), (64, 64), cut=120), "early"),
    Case("heic of 12000 x 9000", "image", heif_file((12_000, 9_000), (512, 512)), "early"),
    Case("heic of 8192 x 6000, no tiles", "image", heif_file((8192, 6000), (8192, 6000)), "early"),
    Case("heic of 65025 tiles of nothing", "image", heif_file((8160, 8160), (32, 32)), "late"),
    Case("heic of 60000 items", "image", heif_file((64, 64), (64, 64), 60_000), "late"),
    Case("heic of boxes in boxes", "image", written(heif_in_boxes(10_000)), "early"),
    Case("heic with a header of 2^40", "image", written(heif_claiming(2**40)), "early"),
    Case("heic with a header of 2^64", "image", written(heif_claiming(2**64 - 1)), "early"),
    Case("heic with a box of no size", "image", written(heif_claiming(0)), "early"),
    Case("heic after a box of 2^49", "image", written(heif_claiming(2**49, b"free")), "early"),
    Case("avif of 8192 x 4200", "image", avif_bomb, "done"),
    Case("cut avif", "watermark", cut("RGB", "AVIF"), "early"),
    Case("gif screen of 65535 a side", "image", gif_screen(65_535, 65_535), "early"),
    Case("gif screen of 30000 x 3000", "image", gif_screen(30_000, 3_000), "either"),
    Case("gif frame beyond its screen", "image", gif_frame_beyond_its_screen, "either"),
    Case("gif of many frames", "image", gif, "done"),
    Case("apng of many frames", "image", apng, "done"),
    Case("text bomb in png", "image", png_with_text_bomb, "either"),
    Case("profile bomb in png", "image", png_with_profile_bomb, "either"),
    Case("png of 300,000 chunks", "image", png_of_a_million_chunks, "either"),
    Case("exif bomb", "image", exif_bomb, "done"),
    Case("ycck jpeg", "image", ycck, "done"),
    Case("bmp of 2^31", "image", bmp_claiming(2**31 - 1, 2**31 - 1), "early"),
    Case("bmp upside down", "image", bmp_claiming(4, -7), "either"),
    Case("tiff with a huge tile", "image", tiff_with_a_huge_tile, "either"),
    Case("cut png", "image", cut("RGB", "PNG"), "early"),
    Case("cut gif", "image", cut("L", "GIF"), "either"),
    Case("cut tiff", "image", cut("RGB", "TIFF"), "either"),
    Case("cut webp", "watermark", cut("RGB", "WEBP"), "early"),
    Case("tall watermark", "watermark", png(300, 29_000), "late"),
]
LARGE_PICTURES = [
    Case("webp of 7680 x 4320", "image", webp(7680, 4320), "done"),
    *(
        Case(f"png of 10000 a side, {name}", "image", png(10_000, 10_000, *how), "done")
        for name, how in {
            "grey": (8, 0),
            "grey of 16 bits": (16, 0),
            "black and white": (1, 0),
            "RGB": (8, 2),
            "RGB of 16 bits": (16, 2),
            "grey and alpha": (8, 4),
            "RGBA": (8, 6),
            "RGBA of 16 bits": (16, 6),
        }.items()
    ),
    Case("png of 10000 a side, palette", "image", png(10_000, 10_000, 8, 3, extra=PALETTE), "done"),
    Case("interlaced png of 10000 a side", "image", png(10_000, 10_000, 8, 6, adam7=1), "either"),
    Case("watermark of 10000 a side", "watermark", png(10_000, 10_000, 8, 6), "done"),
    Case("jpeg of 100 MP", "image", saved("RGB", 12_500, 8_000, "navy", "JPEG"), "done"),
    Case(
        "progressive jpeg of 100 MP",
        "image",
        saved("RGB", 12_500, 8_000, "navy", "JPEG", progressive=True, subsampling=0),
        "done",
    ),
    Case(
        "progressive cmyk jpeg of 100 MP",
        "image",
        saved("CMYK", 12_500, 8_000, (9, 9, 9, 9), "JPEG", progressive=True, subsampling=0),
        "early",
    ),
    Case("jpeg of many scans", "image", jpeg_of_many_scans, "late"),
    Case("bmp in runs of one pixel", "image", bmp_run_length, "either"),
    Case(
        "tiff of one strip",
        "image",
        saved("RGB", 9_000, 5_500, "teal", "TIFF", compression="tiff_deflate", strip_size=10**9),
        "done",
    ),
    Case("gif of 100 MP", "image", saved("P", 10_000, 10_000, 3, "GIF"), "done"),
]
SOUNDS = [
    Case("wav of 64 channels", "audio", wav(channels=64), "early"),
    Case("wav of 65535 channels", "audio", wav(channels=65_535), "early"),
    Case("wav of no channel", "audio", wav(channels=0), "late"),
    Case("wav of 9 channels", "audio", wav(channels=9), "early"),
    Case("wav of 8 channels", "audio", wav(channels=8), "done"),
    Case("wav of rate 1", "audio", wav(rate=1, data=8), "early"),
    Case("wav of rate 4e9", "audio", wav(rate=4_000_000_000, data=800_000), "early"),
    Case("wav of rate 0", "audio", wav(rate=0), "late"),
    Case("wav without alignment", "audio", wav(align=0), "either"),
    Case("wav of 4096 bits", "audio", wav(bits=4096), "either"),
    Case("wav that claims hours", "audio", wav_that_claims_hours, "done"),
    Case(
        "wav of nothing", "audio", written(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(16)), "early"
    ),
    Case("64 channels in matroska", "audio", mka_of_channels(64), "late"),
    Case("mp3 behind a tag of 10 MB", "audio", mp3_behind_a_large_tag, "either"),
    Case("a cover of 8000 x 4500", "audio", with_video("png", "8000x4500"), "done"),
    Case("h.264 of 4000 x 2000", "audio", with_video("libx264", "4000x2000"), "done"),
    Case(
        "a decoder that is not allowed", "audio", with_video("ffv1", "64x64", audio="tta"), "late"
    ),
    Case("m4a without its index", "audio", m4a_without_its_index, "either"),
    Case("m4a of 3 million samples", "audio", m4a_of_samples(3_000_000), "done"),
    Case("m4a of 40 million samples", "audio", m4a_of_samples(40_000_000), "late"),
    Case("ogg that changes its rate", "audio", ogg_that_changes_its_rate, "either"),
]
LONG_SOUNDS = [
    Case("mp3 of five hours that claims seconds", "audio", mp3_of_five_hours, "late"),
    Case("flac of ten hours of no known length", "audio", flac_of_ten_hours, "late"),
    Case(
        "m4a of 3 million broken packets",
        "audio",
        m4a_of_samples(3_000_000, codec=b"mp4a", size=1, chunks=3000),
        "late",
    ),
    Case("300 streams", "audio", many_streams, "either"),
]
SUBTITLES = [
    Case(
        "20,000 cues at once",
        "subtitle",
        joined(lambda: (cue("x") for _ in range(20_000))),
        "early",
    ),
    Case(
        "5,000 cues at once", "subtitle", joined(lambda: (cue("x") for _ in range(5_000))), "early"
    ),
    Case("51 cues at once", "subtitle", joined(lambda: (cue("x") for _ in range(51))), "early"),
    Case("a line of 100 KB", "subtitle", written(cue("word " * 20_000)), "early"),
    Case("200,000 <", "subtitle", written(cue("<" * 200_000)), "early"),
    Case("50,000 combining marks", "subtitle", written(cue("e" + "\u0301" * 50_000)), "early"),
    Case(
        "100,000 cues in a row",
        "subtitle",
        joined(lambda: (cue("x", n * 40, n * 40 + 39) for n in range(100_000))),
        "early",
    ),
    Case("9 MB of lines", "subtitle", joined(lambda: (cue("x"), "y\n" * 4_700_000)), "early"),
    Case("no text", "subtitle", written(bytes(range(128, 256)) * 40), "early"),
    Case("half a surrogate", "subtitle", written(b"\xff\xfe\x00\xd8" * 90), "early"),
    Case("null bytes", "subtitle", written(cue("a\0b")), "either"),
    Case("stamps of the far future", "subtitle", written(cue("x", 1e15, 2e15)), "early"),
    Case("an .ass file", "subtitle", written("[Script Info]\n\n[Events]\nDialogue: x\n"), "early"),
    Case(
        "override tags",
        "subtitle",
        written(
            cue("{\\an8\\pos(1,1)\\fs9999\\t(0,9,\\frz9999)\\p1}m 0 0 l 9999 9999{\\p0}\\N{\\r")
            + cue("{\\1a&HFF&}{{{\\an99}}}\\h\\N\\{x\\}", 900, 2000)
        ),
        "done",
    ),
    Case(
        "right to left",
        "subtitle",
        written(cue("\u202e\u2067שלום \u0645\u0631\u062d\u0628\u0627" * 40)),
        "early",
    ),
    Case(
        "1,000 syllables",
        "subtitle",
        written(ass(dialogue("{\\k1}字" * 1000, "0:00:00.00", "0:00:04.00"))),
        "done",
    ),
    Case("10,000 times in .lrc", "subtitle", written("[00:01]" * 20_000 + "x"), "early"),
    Case("noise as webvtt", "subtitle", vtt_noise, "either"),
    Case("webvtt", "subtitle", vtt("00:00.000 --> 99:59:59.999 line:50%\n&lt;&#0;&amp;"), "done"),
]
HEAVY_SUBTITLES = [
    Case("2,000 signs, none twice", "subtitle", written(cue(signs(2000))), "done"),
    Case(
        "50 cues of 40 signs in a row",
        "subtitle",
        joined(lambda: (cue(signs(40, n), n * 20, n * 20 + 19) for n in range(50))),
        "done",
    ),
    Case(  # a hundred lines, which do not fit into the picture
        "50 cues of 40 signs at once",
        "subtitle",
        joined(lambda: (cue(signs(40, n)) for n in range(50))),
        "late",
    ),
    Case("1,999 combining marks", "subtitle", written(cue("e" + "\u0301" * 1999)), "done"),
    Case("new signs all the time", "subtitle", every_frame, "done"),
    Case("emoji", "subtitle", written(cue("".join(map(chr, range(0x1F300, 0x1F900))))), "either"),
]
LIGHT = [*PICTURES, *SOUNDS, *SUBTITLES]
HEAVY = [*LARGE_PICTURES, *LONG_SOUNDS, *HEAVY_SUBTITLES]
"""Cases that take seconds to make, or to render."""

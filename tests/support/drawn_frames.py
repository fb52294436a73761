"""Pictures for the encoder, the frames that are drawn of them, and the frames that are decoded."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from cloudburst.models.video_format import DEFAULT_FPS, VideoFormat, VideoSize
from cloudburst.renderer.encoder import EncodedPicture, configure
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import GopSource
from cloudburst.renderer.planes import Layer, Planes, layer_from_mask
from cloudburst.renderer.subtitle_track import SubtitleState, SubtitleTrack
from support.video_probe import STRICT, ffmpeg

SMALL = VideoSize(144, 48)
"""Size of videos for tests that need many frames; whole macroblocks, so nothing is cropped."""


def photo(size: tuple[int, int], seed: int = 1) -> Image.Image:
    """Return a picture like a photograph: smooth areas, edges and some grain."""
    width, height = size
    rng = random.Random(seed)
    picture = Image.new("RGB", size, (90, 110, 140))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, radius = rng.randrange(width), rng.randrange(height), rng.randrange(4, height // 3)
        colour = tuple(rng.randrange(30, 225) for _ in range(3))
        draw.ellipse((x - radius, y - radius // 2, x + radius, y + radius // 2), fill=colour)
    picture = picture.filter(ImageFilter.GaussianBlur(max(1, height / 200)))
    return Image.blend(picture, noise(size), 0.07)


def noise(size: tuple[int, int], seed: int = 2) -> Image.Image:
    """Return a picture that cannot be predicted: every pixel is random."""
    data = random.Random(seed).randbytes(size[0] * size[1] * 3)
    return Image.frombytes("RGB", size, data)


def dark_gradient(size: tuple[int, int]) -> Image.Image:
    """Return a picture in which encoders show bands: a slow gradient of dark colours."""
    ramp = Image.linear_gradient("L").resize(size).point([value // 5 for value in range(256)])
    return Image.merge("RGB", (ramp, ramp.transpose(Image.Transpose.ROTATE_180), ramp))


def line_art(size: tuple[int, int]) -> Image.Image:
    """Return thin black lines and text on white."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    width, height = size
    for x in range(0, width, max(4, width // 40)):
        draw.line((x, 0, width - x, height), fill="black")
        draw.text((x, x * height // width), f"{x}", fill="navy")
    return picture


def see_through(size: tuple[int, int]) -> Image.Image:
    """Return a picture whose right part is transparent to a growing degree."""
    picture = photo(size, 5)
    picture.putalpha(ImageChops.invert(Image.linear_gradient("L").rotate(90)).resize(size))
    return picture


class BlockPainter:
    """Painter of subtitle states as blocks, each with its own place, stripes and brightness.

    It takes the place of a `SubtitlePainter`, and records what it is asked for.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self.painted: list[tuple[int, ...]] = []
        self.placed: list[tuple[int, ...]] = []

    def place(self, shown: Sequence[int]) -> None:
        self.placed.append(tuple(shown))

    def paint(
        self, shown: Sequence[int], words: Sequence[int] = (), scales: Sequence[float] = ()
    ) -> list[Layer]:
        self.painted.append(tuple(shown))
        return [self.block(index) for index in shown]

    def block(self, index: int) -> Layer:
        width, height = self._size
        rng = random.Random(index)
        mask = Image.new("L", (width // 2 & ~1, height // 2 & ~1))
        draw = ImageDraw.Draw(mask)
        step = max(6, height // 24)
        for x in range(6, mask.width - 10, step):
            top = rng.randrange(6, mask.height // 2)
            draw.rectangle((x, top, x + step // 2, mask.height - 8), fill=255)
        x, y = rng.randrange(0, width // 4) * 2, rng.randrange(0, height // 4) * 2
        layer = layer_from_mask(mask, x, y, (235 if index % 2 else 190, 128, 128))
        assert layer is not None
        return layer


def block_track(lengths: Iterable[int], size: tuple[int, int]) -> tuple[SubtitleTrack, list[int]]:
    """Return a track of states of these lengths in frames, and the state of each frame.

    Every fifth state is empty.
    """
    states: list[SubtitleState] = []
    of_frame: list[int] = []
    for number, length in enumerate(lengths):
        shown = () if number % 5 == 4 else (number,)
        states.append(SubtitleState(len(of_frame), shown))
        of_frame += [number] * length
    return SubtitleTrack(states, BlockPainter(size)), of_frame


def drawn_luma(planes: Planes, layers: Sequence[Layer]) -> Image.Image:
    """Return the luma plane of a picture with layers, drawn on a new frame."""
    frame = Frame(planes.width, planes.height)
    frame.fill(planes)
    for layer in layers:
        frame.blend(layer)
    return luma(frame.video)


def luma(frame: av.VideoFrame) -> Image.Image:
    """Return the luma plane of a frame."""
    plane = frame.planes[0]
    size = plane.width, plane.height
    return Image.frombuffer("L", size, bytes(plane), "raw", "L", plane.line_size, 1)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two grey pictures, in dB; 99 if they are equal."""
    counts = ImageChops.difference(one, other).histogram()
    squares = sum(count * value * value for value, count in enumerate(counts))
    size = one.width * one.height
    return 10 * math.log10(255 * 255 * size / squares) if squares else 99.0


def header(
    size: VideoSize, quantizer: int = 20, *, still: bool = False, fps: int = DEFAULT_FPS
) -> bytes:
    """Return the parameter sets that libx264 makes, with start codes."""
    context = av.CodecContext.create("libx264", "w")
    configure(context, VideoFormat(size, fps), quantizer, still=still)
    context.flags |= 1 << 22
    context.open()
    return bytes(context.extradata)


def encode_all(source: GopSource, frames: int, quantizer: int = 20) -> list[list[EncodedPicture]]:
    """Return the pictures of all GOPs of a video, GOP by GOP."""
    return [source.encode(gop, quantizer, lambda _frames: None) for gop in source.gops(frames)]


def decoded_luma(
    gops: Iterable[Sequence[EncodedPicture]], size: VideoSize
) -> Iterator[Image.Image]:
    """Yield the luma plane of each frame, in the order of display, decoded with all checks."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoder.options = STRICT
    decoder.extradata = header(size)
    first = 0
    for pictures in gops:
        for picture in pictures:
            packet = av.Packet(picture.data)
            packet.pts = first + picture.position
            yield from map(luma, decoder.decode(packet))
        first += len(pictures)
    yield from map(luma, decoder.decode(None))


def strict_decode(path: Path, *options: str, outputs: Sequence[str] = ()) -> bytes:
    """Decode a file with all checks of the ffmpeg program, which must not print anything.

    Starting the program takes 0.1 s of CPU time, so tests of many files call `video_probe.probe`.
    Return what the program writes for the ``outputs``, if any.
    """
    checks = ("-xerror", "-err_detect", "explode+crccheck+bitstream+buffer")
    done = ffmpeg("-v", "warning", *checks, *options, "-i", path, *outputs, "-f", "null", "-")
    assert not done.stderr, done.stderr.decode()
    return done.stdout


def strict_decode_stream(
    gops: Iterable[Sequence[EncodedPicture]], size: VideoSize, path: Path
) -> None:
    """Write pictures as a plain H.264 stream and decode it with all checks."""
    data = b"".join(picture.data for pictures in gops for picture in pictures)
    path.write_bytes(header(size) + data)
    strict_decode(path, "-f", "h264")

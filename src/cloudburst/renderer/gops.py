"""Groups of pictures (GOPs) of a video, what can encode them, and the cover of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from cloudburst.renderer.encoder import EncodedPicture
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.job import COVER_FILE, RenderedFile
from cloudburst.renderer.planes import to_picture

# Function that is called with the number of frames of a GOP that are done.
Progress: TypeAlias = Callable[[int], None]

# Quality of covers and other pictures as JPEG files, from 1 to 95, as Pillow counts it.
JPEG_QUALITY = 90


class Gop(NamedTuple):
    """Group of pictures: frames that are encoded without reference to other frames."""

    number: int
    first: int
    """Number of its first frame, from 0."""
    frames: int


class GopSource(Protocol):
    """Content of a video, which can be encoded GOP by GOP, in any order."""

    def gops(self, frames: int) -> list[Gop]:
        """Return the GOPs of the video, which has this number of frames."""
        ...

    def choose_quantizer(self) -> int:
        """Return the quantizer for the video."""
        ...

    def draw(self, frame: int, *, subtitles: bool = True) -> Frame:
        """Draw a frame as it is encoded; the result is valid until the next call of a method."""
        ...

    def encode(self, gop: Gop, quantizer: int, progress: Progress) -> list[EncodedPicture]:
        """Return the pictures of a GOP in decoding order; the result depends on nothing else."""
        ...


def divide(frames: int, gop_frames: int) -> list[Gop]:
    """Return the GOPs of a video; the last one may be shorter than ``gop_frames``."""
    return divide_parts([frames], [gop_frames])


def divide_parts(parts: Sequence[int], gop_frames: Sequence[int]) -> list[Gop]:
    """Return the GOPs of a video of several parts, each with its own length of GOPs."""
    gops: list[Gop] = []
    first = 0
    for frames, length in zip(parts, gop_frames, strict=True):
        end = first + frames
        for start in range(first, end, length):
            gops.append(Gop(len(gops), start, min(length, end - start)))
        first = end
    return gops


def split(gops: Sequence[Gop], at: Iterable[int]) -> list[Gop]:
    """Return the GOPs of a video, of which further ones begin at some of its frames."""
    end = gops[-1].first + gops[-1].frames
    starts = sorted({gop.first for gop in gops}.union(frame for frame in at if 0 < frame < end))
    return [
        Gop(number, first, after - first)
        for number, (first, after) in enumerate(pairwise([*starts, end]))
    ]


def write_cover(folder: Path, source: GopSource, frames: int) -> RenderedFile:
    """Write the cover of a video into a job's folder: its middle frame, without subtitles."""
    # The first frame may be black, and with a zoom it shows the whole picture or its smallest
    # part. Subtitles would be a part of a sentence.
    path = folder / COVER_FILE
    to_picture(source.draw(frames // 2, subtitles=False).read()).save(
        path, "JPEG", quality=JPEG_QUALITY
    )
    return RenderedFile.measure(path)

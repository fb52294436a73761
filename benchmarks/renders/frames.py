"""Reference frames for scores of videos: ideal frames, and the text that a renderer draws on them.

Frames are raw YUV 4:2:0 of 8 bits in limited range, so that a video is compared as it is decoded.
A conversion of the decoded video to RGB would round its values and hide small differences.

An ideal frame is the exact part of the RGB picture, enlarged by Pillow with a Lanczos kernel and
converted once. Its geometry is defined here and not imported, so that errors of the renderer are
found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from renders.inputs import HEIGHT, SIZE, WIDTH

Matrix: TypeAlias = Literal["bt709", "bt601"]
Frame: TypeAlias = NDArray[np.uint8]
"""Frame of one and a half times `HEIGHT` rows: Y, and below it the smaller U and V."""

ZOOM_DEPTH = 0.1
"""Additional magnification of the last frame of a zoom."""
TEXT_TOP = 800
"""First row of the area in which subtitles are at 1920x1080."""

_LUMA: dict[Matrix, tuple[float, float]] = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}
"""Weights of red and blue in luma (ITU-R BT.709-6 and BT.601-7); green has the rest."""


class Window(NamedTuple):
    """Part of the picture that a frame shows: top left corner in pixels, and magnification."""

    left: float
    top: float
    zoom: float


WHOLE = Window(0, 0, 1)


class IdealSettings(NamedTuple):
    """Settings of a program that its ideal frames must share for a fair comparison."""

    matrix: Matrix = "bt601"
    """Matrix that converts colours. Ffmpeg uses BT.601 by default."""
    centre_offset: float = 0.0
    """Pixels by which the centre of a zoom is right of and below the centre of the picture."""


BT601, BT709 = IdealSettings(), IdealSettings("bt709")


def zoom_windows(frames: int, centre_offset: float = 0.0) -> Iterator[Window]:
    """Yield the windows of a zoom; see `IdealSettings.centre_offset`."""
    for frame in range(frames):
        zoom = 1 + ZOOM_DEPTH * (frame / (frames - 1) if frames > 1 else 0.0)
        hidden = 1 - 1 / zoom  # part of the width and height that the window does not show
        x, y = WIDTH / 2 + centre_offset, HEIGHT / 2 + centre_offset
        yield Window(x * hidden, y * hidden, zoom)


def ideal_frame(picture: Image.Image, window: Window, matrix: Matrix) -> Frame:
    """Return the frame that shows exactly this part of the picture."""
    left, top, zoom = window
    if window != WHOLE:
        box = (left, top, min(left + WIDTH / zoom, WIDTH), min(top + HEIGHT / zoom, HEIGHT))
        picture = picture.resize(SIZE, Image.Resampling.LANCZOS, box=box)
    y, u, v = (np.asarray(band) for band in picture.convert("RGB", _conversion(matrix)).split())
    chroma = np.concatenate([_halved(u).reshape(-1), _halved(v).reshape(-1)])
    return np.concatenate([y, chroma.reshape(-1, WIDTH)])


def _conversion(matrix: Matrix) -> tuple[float, ...]:
    """Return the matrix from R'G'B' to Y'CbCr in limited range."""
    red, blue = _LUMA[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    rows = ((luma * 219 / 255, 16), (cb * 224 / 255, 128), (cr * 224 / 255, 128))
    return tuple(float(value) for row, offset in rows for value in (*row, offset))


def _halved(plane: Frame) -> Frame:
    """Return a colour plane at half size.

    A sample is at the horizontal position of the left one of two samples, as in H.264.
    """
    wide = np.pad(plane, ((0, 0), (1, 0)), "edge").astype(np.uint16)
    rows = wide[0::2] + wide[1::2]
    total = rows[:, 0:-1:2] + 2 * rows[:, 1::2] + rows[:, 2::2]
    halved: Frame = ((total + 4) // 8).astype(np.uint8)
    return halved


class IdealClip:
    """Ideal frames of one clip. The frames of a zoom are stored in a file, as they take longer."""

    def __init__(
        self,
        picture: Image.Image,
        frames: int,
        settings: IdealSettings,
        *,
        zoom: bool,
        file: Path,
    ) -> None:
        self.frames = frames
        self._still = None if zoom else ideal_frame(picture, WHOLE, settings.matrix)
        self._file = file
        if zoom:
            with file.open("wb") as out:
                for window in zoom_windows(frames, settings.centre_offset):
                    out.write(ideal_frame(picture, window, settings.matrix).tobytes())

    def __iter__(self) -> Iterator[Frame]:
        if self._still is not None:
            return repeat(self._still, self.frames)
        shape = (self.frames, HEIGHT * 3 // 2, WIDTH)
        return iter(np.memmap(self._file, np.uint8, "r", shape=shape))


def decoded(video: Path) -> Iterator[Frame]:
    """Yield the decoded frames of a video."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if frame.format.name not in ("yuv420p", "yuvj420p"):
                sys.exit(f"{video}: frames are {frame.format.name}, not yuv420p")
            yield cast("Frame", frame.to_ndarray())


def is_lossless(video: Path) -> bool:
    """Return whether a video has the only profile of H.264 in which libx264 is lossless."""
    with av.open(str(video)) as container:
        return container.streams.video[0].codec_context.profile == "High 4:4:4 Predictive"


def count_frames(video: Path) -> int:
    """Return the number of frames in the file of a video."""
    with av.open(str(video)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def with_text(ideal: Iterable[Frame], subtitled: Path, plain: Path) -> Iterator[Frame]:
    """Yield ideal frames with the text that a renderer draws.

    The two files are its lossless videos with and without subtitles. Where their frames are equal,
    there is no text, and the ideal frame is used.
    """
    for frame, drawn, without in zip(ideal, decoded(subtitled), decoded(plain), strict=False):
        text = drawn != without
        if text[:TEXT_TOP].any():
            sys.exit(f"{subtitled}: text above row {TEXT_TOP}, where it is not compared")
        yield np.where(text, drawn, frame)

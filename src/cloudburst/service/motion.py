"""The movement of the camera over a picture, without a jump: frames from sub-pixel windows.

ffmpeg's zoompan moves in whole pixels, which shakes; here a frame is one `cv2.resize` a plane, on
OpenCV's fast path. That path scales by an exact factor but begins at a whole pixel, so for each
frame a beginning is looked for whose enlarged picture lies within `_NEAR` of a whole pixel too.
Where the factor is near 1, or there is none, the frame is taken from a picture twice as large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray
from PIL import Image, ImageChops

from cloudburst.models.options import Effect
from cloudburst.service.media import MARK_AT, Planes, halved, planes

Plane = NDArray[np.uint8]
Wide = NDArray[np.uint16]

ZOOM = 0.1
PAN = 0.9007
"""Zooms end at 1.1; a pan shows a window of 90 %, and a pixel more: enlarged by exactly 10/9, only
every ninth place would lie `_NEAR` a whole pixel."""

_NEAR = 0.015
"""Pixels by which a frame may lie beside its true place: nobody sees a fiftieth."""
_SLOW = 1.02
"""Below, a picture moves so little from frame to frame that even `_NEAR` shows in the steps."""
_PAD = 256
"""Pixels around a plane, so that a beginning may lie outside of it."""
_TAPS = 3
"""Pixels that the cubic kernel reaches beyond a window, rounded up."""

_BLACK = (16, 128, 128)
"""Black in limited range."""

cv2.setNumThreads(1)  # scenes run side by side; threads inside of a frame cost more than they give


class Window(NamedTuple):
    """What a frame shows: from (left, top), in pixels of the picture, a zoom-th of its size."""

    left: float
    top: float
    zoom: float


def windows(effect: Effect, width: int, height: int, frames: int) -> Iterator[Window]:
    """One window a frame, moving linearly from the first frame to the last."""
    for frame in range(frames):
        part = frame / (frames - 1) if frames > 1 else 0.0
        match effect:
            case Effect.ZOOM_IN:
                zoom, across = 1 + ZOOM * part, 0.5
            case Effect.ZOOM_OUT:
                zoom, across = 1 + ZOOM * (1 - part), 0.5
            case Effect.PAN_LEFT:
                zoom, across = 1 / PAN, 1 - part
            case Effect.PAN_RIGHT:
                zoom, across = 1 / PAN, part
            case Effect.RANDOM:
                msg = "a random effect is drawn before it is rendered"
                raise ValueError(msg)
        room = 1 - 1 / zoom
        yield Window(width * room * across, height * room / 2, zoom)


class Start(NamedTuple):
    """Where to enlarge from along one axis of a plane, so that only whole pixels are cut off."""

    source: int
    """Pixel of the plane; negative in the padding."""
    offset: int
    """Pixel of the enlarged part at which the frame begins."""


def start(edge: float, zoom: float) -> Start | None:
    """The beginning nearest to a window's edge that is `_NEAR` enough, or none."""
    if zoom < _SLOW:
        return None
    sources = np.arange(math.floor(edge) - _TAPS, -_PAD - 1, -1)
    offsets = zoom * (edge - sources)
    good = np.flatnonzero(np.abs(offsets - np.rint(offsets)) <= _NEAR)
    if not good.size:
        return None
    return Start(int(sources[good[0]]), round(float(offsets[good[0]])))


class _Layer:
    """One plane of the picture, and the same plane of every frame."""

    def __init__(self, plane: Plane, *, step: int, siting: float) -> None:
        self._plane = plane
        self._padded = cv2.copyMakeBorder(plane, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)
        self._step = step
        self._siting = siting

    def draw(self, window: Window, frame: Plane) -> None:
        zoom = window.zoom
        # Chroma lies a quarter sample left of the middle: there too when the rest is enlarged.
        left = window.left / self._step + self._siting * (1 - 1 / zoom)
        top = window.top / self._step
        if window == (0, 0, 1):
            np.copyto(frame, self._plane)
            return
        x, y = start(left, zoom), start(top, zoom)
        if x is None or y is None:
            self._warp(left, top, zoom, frame)
            return
        height, width = frame.shape
        columns = math.ceil((x.offset + width) / zoom) + _TAPS
        rows = math.ceil((y.offset + height) / zoom) + _TAPS
        part = self._padded[y.source + _PAD :, x.source + _PAD :][:rows, :columns]
        # Only without a size does OpenCV take the factors as they are.
        large = cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        np.copyto(frame, large[y.offset : y.offset + height, x.offset : x.offset + width])

    @cached_property
    def _double(self) -> MatLike:
        return cv2.resize(self._plane, None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4)

    def _warp(self, left: float, top: float, zoom: float, frame: Plane) -> None:
        # Windows count from the corner of a pixel, OpenCV from its middle.
        matrix = np.array(
            [
                [2 / zoom, 0, 2 * (left + 0.5 / zoom) - 0.5],
                [0, 2 / zoom, 2 * (top + 0.5 / zoom) - 0.5],
            ]
        )
        cv2.warpAffine(
            self._double,
            matrix,
            frame.shape[::-1],
            dst=frame,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


class Frame:
    """The memory of one frame, as bytes for the pipe and as planes to draw on."""

    def __init__(self, width: int, height: int) -> None:
        self.data = np.empty(width * height * 3 // 2, np.uint8)
        luma, quarter = width * height, width * height // 4
        self.planes = (
            self.data[:luma].reshape(height, width),
            self.data[luma : luma + quarter].reshape(height // 2, width // 2),
            self.data[luma + quarter :].reshape(height // 2, width // 2),
        )


class Stamp:
    """A watermark in YUV, ready to be laid on frames: new = (old * keep + add) / 256."""

    def __init__(self, picture: Image.Image) -> None:
        width, height = picture.size
        even = Image.new("RGBA", (width + width % 2, height + height % 2))
        even.paste(picture)
        black = Image.alpha_composite(Image.new("RGBA", even.size, "black"), even)
        clear = ImageChops.invert(even.getchannel("A"))
        keeps = (clear, halved(clear), halved(clear))
        self._layers: list[tuple[Wide, Wide]] = []
        for plane, keep, nothing in zip(
            _arrays(planes(black.convert("RGB"))), keeps, _BLACK, strict=True
        ):
            part = np.asarray(keep, np.float32) / 255
            add = np.maximum((plane - nothing * part) * 256 + 128, 0)
            self._layers.append(
                (np.rint(add).astype(np.uint16), np.rint(part * 256).astype(np.uint16))
            )

    def draw(self, frame: Frame) -> None:
        """Lay it on, in the top left corner."""
        for index, (plane, (add, keep)) in enumerate(zip(frame.planes, self._layers, strict=True)):
            at = MARK_AT if index == 0 else MARK_AT // 2
            height, width = add.shape
            old = plane[at : at + height, at : at + width]
            old[:] = (old * keep + add) >> 8


class Camera:
    """Draws the frames of a scene, one after the other, into memory of its own."""

    def __init__(self, picture: Planes, stamp: Stamp | None = None) -> None:
        luma, *chroma = _arrays(picture)
        self._frame = Frame(picture.width, picture.height)
        self._layers = [
            _Layer(luma, step=1, siting=0),
            *(_Layer(plane, step=2, siting=0.25) for plane in chroma),
        ]
        self._stamp = stamp

    def frame(self, window: Window) -> Frame:
        """What the window shows; overwritten by the next call."""
        for layer, plane in zip(self._layers, self._frame.planes, strict=True):
            layer.draw(window, plane)
        if self._stamp is not None:
            self._stamp.draw(self._frame)
        return self._frame


def _arrays(picture: Planes) -> tuple[Plane, Plane, Plane]:
    def plane(data: bytes, step: int) -> Plane:
        shape = (picture.height // step, picture.width // step)
        return np.frombuffer(data, np.uint8).reshape(shape)

    return plane(picture.y, 1), plane(picture.u, 2), plane(picture.v, 2)

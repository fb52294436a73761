"""Camera movement over a still picture, with frames at sub-pixel positions.

ffmpeg's zoompan filter moves the visible window in whole pixels, so the picture shakes. Here each
plane of a frame is drawn by one call of ``cv2.resize``, which is fast and scales by an exact
factor, but only starts at whole pixels. Therefore the scaled part starts somewhat before the
window, at a pixel for which the window begins within `_MAX_SHIFT` of a whole pixel after scaling.
If the factor is near 1, or no pixel is suitable, the frame is interpolated from a copy of the
picture at twice the size.
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

from cloudburst.models.camera_effects import Effect
from cloudburst.renderer.media import WATERMARK_MARGIN
from cloudburst.renderer.planes import Planes, halve_plane, to_planes

Plane = NDArray[np.uint8]
Wide = NDArray[np.uint16]

ZOOM_DEPTH = 0.1
"""Additional magnification at the closest point of a zoom, where the window has 1/1.1 of the
picture's size."""
PAN_SCALE = 0.9007
"""Size of a pan's window relative to that of the picture: 90 % plus about one pixel. At exactly
90 %, only every ninth position would be within `_MAX_SHIFT` of a whole pixel after scaling."""

_MAX_SHIFT = 0.015
"""Maximum distance of a frame from its exact position, in pixels. A shift of 1/50 pixel is not
visible."""
_MIN_RESIZE_ZOOM = 1.02
"""Smallest magnification for which ``cv2.resize`` draws a frame. Below it, the picture moves so
little per frame that even `_MAX_SHIFT` is visible as steps."""
_PADDING = 256
"""Pixels that are added around a plane, so that the starting pixel may be outside the plane."""
_KERNEL_REACH = 3
"""Number of pixels that the cubic kernel reads beyond each edge of a window, rounded up."""

_BLACK = (16, 128, 128)
"""Y, U and V of black, in limited range."""

cv2.setNumThreads(
    1
)  # scenes render in parallel; threads within a frame cost more time than they save


class Window(NamedTuple):
    """Part of the picture that a frame shows.

    The top left corner is (left, top), in pixels of the picture; the size is 1/zoom of the picture.
    """

    left: float
    top: float
    zoom: float


def camera_windows(effect: Effect, width: int, height: int, frames: int) -> Iterator[Window]:
    """Yield the window of each frame; windows move linearly from the first frame to the last."""
    for frame in range(frames):
        part = frame / (frames - 1) if frames > 1 else 0.0
        match effect:
            case Effect.ZOOM_IN:
                zoom, across = 1 + ZOOM_DEPTH * part, 0.5
            case Effect.ZOOM_OUT:
                zoom, across = 1 + ZOOM_DEPTH * (1 - part), 0.5
            case Effect.PAN_LEFT:
                zoom, across = 1 / PAN_SCALE, 1 - part
            case Effect.PAN_RIGHT:
                zoom, across = 1 / PAN_SCALE, part
            case Effect.RANDOM:
                msg = "effect: random; expected the effect that was chosen for the scene"
                raise ValueError(msg)
        room = 1 - 1 / zoom
        yield Window(width * room * across, height * room / 2, zoom)


class CropStart(NamedTuple):
    """Whole pixels at which a frame starts along one axis, before and after scaling."""

    source: int
    """Pixel of the plane at which the part to be scaled starts; negative in the padding."""
    offset: int
    """Pixel of the scaled part at which the frame starts."""


def crop_start(edge: float, zoom: float) -> CropStart | None:
    """Return the best start of a frame along one axis, or ``None`` if no start is exact enough.

    The start is the nearest pixel, at least `_KERNEL_REACH` before the window's ``edge``, whose
    distance from the edge after scaling is within `_MAX_SHIFT` of a whole number of pixels.
    """
    if zoom < _MIN_RESIZE_ZOOM:
        return None
    sources = np.arange(math.floor(edge) - _KERNEL_REACH, -_PADDING - 1, -1)
    offsets = zoom * (edge - sources)
    good = np.flatnonzero(np.abs(offsets - np.rint(offsets)) <= _MAX_SHIFT)
    if not good.size:
        return None
    return CropStart(int(sources[good[0]]), round(float(offsets[good[0]])))


class _Layer:
    """Renderer of one plane (Y, U or V), which draws this plane of every frame."""

    def __init__(self, plane: Plane, *, step: int, siting: float) -> None:
        self._plane = plane
        self._padded = cv2.copyMakeBorder(
            plane, _PADDING, _PADDING, _PADDING, _PADDING, cv2.BORDER_REPLICATE
        )
        self._step = step
        self._siting = siting

    def draw(self, window: Window, frame: Plane) -> None:
        zoom = window.zoom
        # Chroma samples are sited a quarter sample to the left; scaling must keep this siting.
        left = window.left / self._step + self._siting * (1 - 1 / zoom)
        top = window.top / self._step
        if window == (0, 0, 1):
            np.copyto(frame, self._plane)
            return
        x, y = crop_start(left, zoom), crop_start(top, zoom)
        if x is None or y is None:
            self._warp(left, top, zoom, frame)
            return
        height, width = frame.shape
        columns = math.ceil((x.offset + width) / zoom) + _KERNEL_REACH
        rows = math.ceil((y.offset + height) / zoom) + _KERNEL_REACH
        part = self._padded[y.source + _PADDING :, x.source + _PADDING :][:rows, :columns]
        # OpenCV uses the exact factors only if no size is given.
        large = cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        np.copyto(frame, large[y.offset : y.offset + height, x.offset : x.offset + width])

    @cached_property
    def _double(self) -> MatLike:
        return cv2.resize(self._plane, None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4)

    def _warp(self, left: float, top: float, zoom: float, frame: Plane) -> None:
        # Window coordinates refer to the corner of a pixel, OpenCV's to its centre.
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
    """Memory of one frame, accessible as bytes for ffmpeg's pipe and as planes to draw on."""

    def __init__(self, width: int, height: int) -> None:
        self.data = np.empty(width * height * 3 // 2, np.uint8)
        luma, quarter = width * height, width * height // 4
        self.planes = (
            self.data[:luma].reshape(height, width),
            self.data[luma : luma + quarter].reshape(height // 2, width // 2),
            self.data[luma + quarter :].reshape(height // 2, width // 2),
        )


class WatermarkOverlay:
    """Watermark in YUV, prepared for blending: new = (old * keep + add) / 256."""

    def __init__(self, picture: Image.Image) -> None:
        width, height = picture.size
        even = Image.new("RGBA", (width + width % 2, height + height % 2))
        even.paste(picture)
        black = Image.alpha_composite(Image.new("RGBA", even.size, "black"), even)
        clear = ImageChops.invert(even.getchannel("A"))
        keeps = (clear, halve_plane(clear), halve_plane(clear))
        self._layers: list[tuple[Wide, Wide]] = []
        for plane, keep, level in zip(
            _arrays(to_planes(black.convert("RGB"))), keeps, _BLACK, strict=True
        ):
            part = np.asarray(keep, np.float32) / 255
            add = np.maximum((plane - level * part) * 256 + 128, 0)
            self._layers.append(
                (np.rint(add).astype(np.uint16), np.rint(part * 256).astype(np.uint16))
            )

    def draw(self, frame: Frame) -> None:
        """Blend the watermark into the top left corner of a frame."""
        for index, (plane, (add, keep)) in enumerate(zip(frame.planes, self._layers, strict=True)):
            at = WATERMARK_MARGIN if index == 0 else WATERMARK_MARGIN // 2
            height, width = add.shape
            old = plane[at : at + height, at : at + width]
            old[:] = (old * keep + add) >> 8


class Camera:
    """Renderer of a scene's frames, one after another, into one buffer."""

    def __init__(self, picture: Planes, stamp: WatermarkOverlay | None = None) -> None:
        luma, *chroma = _arrays(picture)
        self._frame = Frame(picture.width, picture.height)
        self._layers = [
            _Layer(luma, step=1, siting=0),
            *(_Layer(plane, step=2, siting=0.25) for plane in chroma),
        ]
        self._stamp = stamp

    def frame(self, window: Window) -> Frame:
        """Draw and return the frame that shows a window; the next call overwrites it."""
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

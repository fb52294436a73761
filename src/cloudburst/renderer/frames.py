"""Frames in YUV 4:2:0 as the encoder reads them, and the operations that draw them."""

from __future__ import annotations

import av
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from cloudburst.renderer.kernel.interface import Plane, Rectangle
from cloudburst.renderer.kernel.library import load_kernel
from cloudburst.renderer.motion import Window
from cloudburst.renderer.planes import Layer, Planes

# Distance of the position of chroma samples from the centre of the 2x2 pixels that they cover, to
# the left, in chroma samples. H.264 assumes it if a video names no other siting.
_CHROMA_SITING = 0.25


def plane_images(video: av.VideoFrame) -> list[Image.Image]:
    """Return copies of the three planes of a frame in YUV 4:2:0."""
    return [
        Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size)
        for plane in video.planes
    ]


class Frame:
    """Frame of a video, BT.709 in limited range, with chroma sited left.

    Sizes are even, at most `interface.MAX_PLANE_SIDE`. Operations raise `ValueError` for areas,
    sizes or positions that do not fit the frame.
    """

    def __init__(self, width: int, height: int) -> None:
        _check_even(width, height)
        self.video = av.VideoFrame(width, height, "yuv420p")
        """PyAV's frame, which owns the memory."""
        self.video.colorspace = Colorspace.ITU709
        self.video.color_range = ColorRange.MPEG
        y, u, v = (
            Plane(plane.buffer_ptr, plane.line_size, plane.width, plane.height)
            for plane in self.video.planes
        )
        self.planes = (y, u, v)
        self._kernel = load_kernel()

    @property
    def width(self) -> int:
        """Width, in pixels."""
        return self.planes[0].width

    @property
    def height(self) -> int:
        """Height, in pixels."""
        return self.planes[0].height

    def fill(self, planes: Planes) -> None:
        """Replace the whole frame by a picture of the same size."""
        for plane, samples in zip(self.planes, planes[2:], strict=True):
            self._kernel.fill(plane, samples)

    def read(self) -> Planes:
        """Return a copy of the whole frame."""
        y, u, v = (plane.tobytes() for plane in plane_images(self.video))
        return Planes(self.width, self.height, y, u, v)

    def copy_rectangle(self, source: Frame, x: int, y: int, width: int, height: int) -> None:
        """Copy a rectangle of another frame to the same place; all numbers are even."""
        areas = _areas(x, y, width, height)
        for plane, other, area in zip(self.planes, source.planes, areas, strict=True):
            self._kernel.copy(other, plane, area)

    def blend(self, layer: Layer) -> None:
        """Blend a layer into the frame."""
        areas = _areas(*layer[:4])
        masks = (layer.mask, layer.half_mask, layer.half_mask)
        places = zip(self.planes, areas, masks, strict=True)
        if isinstance(layer.colour, Planes):
            for place, samples in zip(places, layer.colour[2:], strict=True):
                self._kernel.overlay(*place, samples)
        else:
            for place, value in zip(places, layer.colour, strict=True):
                self._kernel.blend(*place, value)

    def zoom_from(self, source: Frame, window: Window) -> None:
        """Draw a window of another frame over the whole frame."""
        left, top, zoom = window
        half_left = left / 2 + _CHROMA_SITING * (1 - 1 / zoom)  # keeps the siting
        starts = ((left, top), (half_left, top / 2), (half_left, top / 2))
        for plane, other, start in zip(self.planes, source.planes, starts, strict=True):
            self._kernel.zoom(other, plane, *start, zoom)


def _areas(x: int, y: int, width: int, height: int) -> tuple[Rectangle, Rectangle, Rectangle]:
    _check_even(x, y, width, height)
    half = Rectangle(x // 2, y // 2, width // 2, height // 2)
    return Rectangle(x, y, width, height), half, half


def _check_even(*numbers: int) -> None:
    if any(number % 2 for number in numbers):
        msg = f"{numbers}: expected even numbers of pixels"
        raise ValueError(msg)

"""Frames of a transition: two frames mixed, or one frame mixed with black."""

from __future__ import annotations

from av.video.frame import VideoFrame
from PIL import Image

from cloudburst.renderer.frames import Frame
from cloudburst.renderer.planes import Planes

_BLACK = (16, 128, 128)
"""Black in Y, U and V of limited range."""


def mixed(first: VideoFrame, second: VideoFrame, share: float) -> VideoFrame:
    """Return a mixture of two frames; ``share`` is the share of the second, from 0 to 1."""
    pairs = zip(_planes(first), _planes(second), strict=True)
    return _frame(first, [Image.blend(one, other, share) for one, other in pairs])


def darkened(frame: VideoFrame, brightness: float) -> VideoFrame:
    """Return a frame mixed with black; a ``brightness`` of 0 is black, and 1 is the frame."""
    blacks = (Image.new("L", plane.size, value) for plane, value in _parts(frame))
    pairs = zip(blacks, _planes(frame), strict=True)
    return _frame(frame, [Image.blend(black, plane, brightness) for black, plane in pairs])


def _parts(frame: VideoFrame) -> list[tuple[Image.Image, int]]:
    return list(zip(_planes(frame), _BLACK, strict=True))


def _planes(frame: VideoFrame) -> list[Image.Image]:
    """Return copies of the three planes of a frame in YUV 4:2:0."""
    return [
        Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size)
        for plane in frame.planes
    ]


def _frame(like: VideoFrame, planes: list[Image.Image]) -> VideoFrame:
    target = Frame(like.width, like.height)
    y, u, v = (plane.tobytes() for plane in planes)
    target.fill(Planes(like.width, like.height, y, u, v))
    return target.video

"""Frames of a transition: two frames mixed, or one frame mixed with black."""

from __future__ import annotations

from av.video.frame import VideoFrame
from PIL import Image

from cloudburst.renderer.colours import BLACK
from cloudburst.renderer.frames import Frame, plane_images
from cloudburst.renderer.planes import Planes


def mixed(first: VideoFrame, second: VideoFrame, share: float) -> VideoFrame:
    """Return a mixture of two frames; ``share`` is the share of the second, from 0 to 1."""
    pairs = zip(plane_images(first), plane_images(second), strict=True)
    return _frame(first, [Image.blend(one, other, share) for one, other in pairs])


def darkened(frame: VideoFrame, brightness: float) -> VideoFrame:
    """Return a frame mixed with black; a ``brightness`` of 0 is black, and 1 is the frame."""
    pairs = zip(plane_images(frame), BLACK, strict=True)
    return _frame(
        frame,
        [
            Image.blend(Image.new("L", plane.size, black), plane, brightness)
            for plane, black in pairs
        ],
    )


def _frame(like: VideoFrame, planes: list[Image.Image]) -> VideoFrame:
    target = Frame(like.width, like.height)
    y, u, v = (plane.tobytes() for plane in planes)
    target.fill(Planes(like.width, like.height, y, u, v))
    return target.video

"""Camera movement over a still picture: the window that each frame shows."""

from __future__ import annotations

from typing import NamedTuple

from cloudburst.models.camera_effects import Effect

ZOOM_DEPTH = 0.1
"""Additional magnification at the closest point of a zoom, where the window has 1/1.1 of the
picture's size."""
PAN_SCALE = 0.9
"""Size of a pan's window relative to that of the picture."""


class Window(NamedTuple):
    """Part of the picture that a frame shows.

    The top left corner is (left, top), in pixels of the picture; the size is 1/zoom of the picture.
    """

    left: float
    top: float
    zoom: float


WHOLE_PICTURE = Window(0.0, 0.0, 1.0)
"""Window of a video without camera motion."""


def camera_window(effect: Effect, width: int, height: int, frame: int, frames: int) -> Window:
    """Return the window of a frame; windows move linearly from the first frame to the last.

    Args:
        effect: Effect that was chosen for the scene.
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
        frame: Number of the frame, from 0.
        frames: Length of the video, in frames.
    """
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
    return Window(width * room * across, height * room / 2, zoom)

"""Camera movement over a still picture: the window that each frame shows."""

from __future__ import annotations

from collections.abc import Iterator
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

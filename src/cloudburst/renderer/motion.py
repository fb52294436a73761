"""Camera movement over a still picture: the window that each frame shows."""

from __future__ import annotations

from typing import NamedTuple

from cloudburst.models.camera_effects import DEFAULT_AMOUNT, Easing, Effect
from cloudburst.renderer.crop import CENTRE, Point


class Window(NamedTuple):
    """Part of the picture that a frame shows.

    The top left corner is (left, top), in pixels of the picture; the size is 1/zoom of the video.
    """

    left: float
    top: float
    zoom: float


WHOLE_PICTURE = Window(0.0, 0.0, 1.0)
"""Window of a video without camera motion."""


class Camera(NamedTuple):
    """Camera that moves over a picture of the size of the video, for the whole video."""

    effect: Effect
    """Movement that was chosen for the scene."""
    size: tuple[int, int]
    """Width and height of the picture and of the video, in pixels."""
    amount: float = DEFAULT_AMOUNT
    """Extent of the movement; see ``RenderOptions.motion_amount``."""
    easing: Easing = "linear"
    """Change of the speed; see ``RenderOptions.motion_easing``."""
    focus: Point = CENTRE
    """Point of the picture that has the same place in all frames: in both directions in zooms, in
    the direction across the movement in pans."""

    def window(self, frame: int, frames: int) -> Window:
        """Return the window of a frame.

        Args:
            frame: Number of the frame, from 0.
            frames: Length of the video, in frames.
        """
        part = ease(self.easing, frame / (frames - 1) if frames > 1 else 0.0)
        across, down = self.focus
        zoom = 1 / (1 - self.amount)
        match self.effect:
            case Effect.ZOOM_IN:
                zoom = 1 + self.amount * part
            case Effect.ZOOM_OUT:
                zoom = 1 + self.amount * (1 - part)
            case Effect.PAN_LEFT:
                across = 1 - part
            case Effect.PAN_RIGHT:
                across = part
            case Effect.PAN_UP:
                down = 1 - part
            case Effect.PAN_DOWN:
                down = part
            case Effect.RANDOM:
                msg = "effect: random; expected the effect that was chosen for the scene"
                raise ValueError(msg)
        room = 1 - 1 / zoom
        width, height = self.size
        return Window(width * room * across, height * room * down, zoom)


def ease(easing: Easing, part: float) -> float:
    """Return the finished part of a movement after a part of the time; both are from 0 to 1.

    The speed of ``ease_in`` grows evenly from 0 to twice the mean speed, and that of ``ease_out``
    falls so. ``ease_in_out`` starts and ends at 0, with 1.5 times the mean speed in the middle.
    """
    match easing:
        case "linear":
            return part
        case "ease_in":
            return part * part
        case "ease_out":
            return part * (2 - part)
        case "ease_in_out":
            return part * part * (3 - 2 * part)

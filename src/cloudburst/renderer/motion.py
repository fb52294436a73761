"""Camera movement over a still picture: the window that each frame shows."""

from __future__ import annotations

from typing import NamedTuple

from cloudburst.models.video_format import DEFAULT_AMOUNT, Easing, Effect
from cloudburst.renderer.fitting import CENTRE, Point


class Window(NamedTuple):
    """Part of the picture that a frame shows.

    The top left corner is (left, top), in pixels of the picture; the size is 1/zoom of the video.
    """

    left: float
    top: float
    zoom: float


# Window of a video without camera motion.
WHOLE_PICTURE = Window(0.0, 0.0, 1.0)


class Camera(NamedTuple):
    """Camera that moves over a picture for the whole video."""

    effect: Effect
    size: tuple[int, int]
    """Width and height of the video."""
    amount: float = DEFAULT_AMOUNT
    easing: Easing = "linear"
    focus: Point = CENTRE
    """Point with the same place in all frames: in zooms in both directions, in pans across the
    movement."""
    picture: tuple[int, int] | None = None
    """Width and height of the picture; ``None`` for those of the video."""

    def window(self, frame: int, frames: int) -> Window:
        """Return the window of a frame, from 0, of a video with this number of frames."""
        part = ease(self.easing, frame / (frames - 1) if frames > 1 else 0.0)
        across, down = self.focus
        shares = self._shares()
        zoom = max(shares)  # shows the whole of a picture with the proportions of the video
        match self.effect:
            case Effect.ZOOM_IN:
                zoom *= 1 + self.amount * part
            case Effect.ZOOM_OUT:
                zoom *= 1 + self.amount * (1 - part)
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
        if self.effect not in (Effect.ZOOM_IN, Effect.ZOOM_OUT):
            # At most ``1 - amount`` of the length of the picture is shown.
            along = shares[self.effect in (Effect.PAN_UP, Effect.PAN_DOWN)]
            zoom = max(zoom, along / (1 - self.amount))
        width, height = (
            inner - outer / zoom
            for inner, outer in zip(self.picture or self.size, self.size, strict=True)
        )
        return Window(width * across, height * down, zoom)

    @property
    def path_length(self) -> float:
        """Length of the path over a panorama relative to that of a pan by default, at least 1."""
        shares = self._shares()
        return max(1.0, (max(shares) / min(shares) - 1) / DEFAULT_AMOUNT)

    def _shares(self) -> list[float]:
        """Return width and height of the video relative to those of the picture."""
        sides = zip(self.size, self.picture or self.size, strict=True)
        return [outer / inner for outer, inner in sides]


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

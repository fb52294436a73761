"""Format of a video: its size and its frame rate. Pure functions.

Every render process imports this module, so it does not import pydantic, which would take 0.2 CPU
seconds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias


class Effect(StrEnum):
    """Movement of the camera over the picture, from the start to the end of the video.

    The extents are those of the default of ``RenderOptions.motion_amount``.
    """

    ZOOM_IN = "zoom_in"
    """Zoom from 1.0 to 1.1."""
    ZOOM_OUT = "zoom_out"
    """Zoom from 1.1 to 1.0."""
    PAN_LEFT = "pan_left"
    """Movement from the right edge of the picture to the left edge, with 90 % of its width and
    height visible."""
    PAN_RIGHT = "pan_right"
    """Movement from the left edge of the picture to the right edge, with 90 % of its width and
    height visible."""
    PAN_UP = "pan_up"
    """Movement from the bottom edge of the picture to the top edge, with 90 % of its width and
    height visible."""
    PAN_DOWN = "pan_down"
    """Movement from the top edge of the picture to the bottom edge, with 90 % of its width and
    height visible."""
    RANDOM = "random"
    """Random choice among ``zoom_in``, ``zoom_out``, ``pan_left`` and ``pan_right``."""


Easing: TypeAlias = Literal["linear", "ease_in", "ease_out", "ease_in_out"]
"""Change of the speed of a camera movement: constant, slow at the start, at the end, or at both."""
DEFAULT_AMOUNT = 0.1
"""Extent of a camera movement: zooms magnify by up to 1.1, and pans show 90 % of the picture."""

_RANDOM_MOVEMENTS = (Effect.ZOOM_IN, Effect.ZOOM_OUT, Effect.PAN_LEFT, Effect.PAN_RIGHT)
"""Effects of ``random``. Further ones would change the effect that a scene has always had."""


def draw_effect(effects: Sequence[Effect], scene: str) -> Effect | None:
    """Return an effect for a scene, drawn at random but always the same for the same name.

    Every attempt at a scene therefore looks the same. Return ``None``, for a still picture, if
    ``effects`` is empty.
    """
    if not effects:
        return None
    rng = random.Random(scene)  # noqa: S311 - not used for security
    effect = rng.choice(effects)
    return rng.choice(_RANDOM_MOVEMENTS) if effect is Effect.RANDOM else effect


DEFAULT_FPS = 30
"""Frames per second of a video, unless the render options name another number."""
FRAME_RATES = (24, 25, 30, 50, 60)
"""Frames per second that a video may have. A frame of each has a whole number of samples of audio
at 48 kHz, so that picture and sound end together."""
MIN_SIDE, MAX_SIDE = 240, 4096
"""Limits for width and height of a video, in pixels. The pixel kernel has memory for rows of 4096
pixels; letters and watermarks are too small for less than 240."""


class VideoSize(NamedTuple):
    """Size of a video in pixels; both numbers are even."""

    width: int
    height: int


class VideoFormat(NamedTuple):
    """Size and frame rate of a video."""

    size: VideoSize
    fps: int = DEFAULT_FPS
    """Frames per second."""

    @property
    def pixel_rate(self) -> float:
        """Pixels per second, as a multiple of those of 1920x1080 at 30 frames per second."""
        return self.size.width * self.size.height * self.fps / (1920 * 1080 * 30)


DEFAULT_SIZE = "1080p"
"""Name of the size of a video, unless the render options name another one."""
_FIXED_SIZES = {
    "landscape": VideoSize(1920, 1080),
    "portrait": VideoSize(1080, 1920),
    "square": VideoSize(1080, 1080),
    "4:5": VideoSize(1080, 1350),
}
_TURNED_SIZES = {
    "720p": VideoSize(1280, 720),
    "1080p": VideoSize(1920, 1080),
    "4k": VideoSize(3840, 2160),
}
"""Sizes that have portrait orientation, too, if the picture is upright."""
SIZE_NAMES = (*_FIXED_SIZES, *_TURNED_SIZES)
"""Names of sizes; other sizes are written as WIDTHxHEIGHT."""

SIZES = f"{', '.join(SIZE_NAMES)}, or WIDTHxHEIGHT with even numbers from {MIN_SIDE} to {MAX_SIDE}"
"""Description of a valid size."""

_WIDTH_X_HEIGHT = re.compile(r"([0-9]{3,4}) *[x×] *([0-9]{3,4})")


def normalize_size(text: str) -> str:
    """Return the size that a text names in the form of `SIZE_NAMES`, or as ``1280x720``.

    Raises:
        ValueError: The text names no size that a video may have.
    """
    text = text.strip().lower()
    if text in SIZE_NAMES:
        return text
    if found := _WIDTH_X_HEIGHT.fullmatch(text):
        size = VideoSize(*map(int, found.groups()))
        if all(MIN_SIDE <= side <= MAX_SIDE and side % 2 == 0 for side in size):
            return f"{size.width}x{size.height}"
    msg = f"expected {SIZES}"
    raise ValueError(msg)


def fixed_size(name: str) -> VideoSize | None:
    """Return the size with a normalized name; ``None`` if it depends on the picture's shape."""
    if name in _TURNED_SIZES:
        return None
    return _FIXED_SIZES.get(name) or VideoSize(*map(int, name.split("x")))


def video_size(name: str, *, upright: bool) -> VideoSize:
    """Return the size of a video with a normalized name.

    ``upright`` decides the orientation of sizes that can have both.
    """
    if fixed := fixed_size(name):
        return fixed
    wide = _TURNED_SIZES[name]
    return VideoSize(wide.height, wide.width) if upright else wide

"""Format of a video: its size and its frame rate. Pure functions."""

# Every render process imports this module, so it does not import pydantic, which would take 0.2
# CPU seconds.

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias


class Effect(StrEnum):
    """Movement of the camera over the picture, from the start to the end of the video.

    With the default of ``RenderOptions.motion_amount``, zooms are between 1.0 and 1.1, and pans
    show 90 % of the picture's width and height: ``pan_left`` moves from its right edge to its left.
    """

    ZOOM_IN = "zoom_in"
    ZOOM_OUT = "zoom_out"
    PAN_LEFT = "pan_left"
    PAN_RIGHT = "pan_right"
    PAN_UP = "pan_up"
    PAN_DOWN = "pan_down"
    RANDOM = "random"
    """Random choice among ``zoom_in``, ``zoom_out``, ``pan_left`` and ``pan_right``."""


# Default for the maximum length of a scene, in seconds. It takes 30 MB of memory and two minutes of
# CPU time for its sound, in which a render makes no visible progress.
MAX_SCENE_SECONDS = 4 * 3600.0

# Change of the speed of a camera movement: constant, slow at the start, at the end, or at both.
Easing: TypeAlias = Literal["linear", "ease_in", "ease_out", "ease_in_out"]
# Extent of a camera movement: zooms magnify by up to 1.1, and pans show 90 % of the picture.
DEFAULT_AMOUNT = 0.1

# Effects of ``random``. Further ones would change the effect that a scene has always had.
_RANDOM_MOVEMENTS = (Effect.ZOOM_IN, Effect.ZOOM_OUT, Effect.PAN_LEFT, Effect.PAN_RIGHT)


def draw_effect(effects: Sequence[Effect], scene: str) -> Effect | None:
    """Return an effect for a scene, drawn at random but always the same for the same name."""
    if not effects:
        return None
    rng = random.Random(scene)  # noqa: S311 - not used for security
    effect = rng.choice(effects)
    return rng.choice(_RANDOM_MOVEMENTS) if effect is Effect.RANDOM else effect


# Frames per second of a video, unless the render options name another number.
DEFAULT_FPS = 30
# Frames per second that a video may have. A frame of each has a whole number of samples of audio
# at 48 kHz, so that picture and sound end together.
FRAME_RATES = (24, 25, 30, 50, 60)
# Limits for width and height of a video, in pixels. The pixel kernel has memory for rows of 4096
# pixels; letters and watermarks are too small for less than 240.
MIN_SIDE, MAX_SIDE = 240, 4096


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


# Name of the size of a video, unless the render options name another one.
DEFAULT_SIZE = "1080p"
_FIXED_SIZES = {
    "landscape": VideoSize(1920, 1080),
    "portrait": VideoSize(1080, 1920),
    "square": VideoSize(1080, 1080),
    "4:5": VideoSize(1080, 1350),
}
# Sizes that have portrait orientation, too, if the picture is upright.
_TURNED_SIZES = {
    "720p": VideoSize(1280, 720),
    "1080p": VideoSize(1920, 1080),
    "4k": VideoSize(3840, 2160),
}
# Names of sizes; other sizes are written as WIDTHxHEIGHT.
SIZE_NAMES = (*_FIXED_SIZES, *_TURNED_SIZES)

# Description of a valid size.
SIZES = f"{', '.join(SIZE_NAMES)}, or WIDTHxHEIGHT with even numbers from {MIN_SIDE} to {MAX_SIDE}"

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
    """Return the size of a video with a normalized name."""
    if fixed := fixed_size(name):
        return fixed
    wide = _TURNED_SIZES[name]
    return VideoSize(wide.height, wide.width) if upright else wide

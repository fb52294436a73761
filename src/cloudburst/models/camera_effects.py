"""Camera movements of a video.

Every render process imports this module, so it does not import pydantic, which would take 0.2 CPU
seconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypeAlias


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

"""Camera movements of a video.

Every render process imports this module, so it does not import pydantic, which would take 0.2 CPU
seconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum


class Effect(StrEnum):
    """Movement of the camera over the picture, at constant speed for the whole video."""

    ZOOM_IN = "zoom_in"
    """Zoom from 1.0 to 1.1 around the centre."""
    ZOOM_OUT = "zoom_out"
    """Zoom from 1.1 to 1.0 around the centre."""
    PAN_LEFT = "pan_left"
    """Movement from the right edge of the picture to the left edge, with 90 % of its width and
    height visible."""
    PAN_RIGHT = "pan_right"
    """Movement from the left edge of the picture to the right edge, with 90 % of its width and
    height visible."""
    RANDOM = "random"
    """Random choice among the other effects."""


_MOVEMENTS = tuple(effect for effect in Effect if effect is not Effect.RANDOM)


def draw_effect(effects: Sequence[Effect], scene: str) -> Effect | None:
    """Return an effect for a scene, drawn at random but always the same for the same name.

    Every attempt at a scene therefore looks the same. Return ``None``, for a still picture, if
    ``effects`` is empty.
    """
    if not effects:
        return None
    rng = random.Random(scene)  # noqa: S311 - not used for security
    effect = rng.choice(effects)
    return rng.choice(_MOVEMENTS) if effect is Effect.RANDOM else effect

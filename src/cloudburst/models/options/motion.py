"""Render options for the movement of the camera and for fades."""

from __future__ import annotations

from collections.abc import Sized
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from cloudburst.models.camera_effects import DEFAULT_AMOUNT, Easing, Effect, draw_effect
from cloudburst.models.options.values import split_list
from cloudburst.text import short_repr

_ZOOM = (Effect.ZOOM_IN, Effect.ZOOM_OUT)
_BOOL = TypeAdapter(bool)
"""Parser of true and false, also as text."""
MAX_EFFECTS = 100
"""Maximum number of effects from which one is chosen; the same one may be there several times."""


def _split_effects(value: Any) -> Any:
    value = split_list(value)
    if isinstance(value, Sized) and len(value) > MAX_EFFECTS:
        msg = f"{len(value)} effects; expected at most {MAX_EFFECTS}"
        raise ValueError(msg)
    return value


class MotionOptions(BaseModel):
    """Movement of the camera, and fades."""

    effects: Annotated[tuple[Effect, ...], BeforeValidator(_split_effects)] = Field(
        default=_ZOOM, description=f"a list of up to {MAX_EFFECTS} of {', '.join(Effect)}"
    )
    """Camera movements, one of which is chosen at random for each scene; empty for still
    pictures."""
    motion_amount: float = Field(
        default=DEFAULT_AMOUNT, ge=0.01, le=0.5, description="a number from 0.01 to 0.5"
    )
    """Extent of the movement, from 0.01 to 0.5. Zooms magnify the picture by 1 to 1 + this number.
    Pans show a part of 1 - this number of the picture's width and height, and cross the rest."""
    motion_easing: Easing = Field(
        default="linear", description="linear, ease_in, ease_out or ease_in_out"
    )
    """Change of the speed of the movement: constant (``linear``), slow at the start (``ease_in``),
    at the end (``ease_out``), or at both (``ease_in_out``)."""
    panorama: bool = Field(default=False, description="true or false")
    """True for pans that cross the whole picture if it is longer, in the direction of the movement,
    than the shape of the video: its other side is fitted to the video, and nothing is cropped. The
    speed follows from the lengths of picture and sound. It is without effect on zooms and on other
    pictures. Of a picture that is extremely long (11 times the length of a video of 1920×1080, in
    general 20 million pixels), the ends are left out, with a warning."""
    fade_in: float = Field(default=0.0, ge=0, le=10, description="a number of seconds from 0 to 10")
    """Seconds at the start of the video in which the picture, with subtitles and watermark, appears
    from black, from 0 to 10. The sound does not change. If the video is shorter than ``fade_in``
    and ``fade_out`` together, each has its share of the length."""
    fade_out: float = Field(
        default=0.0, ge=0, le=10, description="a number of seconds from 0 to 10"
    )
    """Seconds at the end of the video in which the picture, with subtitles and watermark, becomes
    black, from 0 to 10; see ``fade_in``."""

    @model_validator(mode="before")
    @classmethod
    def _effects_from_enable_zoom(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "enable_zoom" not in data:
            return cast("Any", data)
        options = dict(cast("dict[str, Any]", data))
        if "effects" in options:
            msg = "effects and enable_zoom are both given; expected one of them"
            raise ValueError(msg)
        zoom = options.pop("enable_zoom")
        try:
            options["effects"] = _ZOOM if _BOOL.validate_python(zoom) else ()
        except ValidationError:
            msg = f"enable_zoom is {short_repr(zoom)}; expected true or false"
            raise ValueError(msg) from None
        return options

    def effect_for(self, scene: str) -> Effect | None:
        """Return the camera movement of a scene; ``None`` for a still picture.

        Scenes with the same name have the same movement, so that every attempt looks the same.
        """
        return draw_effect(self.effects, scene)

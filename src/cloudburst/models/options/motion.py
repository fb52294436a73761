"""Render options for the movement of the camera."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from cloudburst.models.camera_effects import Effect, draw_effect
from cloudburst.models.options.values import split_list

_ZOOM = (Effect.ZOOM_IN, Effect.ZOOM_OUT)


class MotionOptions(BaseModel):
    """Movement of the camera."""

    effects: Annotated[tuple[Effect, ...], BeforeValidator(split_list)] = Field(
        default=_ZOOM, description=f"a list of {', '.join(Effect)}"
    )
    """Camera movements, one of which is chosen at random for each scene; empty for still
    pictures."""

    @model_validator(mode="before")
    @classmethod
    def _effects_from_enable_zoom(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "enable_zoom" not in data:
            return cast("Any", data)
        options = dict(cast("dict[str, Any]", data))
        if "effects" in options:
            msg = "effects and enable_zoom are both given; expected one of them"
            raise ValueError(msg)
        options["effects"] = _ZOOM if options.pop("enable_zoom") else ()
        return options

    def effect_for(self, scene: str) -> Effect | None:
        """Return the camera movement of a scene; ``None`` for a still picture.

        Scenes with the same name have the same movement, so that every attempt looks the same.
        """
        return draw_effect(self.effects, scene)

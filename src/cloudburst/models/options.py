"""How the videos of a run shall look."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

Language: TypeAlias = Literal["chinese", "english"]


class Effect(StrEnum):
    """A movement of the camera over the picture, linear over the clip."""

    ZOOM_IN = "zoom_in"
    """1.0 to 1.1 about the centre."""
    ZOOM_OUT = "zoom_out"
    """1.1 to 1.0 about the centre."""
    PAN_LEFT = "pan_left"
    """A window of 90 % that moves from the right edge to the left one."""
    PAN_RIGHT = "pan_right"
    """A window of 90 % that moves from the left edge to the right one."""
    RANDOM = "random"
    """Any of the others."""


_MOVEMENTS = tuple(effect for effect in Effect if effect is not Effect.RANDOM)
_ZOOM = (Effect.ZOOM_IN, Effect.ZOOM_OUT)


class RenderOptions(BaseModel):
    """How a video looks: the same for all scenes of a run.

    ``enable_zoom=True`` is the old way to say ``effects=("zoom_in", "zoom_out")``, and
    ``enable_zoom=False`` that of ``effects=()``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    language: Language = "chinese"
    """Chinese subtitles are bold; letters of both languages show in both."""
    effects: tuple[Effect, ...] = _ZOOM
    """One of them is drawn for each scene (see `effect_for`); empty for a still picture."""
    watermark: Path | None = Field(
        default=None, validation_alias=AliasChoices("watermark", "watermark_path")
    )
    """A picture laid over the top left corner, an eighth of the video's width."""
    is_portrait: bool | None = None
    """1080×1920 when true, 1920×1080 when false, by the picture when ``None``."""
    background_box: bool = True
    """A box behind the subtitles; else an outline around the letters."""
    background_opacity: float = Field(default=0.2, ge=0, le=1)
    """A *transparency* of that box, as the public image has it: 0 is solid black, 1 no box."""
    font_size: int | None = Field(default=None, ge=8, le=120)
    """Height of a line of subtitles in the public image's units: 1/288 of a landscape video's
    height (20 is 75 pixels), pixels in a portrait. ``None``: 20, and 60 in a portrait."""
    outline_color: str = Field(default="&H00000000", pattern=r"^&H[0-9A-Fa-f]{8}$")
    """Colour of the outline in ASS notation: ``&HAABBGGRR``, AA = 00 is opaque."""

    @model_validator(mode="before")
    @classmethod
    def _effects_from_enable_zoom(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "enable_zoom" not in data:
            return cast("Any", data)
        options = dict(cast("dict[str, Any]", data))
        if "effects" in options:
            msg = "say either effects or enable_zoom, not both"
            raise ValueError(msg)
        options["effects"] = _ZOOM if options.pop("enable_zoom") else ()
        return options

    def effect_for(self, scene: str) -> Effect | None:
        """The movement for a scene: drawn by its name, so that every attempt looks the same."""
        if not self.effects:
            return None
        rng = random.Random(scene)  # noqa: S311 - a choice of looks, not a secret
        effect = rng.choice(self.effects)
        return rng.choice(_MOVEMENTS) if effect is Effect.RANDOM else effect


_WANTED = {
    "language": "chinese or english",
    "effects": f"some of {', '.join(Effect)}",
    "watermark": "the path of a picture",
    "is_portrait": "true, false or nothing",
    "background_box": "true or false",
    "background_opacity": "a number from 0 (black) to 1 (no box)",
    "font_size": "a whole number from 8 to 120",
    "outline_color": "&HAABBGGRR, such as &H00000000",
}


def faults_of(error: ValidationError, spelling: Callable[[str], str] = str) -> Iterator[str]:
    """What is wrong with options, in words of ours; ``spelling`` is how the caller writes names."""
    for one in error.errors():
        name = str(one["loc"][0]) if one["loc"] else ""
        if one["type"] == "extra_forbidden":
            yield f"{spelling(name)} is no option; expected one of {', '.join(_WANTED)}"
        elif wanted := _WANTED.get(name.removesuffix("_path")):
            yield f"{spelling(name)} is {one['input']!r}; expected {wanted}"
        else:
            yield one["msg"].removeprefix("Value error, ")

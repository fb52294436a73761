"""Render options of a run: the appearance of its videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

from cloudburst.models.camera_effects import Effect, draw_effect

Language: TypeAlias = Literal["chinese", "english"]


_ZOOM = (Effect.ZOOM_IN, Effect.ZOOM_OUT)


class RenderOptions(BaseModel):
    """Appearance of the videos, the same for all scenes of a run.

    ``enable_zoom=True``, from ``cloudburst-fargate``, means ``effects=("zoom_in", "zoom_out")``,
    and ``enable_zoom=False`` means ``effects=()``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    language: Language = "chinese"
    """Subtitle style: ``chinese`` is bold, ``english`` is not. Both styles can show Chinese
    characters and Latin letters."""
    effects: tuple[Effect, ...] = _ZOOM
    """Camera movements, one of which is chosen at random for each scene; empty for still
    pictures."""
    watermark: Path | None = Field(
        default=None, validation_alias=AliasChoices("watermark", "watermark_path")
    )
    """Path of a picture for the top left corner, scaled to an eighth of the video's width; ``None``
    for no watermark."""
    is_portrait: bool | None = None
    """True for a video of 1080×1920 pixels, false for 1920×1080, ``None`` to follow the shape of
    the picture. The picture is cropped around its centre to the shape of the video."""
    background_box: bool = True
    """True for a box behind the subtitles, false for an outline around the letters."""
    background_opacity: float = Field(default=0.2, ge=0, le=1)
    """*Transparency* of the box behind the subtitles, despite the name, which is that of the public
    image: 0 is solid black; 1 is no box but an outline around the letters."""
    font_size: int | None = Field(default=None, ge=8, le=120)
    """Height of a subtitle line, from 8 to 120. The unit is that of the public image: 1/288 of the
    video's height in a landscape video (20 is 75 pixels), one pixel in a portrait video. ``None``:
    20 in landscape, 60 in portrait."""
    outline_color: str = Field(default="&H00000000", pattern=r"^&H[0-9A-Fa-f]{8}$")
    """Colour of the outline around letters as ``&HAABBGGRR``, the notation of ASS subtitles, with
    alpha, blue, green and red in hexadecimal. Alpha 00 is opaque."""

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


_EXPECTED = {
    "language": "chinese or english",
    "effects": f"a list of {', '.join(Effect)}",
    "watermark": "the path of a picture",
    "is_portrait": "true, false or nothing",
    "background_box": "true or false",
    "background_opacity": "a number from 0 (black) to 1 (no box)",
    "font_size": "a whole number from 8 to 120",
    "outline_color": "&HAABBGGRR, such as &H00000000",
}


def describe_option_errors(
    error: ValidationError, field_name: Callable[[str], str] = str
) -> Iterator[str]:
    """Yield a message for each invalid option.

    A message calls an option by the name that ``field_name`` returns for its field.
    """
    for one in error.errors():
        name = str(one["loc"][0]) if one["loc"] else ""
        if one["type"] == "extra_forbidden":
            yield f"{field_name(name)} is not an option; expected one of {', '.join(_EXPECTED)}"
        elif wanted := _EXPECTED.get(name.removesuffix("_path")):
            yield f"{field_name(name)} is {one['input']!r}; expected {wanted}"
        else:
            yield one["msg"].removeprefix("Value error, ")

"""Render options for the picture of a video: size, frame rate, part, movement and fades."""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Annotated, Any, Literal, Self, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from cloudburst.models.options.values import split_list
from cloudburst.models.video_format import (
    DEFAULT_AMOUNT,
    DEFAULT_FPS,
    DEFAULT_SIZE,
    FRAME_RATES,
    SIZE_NAMES,
    SIZES,
    Easing,
    Effect,
    draw_effect,
    fixed_size,
    normalize_size,
)
from cloudburst.text import short_repr

Fit: TypeAlias = Literal["cover", "contain"]

_RATES = f"one of {', '.join(map(str, FRAME_RATES))}"
_BACKDROPS = "blur, or a colour such as #ff0000"
_BACKDROP = re.compile(r"blur|#[0-9a-f]{6}")
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


def _check_frame_rate(fps: int) -> int:
    if fps not in FRAME_RATES:
        msg = f"expected {_RATES}"
        raise ValueError(msg)
    return fps


def _check_backdrop(backdrop: str) -> str:
    backdrop = backdrop.strip().lower()
    if not _BACKDROP.fullmatch(backdrop):
        msg = f"expected {_BACKDROPS}"
        raise ValueError(msg)
    return backdrop


class PictureOptions(BaseModel):
    """Size and frame rate of a video, and the part of the picture that it shows."""

    size: Annotated[str, AfterValidator(normalize_size)] = Field(
        default=DEFAULT_SIZE, description=SIZES, examples=[*SIZE_NAMES]
    )
    """Size of the video in pixels: ``landscape`` (1920×1080), ``portrait`` (1080×1920), ``square``
    (1080×1080), ``4:5`` (1080×1350), or two even numbers from 240 to 4096, such as ``1280x720``.
    ``720p`` (1280×720), ``1080p`` (1920×1080) and ``4k`` (3840×2160) are turned for portrait
    videos: see `is_portrait`."""
    fps: Annotated[int, AfterValidator(_check_frame_rate)] = Field(
        default=DEFAULT_FPS, description=_RATES, examples=[*FRAME_RATES]
    )
    """Frames per second: 24, 25, 30, 50 or 60."""
    is_portrait: bool | None = Field(default=None, description="true, false or nothing")
    """True for a portrait video, false for a landscape video, ``None`` to follow the shape of the
    picture. A `size` that is always portrait or never must not contradict it."""

    fit: Fit = Field(default="cover", description="cover or contain")
    """``cover``: the picture fills the video and is cropped. ``contain``: the whole picture is
    shown in front of a `backdrop`."""
    backdrop: Annotated[str, AfterValidator(_check_backdrop)] = Field(
        default="blur", description=_BACKDROPS
    )
    """Backdrop of a picture with ``fit="contain"``: ``blur``, which is the picture itself,
    enlarged, blurred and darkened, or a colour as ``#rrggbb``. Transparent parts of the picture
    show it."""
    focus: Annotated[tuple[_Share, _Share], BeforeValidator(split_list)] = Field(
        default=(0.5, 0.5),
        description="two numbers from 0 to 1, across and down, such as 0.5 0.25",
    )
    """Point of the picture that a crop keeps as near to the centre of the video as it can, as
    shares of width and height from the top left corner. ``0.5 0`` keeps the top of a picture. Zooms
    do not move the point; pans move it only along their direction."""

    @model_validator(mode="after")
    def _check_orientation(self) -> Self:
        size = fixed_size(self.size)
        if size is None or self.is_portrait in {None, size.height > size.width}:
            return self
        shape = "a portrait size" if self.is_portrait else "a size that is not portrait"
        msg = (
            f"size is {self.size} and is_portrait is {str(self.is_portrait).lower()}; "
            f"expected {shape}, or no is_portrait"
        )
        raise ValueError(msg)


_ZOOM = (Effect.ZOOM_IN, Effect.ZOOM_OUT)
# Parser of true and false, also as text.
_BOOL = TypeAdapter(bool)
# Maximum number of effects from which one is chosen; the same one may be there several times.
MAX_EFFECTS = 100


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
    motion_search: bool = Field(default=False, description="true or false")
    """True for videos in which the encoder looks for the movement of every picture, as in other
    videos. Otherwise most pictures follow from the movement of the camera, which is known; that
    takes half the CPU time or less. It is for players that do not show such videos well."""
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
    black, from 0 to 10. See ``fade_in``."""

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

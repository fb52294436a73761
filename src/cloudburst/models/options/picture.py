"""Render options for the picture of a video: size, frame rate, and the part that is shown."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from cloudburst.models.options.values import split_list
from cloudburst.models.video_format import (
    DEFAULT_FPS,
    DEFAULT_SIZE,
    FRAME_RATES,
    SIZES,
    fixed_size,
    normalize_size,
)

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
        default=DEFAULT_SIZE, description=SIZES
    )
    """Size of the video in pixels: ``landscape`` (1920×1080), ``portrait`` (1080×1920), ``square``
    (1080×1080), ``4:5`` (1080×1350), or two even numbers from 240 to 4096, such as ``1280x720``.
    ``720p`` (1280×720), ``1080p`` (1920×1080) and ``4k`` (3840×2160) are turned for portrait
    videos: see `is_portrait`."""
    fps: Annotated[int, AfterValidator(_check_frame_rate)] = Field(
        default=DEFAULT_FPS, description=_RATES
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

"""Render options for the picture of a video: size, frame rate, and the part that is shown."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from cloudburst.models.video_format import (
    DEFAULT_FPS,
    DEFAULT_SIZE,
    FRAME_RATES,
    MAX_SIDE,
    MIN_SIDE,
    SIZE_NAMES,
    fixed_size,
    normalize_size,
)

_RATES = ", ".join(map(str, FRAME_RATES))


def _check_frame_rate(fps: int) -> int:
    if fps not in FRAME_RATES:
        msg = f"fps: {fps}"
        raise ValueError(msg)
    return fps


class PictureOptions(BaseModel):
    """Size and frame rate of a video."""

    size: Annotated[str, AfterValidator(normalize_size)] = Field(
        default=DEFAULT_SIZE,
        description=f"{', '.join(SIZE_NAMES)}, or WIDTHxHEIGHT with even numbers from {MIN_SIDE}"
        f" to {MAX_SIDE}",
    )
    """Size of the video in pixels: ``landscape`` (1920×1080), ``portrait`` (1080×1920), ``square``
    (1080×1080), ``4:5`` (1080×1350), or two even numbers from 240 to 4096, such as ``1280x720``.
    ``720p`` (1280×720), ``1080p`` (1920×1080) and ``4k`` (3840×2160) are turned for portrait
    videos: see `is_portrait`."""
    fps: Annotated[int, AfterValidator(_check_frame_rate)] = Field(
        default=DEFAULT_FPS, description=f"one of {_RATES}"
    )
    """Frames per second: 24, 25, 30, 50 or 60."""
    is_portrait: bool | None = Field(default=None, description="true, false or nothing")
    """True for a portrait video, false for a landscape video, ``None`` to follow the shape of the
    picture. A `size` that is always portrait or never must not contradict it."""

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

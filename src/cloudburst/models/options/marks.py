"""Render options for what marks a video as the caller's own: the watermark."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, BaseModel, Field


class MarkOptions(BaseModel):
    """Watermark of a video."""

    watermark: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("watermark", "watermark_path"),
        description="the path of a picture",
    )
    """Path of a picture for the top left corner, scaled to an eighth of the video's width; ``None``
    for no watermark."""

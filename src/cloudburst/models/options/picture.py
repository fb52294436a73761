"""Render options for the picture of a video: its shape."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PictureOptions(BaseModel):
    """Shape of the picture."""

    is_portrait: bool | None = Field(default=None, description="true, false or nothing")
    """True for a video of 1080×1920 pixels, false for 1920×1080, ``None`` to follow the shape of
    the picture. The picture is cropped around its centre to the shape of the video."""

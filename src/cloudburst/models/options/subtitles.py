"""Render options for subtitles."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, Field

Language: TypeAlias = Literal["chinese", "english"]


class SubtitleOptions(BaseModel):
    """Look of the subtitles."""

    language: Language = Field(default="chinese", description="chinese or english")
    """Subtitle style: ``chinese`` is bold, ``english`` is not. Both styles can show Chinese
    characters and Latin letters."""
    background_box: bool = Field(default=True, description="true or false")
    """True for a box behind the subtitles, false for an outline around the letters."""
    background_opacity: float = Field(
        default=0.2, ge=0, le=1, description="a number from 0 (black) to 1 (no box)"
    )
    """*Transparency* of the box behind the subtitles, despite the name, which is that of the public
    image: 0 is solid black; 1 is no box but an outline around the letters."""
    font_size: int | None = Field(
        default=None, ge=8, le=120, description="a whole number from 8 to 120"
    )
    """Height of a subtitle line, from 8 to 120. The unit is that of the public image: 1/288 of the
    height of a landscape video (20 is 75 of 1080 pixels), and 1/1080 of the width of a portrait or
    square video. ``None``: 20 in landscape, 60 in portrait and square."""
    outline_color: str = Field(
        default="&H00000000",
        pattern=r"^&H[0-9A-Fa-f]{8}$",
        description="&HAABBGGRR, such as &H00000000",
    )
    """Colour of the outline around letters as ``&HAABBGGRR``, the notation of ASS subtitles, with
    alpha, blue, green and red in hexadecimal. Alpha 00 is opaque."""

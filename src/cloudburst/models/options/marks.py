"""Render options for what marks a video as the caller's own: watermark, texts and cover."""

from __future__ import annotations

from pydantic import AliasChoices, BaseModel, Field

from cloudburst.models.options.metadata import METADATA, TITLE, Metadata, Title
from cloudburst.models.options.values import POSITIONS, OptionalLocation, Position


class MarkOptions(BaseModel):
    """Watermark of a video, texts in its file, and its cover."""

    watermark: OptionalLocation = Field(
        default=None,
        validation_alias=AliasChoices("watermark", "watermark_path"),
        description="the path or URL of a picture",
    )
    """Location of a picture that is drawn over the video; ``None`` for no watermark."""
    watermark_position: Position = Field(default="top-left", description=f"one of {POSITIONS}")
    """Corner or side of the video at which the watermark is, or ``center``."""
    watermark_width: float = Field(
        default=0.125, ge=0.02, le=1, description="a number from 0.02 to 1, a share of the width"
    )
    """Width of the watermark as a share of the video's width, from 0.02 to 1. Its height follows
    from its proportions. Where there is too little space between the margins, it is narrower; what
    is then still too tall is cropped at the bottom."""
    watermark_margin: float = Field(
        default=10, ge=0, le=500, description="a number from 0 to 500, in pixels of a 1080p video"
    )
    """Distance between the watermark and the edges at which it is, from 0 to 500: in pixels if the
    short side of the video has 1080 pixels, and in proportion to the short side otherwise."""
    watermark_opacity: float = Field(
        default=1, ge=0, le=1, description="a number from 0 (invisible) to 1 (as the picture is)"
    )
    """Opacity of the watermark, from 0 to 1. Its own transparency is kept."""
    title: Title = Field(default=None, description=TITLE)
    """Title that is stored in the file of the video, up to 200 characters; ``None`` for none. It is
    not drawn."""
    metadata: Metadata = Field(default={}, description=METADATA)
    """Other texts that are stored in the file, by name: ``{"artist": "Me", "date": "2026"}``, or as
    text ``artist=Me; date=2026``. `METADATA_NAMES` lists the names that MP4 files can have.
    ``language`` is the language of the sound, as a code of three letters (ISO 639-2) such as
    ``eng`` or ``zho``. The texts of a scene replace all those of the run."""
    cover: bool = Field(default=False, description="true or false")
    """True for a picture ``<name>.jpg`` beside the video: its middle frame without subtitles, in
    the size of the video."""

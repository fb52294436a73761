"""Render options for what marks a video as the caller's own: watermark, texts and cover."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias, cast

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
)

from cloudburst.models.options.values import POSITIONS, OptionalLocation, Position, none_if_blank
from cloudburst.text import short_repr

# Names of the texts that an MP4 file of FFmpeg stores, apart from the title.
METADATA_NAMES = (
    "album",
    "album_artist",
    "artist",
    "comment",
    "composer",
    "copyright",
    "date",
    "description",
    "genre",
    "grouping",
    "keywords",
    "language",
    "show",
    "synopsis",
)
MAX_TITLE_CHARS = 200
# Maximum number of characters of a text. Together they fit into the request of a job.
MAX_TEXT_CHARS = 500

# Pattern of texts without control characters and line breaks.
_PRINTABLE = r"^[^\p{Cc}\p{Zl}\p{Zp}]*\z"
_LANGUAGE = re.compile("[a-z]{3}")


def _split_texts(value: Any) -> Any:
    """Return a mapping for ``artist=Me; date=2026``, or for a list of such parts."""
    if isinstance(value, str):
        value = [part for part in value.split(";") if part.strip()]
    if not isinstance(value, list | tuple):
        return value
    texts: dict[str, str] = {}
    for part in cast("Iterable[object]", value):
        name, equals, text = str(part).partition("=")
        name = name.strip().lower()
        if not equals or name in texts:
            expected = "each name once" if equals else "a name with a text, such as artist=Me"
            msg = f"{short_repr(part)}; expected {expected}"
            raise ValueError(msg)
        texts[name] = text.strip()
    return texts


def _check_names(texts: dict[str, str]) -> dict[str, str]:
    if unknown := sorted(texts.keys() - set(METADATA_NAMES)):
        msg = f"{short_repr(unknown[0])}; expected one of the names {', '.join(METADATA_NAMES)}"
        raise ValueError(msg)
    language = texts.get("language", "und")
    if not _LANGUAGE.fullmatch(language):
        msg = f"language={short_repr(language)}; expected a code of three letters, such as eng"
        raise ValueError(msg)
    return texts


# Title of a video; an empty text is none.
Title: TypeAlias = Annotated[
    Annotated[str, StringConstraints(pattern=_PRINTABLE, max_length=MAX_TITLE_CHARS)] | None,
    BeforeValidator(none_if_blank),
]
# Description of a valid title.
TITLE = f"a text of at most {MAX_TITLE_CHARS} characters in one line"

# Texts by name. As text: ``artist=Me; date=2026``.
Metadata: TypeAlias = Annotated[
    dict[str, Annotated[str, StringConstraints(pattern=_PRINTABLE, max_length=MAX_TEXT_CHARS)]],
    Field(max_length=len(METADATA_NAMES)),
    BeforeValidator(_split_texts),
    AfterValidator(_check_names),
]
# Description of valid texts.
METADATA = (
    f"up to {MAX_TEXT_CHARS} characters in one line for each of {', '.join(METADATA_NAMES)}; as "
    "text: artist=Me; date=2026; language=eng, which has three letters"
)


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
    """Opacity of the mark, from 0 to 1. Its own transparency is kept."""
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

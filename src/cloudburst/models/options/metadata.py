"""Descriptive texts that are stored in the file of a video, as players and libraries show them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from cloudburst.models.options.values import none_if_blank
from cloudburst.text import short_repr

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
"""Names of the texts that an MP4 file of FFmpeg stores, apart from the title."""
MAX_TITLE_CHARS = 200
MAX_TEXT_CHARS = 500
"""Maximum number of characters of a text. Together they fit into the request of a job."""

_PRINTABLE = r"^[^\p{Cc}\p{Zl}\p{Zp}]*\z"
"""Pattern of texts without control characters and line breaks."""
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


Title: TypeAlias = Annotated[
    Annotated[str, StringConstraints(pattern=_PRINTABLE, max_length=MAX_TITLE_CHARS)] | None,
    BeforeValidator(none_if_blank),
]
"""Title of a video; an empty text is none."""
TITLE = f"a text of at most {MAX_TITLE_CHARS} characters in one line"
"""Description of a valid title."""

Metadata: TypeAlias = Annotated[
    dict[str, Annotated[str, StringConstraints(pattern=_PRINTABLE, max_length=MAX_TEXT_CHARS)]],
    Field(max_length=len(METADATA_NAMES)),
    BeforeValidator(_split_texts),
    AfterValidator(_check_names),
]
"""Texts by name. As text: ``artist=Me; date=2026``."""
METADATA = (
    f"up to {MAX_TEXT_CHARS} characters in one line for each of {', '.join(METADATA_NAMES)}; as "
    "text: artist=Me; date=2026; language=eng, which has three letters"
)
"""Description of valid texts."""

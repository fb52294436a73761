"""Values of render options as text, as scene files and the command line give them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from cloudburst.models.locations import Location

# Colour as ``#rrggbb`` or ``#rrggbbaa``: red, green, blue and opacity in hexadecimal.
Colour: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^#(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})\z", to_lower=True)
]
# Description of a valid `Colour`.
COLOUR = "a colour such as #ff0000, or #ff000080 for one that is half transparent"

# Place within the picture: a corner, the middle of a side, or the centre.
Position: TypeAlias = Literal[
    "top-left",
    "top",
    "top-right",
    "left",
    "center",
    "right",
    "bottom-left",
    "bottom",
    "bottom-right",
]
# Names of all positions.
POSITIONS = ", ".join(get_args(Position))


def _ass_colour(text: str) -> str:
    """Return a colour as ``&HAABBGGRR``, in which AA is the transparency."""
    if text.startswith("&"):
        return text
    red, green, blue, *alpha = bytes.fromhex(text[1:])
    opacity = alpha[0] if alpha else 255
    return f"&H{255 - opacity:02X}{blue:02X}{green:02X}{red:02X}"


# Colour as ``&HAABBGGRR``, the notation of ASS subtitles; a `Colour` is converted to it.
AssColour: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^(?:&H[0-9A-Fa-f]{8}|#[0-9A-Fa-f]{6}|#[0-9A-Fa-f]{8})\z"),
    AfterValidator(_ass_colour),
]

_SEPARATOR = re.compile(r"[\s,]+")


def split_list(value: Any) -> Any:
    """Return the parts of a text that commas or spaces separate; other values are unchanged.

    An empty text is an empty list.
    """
    if not isinstance(value, str):
        return value
    return [part for part in _SEPARATOR.split(value) if part]


def none_if_blank(value: Any) -> Any:
    """Return ``None`` for an empty text; other values are unchanged."""
    return None if isinstance(value, str) and not value.strip() else value


# Location of a file; ``None`` or an empty text for none. An empty path would be the current
# folder.
OptionalLocation: TypeAlias = Annotated[Location | None, BeforeValidator(none_if_blank)]

"""Values of render options as text, as scene files and the command line give them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import StringConstraints

Colour: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^#(?:[0-9a-f]{6}|[0-9a-f]{8})\z", to_lower=True)
]
"""Colour as ``#rrggbb`` or ``#rrggbbaa``: red, green, blue and opacity in hexadecimal."""
COLOUR = "a colour such as #ff0000, or #ff000080 for one that is half transparent"
"""Description of a valid `Colour`."""

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
"""Place within the picture: a corner, the middle of a side, or the centre."""
POSITIONS = ", ".join(get_args(Position))
"""Names of all positions."""

_SEPARATOR = re.compile(r"[\s,]+")


def split_list(value: Any) -> Any:
    """Return the parts of a text that commas or spaces separate; other values are unchanged.

    An empty text is an empty list.
    """
    if not isinstance(value, str):
        return value
    return [part for part in _SEPARATOR.split(value) if part]

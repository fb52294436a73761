"""Times as people write them on a command line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile(
    rf"(?P<only>{_NUMBER})|"
    rf"(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m(?:in)?)?(?:(?P<s>{_NUMBER})s)?",
    re.IGNORECASE,
)
_SECONDS = {"only": 1, "h": 3600, "m": 60, "s": 1}


def seconds_of(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``10m``, ``1h30m`` or ``1.5h``; ``ValueError`` for no time."""
    found = _DURATION.fullmatch("".join(text.split()))
    parts = {unit: float(n) for unit, n in found.groupdict().items() if n} if found else {}
    seconds = sum(number * _SECONDS[unit] for unit, number in parts.items())
    if not seconds or not math.isfinite(seconds):
        msg = f"{text!r}; expected a time such as 90s, 10m or 1h30m"
        raise ValueError(msg)
    return seconds


def _converted(_type: Any, tokens: Sequence[Token]) -> float:
    return seconds_of(tokens[0].value)


Duration: TypeAlias = Annotated[float, Parameter(converter=_converted)]
"""Seconds; on the command line as `seconds_of` reads them."""

"""Selection of the hostile cases that a test run tries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")


def chosen(cases: Sequence[Case], few: int) -> list[Case]:
    """Return every case if ``CLOUDBURST_HOSTILE`` is ``all``, else ``few`` of them, evenly spread.

    ``nox -s hostile`` sets the variable. The plain test run tries a few cases of each family.
    """
    if os.environ.get("CLOUDBURST_HOSTILE") == "all" or few >= len(cases):
        return list(cases)
    step = len(cases) / few
    return [cases[int(step * index)] for index in range(few)]

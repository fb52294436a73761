"""Faults of scenes for other people: without folders, and not too many of them."""

from __future__ import annotations

from cloudburst.errors import InvalidScenesError
from cloudburst.public_json import without_folders

MAX_FAULTS = 100
"""Maximum number of faults that are listed. A job of 1,000 scenes may have some thousand, which
would be megabytes in each response about it."""


def public_faults(error: InvalidScenesError) -> tuple[str, list[dict[str, str]]]:
    """Return the message of an error, and its faults as JSON; of many, the first ones."""
    shown = error.faults[:MAX_FAULTS]
    message = str(error)
    if len(shown) < len(error.faults):
        lines = [*map(str, shown), f"and {len(error.faults) - len(shown):,} more problems"]
        message = "\n".join(lines)
    return without_folders(message), [without_folders(fault._asdict()) for fault in shown]

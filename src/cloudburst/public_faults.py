"""Faults of scenes for other people: without folders, and not too many of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.public_json import without_folders
from cloudburst.text import printable_line

logger = logging.getLogger(__name__)

MAX_FAULTS = 100
"""Maximum number of faults that are listed. A job of 1,000 scenes may have some thousand, which
would be megabytes in each response about it."""
_HINT = re.compile(r"; (CLOUDBURST_[A-Z_]+=[^;\n]*)")
"""Pattern of a hint at a setting, behind what is expected; its group is the hint."""
MAX_NAME = 200
"""Maximum length of the name of a file in a fault, in characters."""


def public_faults(error: InvalidScenesError) -> tuple[str, list[dict[str, str]]]:
    """Return the message of an error, and its faults as JSON; of many, the first ones.

    Hints at settings of the server, which only its operator can change, are logged instead.
    """
    shown = [_without_hint(fault) for fault in error.faults[:MAX_FAULTS]]
    message = _HINT.sub("", str(error))
    if len(shown) < len(error.faults):
        lines = [*map(str, shown), f"and {len(error.faults) - len(shown):,} more problems"]
        message = "\n".join(lines)
    if hints := {hint for fault in error.faults for hint in _HINT.findall(fault.expected)}:
        logger.warning("a scene was refused: %s", ", ".join(sorted(hints)))
    return without_folders(message), [without_folders(fault._asdict()) for fault in shown]


def _without_hint(fault: SceneFault) -> SceneFault:
    return fault._replace(expected=_HINT.sub("", fault.expected))


def with_names(
    error: InvalidScenesError, folder: Path, names: Mapping[str, str]
) -> InvalidScenesError:
    """Return an error with the names that a sender gave to files in place of their paths.

    Args:
        error: Error, whose other facts are kept.
        folder: Folder with the files.
        names: Names that the sender gave, by the names of the files in the folder.
    """
    start = f": {folder / 'x'}"[:-1]

    def renamed(fault: SceneFault) -> SceneFault:
        problem, parted, file = fault.found.partition(start)
        if not parted or file not in names:
            return fault
        return fault._replace(found=f"{problem}: {printable_line(names[file], MAX_NAME)}")

    return InvalidScenesError(
        faults=[renamed(fault) for fault in error.faults],
        tasks=error.tasks,
        seconds=error.seconds,
        usd=error.usd,
    )

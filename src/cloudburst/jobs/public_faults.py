"""Faults of scenes for other people: without folders, and not too many of them."""

from __future__ import annotations

import logging
import re

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.jobs.public_json import without_folders

logger = logging.getLogger(__name__)

MAX_FAULTS = 100
"""Maximum number of faults that are listed. A job of 1,000 scenes may have some thousand, which
would be megabytes in each response about it."""
_HINT = re.compile(r"; (CLOUDBURST_[A-Z_]+=[^;\n]*)")
"""Pattern of a hint at a setting, behind what is expected; its group is the hint."""
_FILE = re.compile(r": /[^\n]*$")
"""Pattern of the path of a file of this machine behind what was found."""


def public_faults(error: InvalidScenesError) -> tuple[str, list[dict[str, str]]]:
    """Return the message of an error, and its faults as JSON; of many, the first ones.

    Hints at settings of the server, which only its operator can change, are logged instead.
    """
    shown = [_public(fault) for fault in error.faults[:MAX_FAULTS]]
    lines = [*map(str, shown)]
    if len(shown) < len(error.faults):
        lines.append(f"and {len(error.faults) - len(shown):,} more problems")
    if hints := {hint for fault in error.faults for hint in _HINT.findall(fault.expected)}:
        logger.warning("a scene was refused: %s", ", ".join(sorted(hints)))
    return without_folders("\n".join(lines)), [without_folders(fault._asdict()) for fault in shown]


def _public(fault: SceneFault) -> SceneFault:
    """Return a fault without a hint, and without a file: scene and field say which one it is."""
    return fault._replace(found=_FILE.sub("", fault.found), expected=_HINT.sub("", fault.expected))

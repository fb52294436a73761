"""JSON and faults for other people: without folders of this machine and of S3, and not too long."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, cast

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.problems import fix_of

# Pattern of a quote inside a path. A quote that closes a quoted path is followed by a space or
# punctuation.
_QUOTE = r"['\"](?=[^\s;,:.)])"
_FOLDER = rf"(?:[^/\\\n:;,'\"]|{_QUOTE})+[/\\]"
# Pattern of a path within a text; its group is the last part of the path. Folder names may have
# spaces, so text between two slashes is removed even if it does not belong to a path.
_PATH = re.compile(
    rf"(?<![\w./\\])(?:\.{{1,2}}/|/(?!/)|[A-Za-z]:\\|\\\\)(?:{_FOLDER})*"
    rf"((?:[^/\\\s:;,)'\"]|{_QUOTE})*)"
)
# Pattern of the location of an object or a folder in S3; its group is the last part.
_S3_LOCATION = re.compile(rf"s3://(?:{_FOLDER})+((?:[^/\\\s:;,)'\"]|{_QUOTE})*)")
# Fields of events and reports that hold paths.
_PATH_FIELDS = {"path", "cover", "film", "post_mortem"}


logger = logging.getLogger(__name__)
# Maximum number of faults that are listed. A job of 1,000 scenes may have some thousand, which
# would be megabytes in each response about it.
MAX_FAULTS = 100
# Pattern of a hint at a setting, behind what is expected; its group is the hint.
_HINT = re.compile(r"; (CLOUDBURST_[A-Z_]+=[^;\n]*)")
# Pattern of the path of a file of this machine behind what was found.
_FILE = re.compile(r": /[^\n]*$")


def without_folders(value: Any) -> Any:
    """Return JSON data of an event, a report or an error with file names in place of locations.

    Locations within texts are replaced, too. ``value`` may be a text.
    """
    return _without_folders(value, "")


def _without_folders(value: Any, field: str) -> Any:
    match value:
        case str() if field in _PATH_FIELDS:
            return PurePath(value).name
        case str():
            return _PATH.sub(r"\1", _S3_LOCATION.sub(r"\1", value))
        case dict():
            fields = cast("Mapping[str, Any]", value)
            return {name: _without_folders(item, name) for name, item in fields.items()}
        case list():
            return [_without_folders(item, "") for item in cast("Sequence[Any]", value)]
        case _:
            return value


def public_faults(error: InvalidScenesError) -> tuple[str, list[dict[str, str]]]:
    """Return message and faults of an error as JSON; of many faults, the first ones.

    Hints at settings of the server are for its operator: they are logged.
    """
    shown = [_public(fault) for fault in error.faults[:MAX_FAULTS]]
    documents = [fault._asdict() | {"fix": fix_of(fault.code)} for fault in shown]
    lines = [*map(str, shown)]
    if len(shown) < len(error.faults):
        lines.append(f"and {len(error.faults) - len(shown):,} more problems")
    if hints := {hint for fault in error.faults for hint in _HINT.findall(fault.expected)}:
        logger.warning("a scene was refused: %s", ", ".join(sorted(hints)))
    return without_folders("\n".join(lines)), without_folders(documents)


def _public(fault: SceneFault) -> SceneFault:
    """Return a fault without a hint, and without a file: scene and field say which one it is."""
    return fault._replace(found=_FILE.sub("", fault.found), expected=_HINT.sub("", fault.expected))

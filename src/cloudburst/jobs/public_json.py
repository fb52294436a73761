"""JSON for other people: file names in place of the folders of this machine and of S3."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, cast

_QUOTE = r"['\"](?=[^\s;,:.)])"
"""Pattern of a quote inside a path. A quote that closes a quoted path is followed by a space or
punctuation."""
_FOLDER = rf"(?:[^/\\\n:;,'\"]|{_QUOTE})+[/\\]"
_PATH = re.compile(
    rf"(?<![\w./\\])(?:\.{{1,2}}/|/(?!/)|[A-Za-z]:\\|\\\\)(?:{_FOLDER})*"
    rf"((?:[^/\\\s:;,)'\"]|{_QUOTE})*)"
)
"""Pattern of a path within a text; its group is the last part of the path. Folder names may have
spaces, so text between two slashes is removed even if it does not belong to a path."""
_S3_LOCATION = re.compile(rf"s3://(?:{_FOLDER})+((?:[^/\\\s:;,)'\"]|{_QUOTE})*)")
"""Pattern of the location of an object or a folder in S3; its group is the last part."""
_PATH_FIELDS = {"path", "cover", "film", "post_mortem"}
"""Fields of events and reports that hold paths."""


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

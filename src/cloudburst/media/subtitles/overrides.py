r"""Override tags of SubStation subtitles, such as ``{\an8\i1}``, and which of them are ignored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

# Names of the features of a file that have no effect, in the order in which they appear.
Ignored: TypeAlias = dict[str, None]

_SEPARATORS = re.compile(r"[\\()]")
# Tags that players know and videos do not have. Other unknown tags have no effect anywhere.
_WITHOUT_EFFECT = re.compile(
    r"[xy]?bord|[xy]?shad|fa[xy]|i?clip|blur|fsc[xy]|fsp|fs|move|fr[xyz]?|fn|fe|alpha|pos|fade?"
    r"|org|t(?=\()|[2-4]c|[1-4]a|be|q(?=\d)|pbo|kt"
)


def split_overrides(group: str) -> Iterator[str]:
    """Yield the override tags in a group without braces, without backslashes.

    Tags within the parentheses of another tag are a part of that tag.
    """
    depth, start = 0, -1
    for separator in _SEPARATORS.finditer(group):
        if separator[0] == "(":
            depth += 1
        elif separator[0] == ")":
            depth = max(0, depth - 1)
        elif depth == 0:
            if start >= 0:
                yield group[start : separator.start()].strip()
            start = separator.end()
    if start >= 0:
        yield group[start:].strip()


def ignored_name(tag: str) -> str | None:
    r"""Return the name of a tag that has no effect on the video, such as ``\pos``."""
    match = _WITHOUT_EFFECT.match(tag)
    return f"\\{match[0]}" if match else None


def add_ignored(group: str, ignored: Ignored) -> None:
    """Add the names of the tags in a group of SubRip or WebVTT that have no effect."""
    for tag in split_overrides(group.strip("{}")):
        if name := ignored_name(tag):
            ignored[name] = None

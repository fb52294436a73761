"""Parser of YAML in which every value is a string, with bounded time and memory.

YAML 1.1 turns unquoted values into numbers, dates and booleans (``yes`` and ``no``). Where all
values are names and paths, that is harmful, and converting malicious values is slow. PyYAML must be
installed to import this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import yaml

from cloudburst.errors import ConfigurationError

if TYPE_CHECKING or not yaml.__with_libyaml__:
    from yaml import SafeLoader as _Loader
else:
    from yaml import CSafeLoader as _Loader

MAX_DEPTH = 20
"""Maximum nesting depth of lists and mappings."""
MAX_LENGTH = 10_000
"""Maximum number of characters of one value. Paths have at most 4,096 bytes on Linux."""
_TAGS = {None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map", "null"))}


class _StringLoader(_Loader):
    """YAML loader for strings, lists, mappings and nulls, with support of merge keys (``<<``)."""

    yaml_implicit_resolvers: dict[str, object] = {}  # noqa: RUF012 - PyYAML requires it


for _tag, _pattern, _first in (
    ("null", "^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", "^<<$", ["<"]),
):
    _StringLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType] - untyped
        f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first
    )


def parse_yaml(path: Path | str, text: str, *, max_nodes: int) -> object:
    """Return the value of the YAML text in a file.

    ``max_nodes`` limits the number of values, lists and mappings in it. An alias counts as
    everything that it refers to, so that a few lines cannot stand for millions of values.

    Raises `ConfigurationError` with the path, the position in the file if it is known, and the
    reason.
    """
    counter = _NodeCounter(max_nodes)
    try:
        for event in _events(text):
            if (reason := counter.check(event)) is not None:
                raise _error(path, event.start_mark, reason)
        return yaml.load(text, _StringLoader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as exc:
        raise _error(path, exc.problem_mark, f"invalid YAML: {exc.problem!s:.200}") from exc
    except yaml.YAMLError as exc:
        raise _error(path, None, f"invalid YAML: {exc!s:.200}") from exc


@dataclass(slots=True)
class _NodeCounter:
    """Counter of the nodes in a YAML document, used before any object is built from them."""

    max_nodes: int
    open_nodes: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")])
    """Number of nodes so far, and anchor (or an empty text), of the document and of each list or
    mapping that has not ended yet."""
    anchors: dict[str, int] = field(default_factory=dict[str, int])
    """Number of nodes that each anchor stands for."""

    def check(  # noqa: PLR0911 - one for each kind of event
        self, event: yaml.Event
    ) -> str | None:
        """Count the node of a parser event; return a reason to reject the document, or ``None``."""
        match event:
            case yaml.AliasEvent(anchor=anchor) if any(
                anchor == name for _, name in self.open_nodes
            ):
                return "an alias of a list or mapping that contains it"
            case yaml.AliasEvent(anchor=anchor):
                # The loader reports an unknown anchor.
                return self._add(self.anchors.get(anchor or "", 1))
            case yaml.CollectionEndEvent():
                nodes, anchor = self.open_nodes.pop()
                return self._add(nodes + 1, anchor)
            case yaml.ScalarEvent(tag=tag) | yaml.CollectionStartEvent(tag=tag) if tag not in _TAGS:
                return f"the tag {tag:.40}; expected none"
            case yaml.CollectionStartEvent(anchor=anchor):
                self.open_nodes.append((0, anchor or ""))
                too_deep = len(self.open_nodes) - 1 > MAX_DEPTH
                return f"nested more than {MAX_DEPTH} deep" if too_deep else None
            case yaml.ScalarEvent(anchor=anchor, value=value):
                if len(value) <= MAX_LENGTH:
                    return self._add(1, anchor or "")
                return f"a value of {len(value):,} characters; expected at most {MAX_LENGTH:,}"
            case _:
                return None  # the document begins or ends

    def _add(self, nodes: int, anchor: str = "") -> str | None:
        if anchor:
            self.anchors[anchor] = nodes
        count, parent_anchor = self.open_nodes[-1]
        self.open_nodes[-1] = count + nodes, parent_anchor
        if sum(nodes for nodes, _ in self.open_nodes) > self.max_nodes:
            return f"more than {self.max_nodes:,} values; each alias counts as what it refers to"
        return None


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, _Loader)  # pyright: ignore - its stubs leave this untyped


class _Mark(Protocol):
    line: int
    column: int


def _error(path: Path | str, mark: _Mark | None, reason: str) -> ConfigurationError:
    position = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return ConfigurationError(f"{path}{position}: {reason}")

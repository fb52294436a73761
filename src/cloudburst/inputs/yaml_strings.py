"""Parser of YAML in which every value is a string, with bounded time and memory.

YAML 1.1 turns unquoted values into numbers, dates and booleans (``yes`` and ``no``). Where all
values are names and paths, that is harmful. PyYAML must be installed to import this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
MAX_TAG_DIRECTIVES = 100
"""Maximum number of ``%TAG`` in a file. libyaml compares each with all earlier ones."""
_TAGS = {None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map", "null"))}


class _StringLoader(_Loader):
    """YAML loader for strings, lists, mappings and nulls."""

    yaml_implicit_resolvers: dict[str, object] = {}  # noqa: RUF012 - PyYAML requires it


_StringLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType] - untyped
    "tag:yaml.org,2002:null", re.compile("^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def parse_yaml(path: Path | str, text: str, *, max_nodes: int) -> object:
    """Return the value of the YAML text in a file.

    ``max_nodes`` limits the number of values, lists and mappings in it.

    Raises `ConfigurationError` with the path, the position in the file if it is known, and the
    reason. Aliases are rejected: a few lines of them can stand for millions of values.
    """
    if text.count("%TAG") > MAX_TAG_DIRECTIVES:
        raise _error(path, None, f"more than {MAX_TAG_DIRECTIVES} directives %TAG; expected none")
    nodes = depth = 0
    try:
        for event in _events(text):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            nodes += isinstance(event, yaml.NodeEvent)
            if isinstance(event, yaml.AliasEvent):
                raise _error(path, event.start_mark, f"an alias, *{event.anchor}; write its value")
            if (tag := getattr(event, "tag", None)) not in _TAGS:
                raise _error(path, event.start_mark, f"the tag {tag:.40}; expected none")
            if depth > MAX_DEPTH:
                raise _error(path, event.start_mark, f"nested more than {MAX_DEPTH} deep")
            if nodes > max_nodes:
                raise _error(path, event.start_mark, f"more than {max_nodes:,} values")
        return yaml.load(text, _StringLoader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as exc:
        raise _error(path, exc.problem_mark, f"invalid YAML: {exc.problem!s:.200}") from exc
    except yaml.YAMLError as exc:
        raise _error(path, None, f"invalid YAML: {exc!s:.200}") from exc


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, _Loader)  # pyright: ignore - its stubs leave this untyped


class _Mark(Protocol):
    line: int
    column: int


def _error(path: Path | str, mark: _Mark | None, reason: str) -> ConfigurationError:
    position = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return ConfigurationError(f"{path}{position}: {reason:.300}")

"""JSON of requests, with limits of its structure: a small text can need much memory and time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from starlette.exceptions import HTTPException

MAX_VALUES = 100_000
"""Maximum number of values in the JSON of a request: 100 fields and options in each of 1,000
scenes. Each value needs up to 70 bytes of memory, and no thread runs while all of them are read."""
MAX_ITEMS = 100
"""Maximum number of fields of a scene, of options, and of items in the value of an option."""
MAX_NAME_CHARS = 100
"""Maximum length of the name of a field or an option, in characters."""
MAX_FAULTS = 1_000
"""Number of problems after which no further scene is read. Each takes about 0.3 ms to describe."""


def load_json(text: bytes) -> Any:
    """Return the value of a JSON text.

    Raises ``ValueError`` for what is no JSON, and `HTTPException` 400 for too many values.
    """
    # Commas within texts are counted as well.
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise HTTPException(400, f"expected JSON with at most {MAX_VALUES:,} values")
    try:
        return json.loads(text)
    except RecursionError as exc:
        raise ValueError("too many levels") from exc


def require_small_parts(job: dict[str, Any]) -> None:
    """Raise `HTTPException` 400 if a scene or an option has too many parts, or a long name."""
    for place, part in _parts(job):
        if len(part) > MAX_ITEMS:
            found = f"{len(part):,} {'fields' if isinstance(part, dict) else 'items'}"
            raise HTTPException(400, f"{place}: {found}; expected at most {MAX_ITEMS}")
        if isinstance(part, dict) and any(len(name) > MAX_NAME_CHARS for name in part):
            found = "a name of a field that is too long"
            raise HTTPException(
                400, f"{place}: {found}; expected at most {MAX_NAME_CHARS} characters"
            )


def _parts(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | list[Any]]]:
    """Yield the place and the value of each object and list whose parts are checked one by one."""
    scenes: object = job.get("scenes")
    owners: list[tuple[str, object]] = [("job", job)]
    if isinstance(scenes, list):
        listed = cast("list[object]", scenes)
        owners += [(f"scenes[{place}]", scene) for place, scene in enumerate(listed)]
    for place, owner in owners:
        if not isinstance(owner, dict):
            continue
        fields = cast("dict[str, Any]", owner)
        yield place, fields
        options: object = fields.get("options")
        if isinstance(options, dict):
            named = cast("dict[str, Any]", options)
            yield f"{place}.options", named
            for name, value in named.items():
                if isinstance(value, dict | list):
                    yield f"{place}.options.{name}", cast("dict[str, Any] | list[Any]", value)

"""Settings in a ``.env`` file: ours are replaced, all else stays as it is."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=")
_PLAIN = re.compile(r"[\w./:@,+-]*", re.ASCII)
_NEW_MODE = 0o600
"""Keys may join the file later."""


def merged(text: str, values: Mapping[str, str]) -> str:
    """The text with these values.

    The first line of each name is replaced and later ones go, for the last of them would count;
    names that are not there come at the end.
    """
    missing = dict(values)
    lines: list[str] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        name = found["name"] if found else ""
        if name not in values:
            lines.append(line)
        elif name in missing:
            lines.append(_assignment(name, missing.pop(name)))
    lines += [_assignment(name, value) for name, value in missing.items()]
    return "".join(f"{line}\n" for line in lines)


def update(path: Path, values: Mapping[str, str], *, rehearsal: bool = False) -> bool | None:
    """Write the values; ``None`` when the file was not there, else whether it changed.

    It is replaced in one go, with the mode it has; a link stays a link. Raises `OSError`.
    """
    path = Path(os.path.realpath(path))
    try:
        before, mode = path.read_text("utf-8"), path.stat().st_mode & 0o7777
    except FileNotFoundError:
        before, mode = None, _NEW_MODE
    after = merged(before or "", values)
    if after != before and not rehearsal:
        _replace(path, after, mode)
    return None if before is None else after != before


def drop(path: Path, name: str, values: Collection[str], *, rehearsal: bool = False) -> bool:
    """Take values out of a comma list, and the line with it when none is left; whether it changed.

    Raises `OSError`.
    """
    path = Path(os.path.realpath(path))
    try:
        before, mode = path.read_text("utf-8"), path.stat().st_mode & 0o7777
    except FileNotFoundError:
        return False
    lines: list[str] = []
    for line in before.splitlines():
        found = _LINE.match(line)
        if found is None or found["name"] != name:
            lines.append(line)
            continue
        listed = [part.strip() for part in line[found.end() :].strip(" '\"").split(",")]
        if left := [part for part in listed if part and part not in values]:
            lines.append(line if left == listed else _assignment(name, ",".join(left)))
    after = "".join(f"{line}\n" for line in lines)
    if after != before and not rehearsal:
        _replace(path, after, mode)
    return after != before


def _replace(path: Path, text: str, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _assignment(name: str, value: str) -> str:
    return f"{name}={value}" if _PLAIN.fullmatch(value) else f"{name}='{value}'"

"""Editing of a ``.env`` file: settings of cloudburst are replaced, and other lines are kept."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=")
_UNQUOTED = re.compile(r"[\w./:@,+-]*", re.ASCII)
_NEW_FILE_MODE = 0o600
"""Mode of a new file: only its owner may read it, since keys may be added to it later."""


def merge_settings(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a ``.env`` file with settings added or replaced.

    The first line of each setting is replaced. Later lines of that setting are removed, because the
    last line would be in effect. Settings without a line are appended. If no setting changes, the
    text is returned unchanged.
    """
    missing = dict(values)
    before = text.splitlines()
    lines: list[str] = []
    for line in before:
        found = _ASSIGNMENT.match(line)
        name = found["name"] if found else ""
        if name not in values:
            lines.append(line)
        elif name in missing:
            lines.append(_assignment(name, missing.pop(name)))
    lines += [_assignment(name, value) for name, value in missing.items()]
    return text if lines == before else _join(lines)


def write_settings(path: Path, values: Mapping[str, str], *, dry_run: bool = False) -> bool | None:
    """Write settings to a ``.env`` file, or with ``dry_run`` find out whether it would change.

    The file is replaced atomically and keeps its mode. If the path is a symbolic link, the file
    that it points to is replaced. Raises `OSError`.

    Returns:
        ``None`` if the file did not exist, else whether it changed.
    """
    path = Path(os.path.realpath(path))
    before, mode = _read(path)
    after = merge_settings(before or "", values)
    if after != before and not dry_run:
        _replace(path, after, mode)
    return None if before is None else after != before


def remove_from_list(
    path: Path, name: str, values: Collection[str], *, dry_run: bool = False
) -> bool:
    """Remove values from a comma-separated setting of a ``.env`` file.

    The line of the setting is removed if no value remains. With ``dry_run``, nothing is written.
    Returns whether the file changed, or would change. Raises `OSError`.
    """
    path = Path(os.path.realpath(path))
    before, mode = _read(path)
    if before is None:
        return False
    lines_before = before.splitlines()
    lines: list[str] = []
    for line in lines_before:
        found = _ASSIGNMENT.match(line)
        if found is None or found["name"] != name:
            lines.append(line)
            continue
        listed = [part.strip() for part in line[found.end() :].strip(" '\"").split(",")]
        if remaining := [part for part in listed if part and part not in values]:
            lines.append(line if remaining == listed else _assignment(name, ",".join(remaining)))
    changed = lines != lines_before
    if changed and not dry_run:
        _replace(path, _join(lines), mode)
    return changed


def _read(path: Path) -> tuple[str | None, int]:
    """Return the text of a file, or ``None`` if it does not exist, and the mode for writing it."""
    try:
        return path.read_text("utf-8"), path.stat().st_mode & 0o7777
    except FileNotFoundError:
        return None, _NEW_FILE_MODE


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


def _join(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _assignment(name: str, value: str) -> str:
    return f"{name}={value}" if _UNQUOTED.fullmatch(value) else f"{name}='{value}'"

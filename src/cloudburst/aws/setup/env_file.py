"""Editing of a ``.env`` file: settings of cloudburst are replaced, and other lines are kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import anyio.to_thread
from dotenv import dotenv_values, set_key, unset_key

from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.errors import ConfigurationError


def write_settings(path: Path, values: Mapping[str, str], *, dry_run: bool = False) -> bool | None:
    """Write settings to a ``.env`` file, or with ``dry_run`` find out whether it would change.

    Each line is replaced atomically, and the file keeps its mode; only its owner may read a new
    file. If the path is a symbolic link, the file that it points to is changed. Raises `OSError`.

    Returns:
        ``None`` if the file did not exist, else whether it changed.
    """
    path = Path(os.path.realpath(path))
    before = dotenv_values(path, interpolate=False) if path.exists() else None
    changed = {name: text for name, text in values.items() if (before or {}).get(name) != text}
    for name, text in () if dry_run else changed.items():
        set_key(path, name, text, quote_mode="never")
    return None if before is None else bool(changed)


def remove_from_list(
    path: Path, name: str, values: Collection[str], *, dry_run: bool = False
) -> bool:
    """Remove values from a comma-separated setting of a ``.env`` file.

    The line of the setting is removed if no value remains. With ``dry_run``, nothing is written.
    Returns whether the file changed, or would change. Raises `OSError`.
    """
    path = Path(os.path.realpath(path))
    text = dotenv_values(path, interpolate=False).get(name) or ""
    listed = [part.strip() for part in text.split(",")]
    remaining = [part for part in listed if part and part not in values]
    if remaining == listed or not text:
        return False
    if remaining and not dry_run:
        set_key(path, name, ",".join(remaining), quote_mode="never")
    elif not dry_run:
        unset_key(path, name)
    return True


async def write_env_file(
    changes: AccountChanges, path: Path, environment: Mapping[str, str]
) -> None:
    """Write settings to the ``.env`` file, and record the step.

    Raises `ConfigurationError` if the file cannot be written.
    """
    try:
        changed = await anyio.to_thread.run_sync(
            lambda: write_settings(path, environment, dry_run=changes.dry_run)
        )
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc}") from exc
    outcomes = {
        None: StepOutcome.CREATED,
        True: StepOutcome.UPDATED,
        False: StepOutcome.FOUND,
    }
    changes.record("settings", str(path), outcomes[changed])


async def remove_from_env_file(changes: AccountChanges, path: Path, groups: list[str]) -> None:
    """Remove ids of deleted security groups from the ``.env`` file, which ``init`` reads."""
    try:
        changed = await anyio.to_thread.run_sync(
            lambda: remove_from_list(path, "AWS_SECURITY_GROUP_ID", groups, dry_run=changes.dry_run)
        )
    except OSError as exc:
        changes.record("settings", str(path), StepOutcome.FAILED, str(exc))
        return
    if changed:
        detail = "without that security group"
        changes.record("settings", str(path), StepOutcome.UPDATED, detail)

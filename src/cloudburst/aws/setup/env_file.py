"""Editing of a ``.env`` file: settings of cloudburst are replaced, and other lines are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import anyio.to_thread
from dotenv import dotenv_values, set_key

from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.errors import ConfigurationError


def write_settings(path: Path, values: Mapping[str, str], *, dry_run: bool = False) -> StepOutcome:
    """Write settings to a ``.env`` file, or with ``dry_run`` find out whether it would change.

    Each line is replaced atomically, and the file keeps its mode; only its owner may read a new
    file. If the path is a symbolic link, the file that it points to is changed. Raises `OSError`.
    """
    path = Path(os.path.realpath(path))
    before = dotenv_values(path, interpolate=False) if path.exists() else None
    changed = {name: text for name, text in values.items() if (before or {}).get(name) != text}
    for name, text in () if dry_run else changed.items():
        set_key(path, name, text, quote_mode="never")
    if before is None:
        return StepOutcome.CREATED
    return StepOutcome.UPDATED if changed else StepOutcome.FOUND


async def write_env_file(
    changes: AccountChanges, path: Path, environment: Mapping[str, str]
) -> None:
    """Write settings to the ``.env`` file, and record the step.

    Raises `ConfigurationError` if the file cannot be written.
    """
    try:
        outcome = await anyio.to_thread.run_sync(
            lambda: write_settings(path, environment, dry_run=changes.dry_run)
        )
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc}") from exc
    changes.record("settings", str(path), outcome)

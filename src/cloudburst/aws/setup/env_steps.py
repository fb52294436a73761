"""Steps of ``init`` and ``destroy`` that change the ``.env`` file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio.to_thread

from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.aws.setup.env_file import remove_from_list, write_settings
from cloudburst.errors import ConfigurationError


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

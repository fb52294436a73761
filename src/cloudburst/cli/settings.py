"""What the environment of a command says."""

from __future__ import annotations

from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings


def read_settings() -> Settings:
    """From the environment and from ``.env`` in the current folder."""
    try:
        return Settings(_env_file=".env")  # pyright: ignore[reportCallIssue]
    except (ValueError, OSError) as exc:
        raise ConfigurationError(f".env or the environment: {exc}") from exc

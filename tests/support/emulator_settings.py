"""Settings of emulated accounts."""

from __future__ import annotations

from cloudburst import Settings


def settings_of(emulator, **changes):
    """As the environment would say them."""
    return Settings(**emulator.environment | changes)

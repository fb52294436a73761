"""What the environment of a command says."""

from __future__ import annotations

from cloudburst.compat import read_settings, timeouts_of

__all__ = ["read_settings", "timeouts_of"]

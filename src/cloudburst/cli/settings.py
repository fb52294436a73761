"""What the environment of a command says."""

from __future__ import annotations

from cloudburst.compat import read_settings

__all__ = ["read_settings"]

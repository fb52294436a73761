"""Paths of files that belong to this machine rather than to an output folder."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return the path of this package's state folder, which need not exist.

    It is ``cloudburst`` in ``XDG_STATE_HOME``, or in ``~/.local/state`` if that variable is not
    set.
    """
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "cloudburst"


def cache_folder() -> Path:
    """Return the path of this package's cache folder, which need not exist.

    It is ``cloudburst`` in ``XDG_CACHE_HOME``, or in ``~/.cache`` if that variable is not set.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "cloudburst"

"""Where this machine keeps what outlives a process and belongs to no output folder."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """``cloudburst`` in ``XDG_STATE_HOME``, or in ``~/.local/state``; it need not be there."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "cloudburst"

"""Videos in a notebook."""

from __future__ import annotations

import base64
import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from cloudburst.display.texts import short_path
from cloudburst.models.locations import AnyLocation

_MAX_EMBEDDED_BYTES = 20_000_000
"""Size from which a video is not stored in the notebook, in bytes."""
_PLAYER = (
    '<video controls style="display:block;max-width:100%;max-height:480px" '
    'src="data:video/mp4;base64,{}"></video>'
)


def player(path: AnyLocation) -> str:
    """Return a player with the video in it as HTML; a link if it is large, in S3 or removed."""
    try:
        if isinstance(path, Path) and path.stat().st_size < _MAX_EMBEDDED_BYTES:
            return _PLAYER.format(base64.b64encode(path.read_bytes()).decode())
    except OSError:  # the link says where it was
        pass
    return link(path, short_path(path))


def link(path: AnyLocation, text: str) -> str:
    """Return a link to a file as HTML."""
    # Notebooks serve the files of their folder, by relative paths.
    target = quote(os.fsencode(os.path.relpath(path))) if isinstance(path, Path) else str(path)
    return f'<a href="{escape(target)}" target="_blank">{escape(text)}</a>'

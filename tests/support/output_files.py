"""Names of the files that a complete run leaves in its output folder.

Tests that look for files left behind compare a whole folder with them, in the gate and at night.
"""

from __future__ import annotations

from collections.abc import Iterable

from cloudburst.display.report_page import NAME as REPORT


def files_of_client(scenes: Iterable[str], *covers: str) -> set[str]:
    """Return the names in the folder of a run of `Client`, with covers of these scenes."""
    return {".cloudburst", *(f"{name}.mp4" for name in scenes), *(f"{n}.jpg" for n in covers)}


def files_of_command(scenes: Iterable[str]) -> set[str]:
    """Return the names in the folder of a run of the command ``render``, which adds a page."""
    return files_of_client(scenes) | {REPORT}

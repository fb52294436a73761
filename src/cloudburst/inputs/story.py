"""Story of the package, which shows what a run makes."""

from __future__ import annotations

from pathlib import Path

from cloudburst.errors import ConfigurationError


def story_folder() -> Path:
    """Return the folder with the scenes of the story and their list, ``story.json``."""
    package = Path(__file__).parents[1]
    for folder in (package / "story", package.parents[1] / "examples" / "story"):
        if folder.is_dir():
            return folder
    raise ConfigurationError(f"{package / 'story'}: not found; expected the scenes of the demo")

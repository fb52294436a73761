"""Pictures as the renderer loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from cloudburst.renderer import pictures


def load_picture(path: Path, pixels: int, options: Any) -> Image.Image:
    """Return a picture, fitted to the size of the video."""
    return pictures.load_picture(path, pixels, options).image

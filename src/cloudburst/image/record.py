"""What is recorded about finished images in their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cloudburst.errors import ImageError
from cloudburst.image.cache import MAX_RECORD_BYTES, ImageCache
from cloudburst.image.options import BuiltImage, BuiltPlatform, ImageOptions, LayerSize
from cloudburst.safe_files import read_regular_file

RECORD = "cloudburst.json"
"""File in the folder of an image that describes it."""


def last_image(options: ImageOptions) -> BuiltImage | None:
    """Return the image that was built last with this cache, or ``None``; blocks.

    Raises:
        ImageError: its record is damaged.
    """
    images = ImageCache(options.cache_folder).images
    found = [path for path in images.glob("*") if (path / RECORD).is_file()]
    folder = max(found, key=lambda path: path.stat().st_mtime, default=None)
    return read_image(folder) if folder else None


def read_image(folder: Path) -> BuiltImage:
    """Return what is recorded about the image in a folder; blocks.

    Raises:
        ImageError: the folder has no image of ours, or its record is damaged.
    """
    path = folder / RECORD
    try:
        record: Any = json.loads(read_regular_file(path, limit=MAX_RECORD_BYTES))
        platforms = tuple(_platform(one) for one in record.pop("platforms"))
        notes = tuple(map(str, record.pop("notes")))
        record |= {"folder": folder, "reused": True}
        return BuiltImage(**record, platforms=platforms, notes=notes)
    except FileNotFoundError as exc:
        raise ImageError(f"{folder} has no image that cloudburst has built") from exc
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
        raise ImageError(f"{path} cannot be read: {exc}") from exc


def _platform(record: Any) -> BuiltPlatform:
    layers = tuple(LayerSize(**one) for one in record.pop("layers"))
    packages = tuple((str(name), int(size)) for name, size in record.pop("packages"))
    return BuiltPlatform(**record, layers=layers, packages=packages)

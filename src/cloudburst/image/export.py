"""Copy of a finished image into a folder of the user."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from cloudburst.errors import ConfigurationError
from cloudburst.image.options import BuiltImage


def export_image(
    image: BuiltImage, folder: Path, check_cancelled: Callable[[], None] = lambda: None
) -> None:
    """Write the OCI image layout of an image into a folder that is empty or does not exist.

    Blocks. Nothing remains after an error. Raises `ConfigurationError` for any other folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder}: exists and is not an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for path in sorted(image.folder.rglob("*")):
            check_cancelled()
            target = temporary / path.relative_to(image.folder)
            if path.is_dir():
                target.mkdir(parents=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)  # no link: the cache stays as it is
        if folder.exists():
            folder.rmdir()  # empty; Windows does not replace it
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

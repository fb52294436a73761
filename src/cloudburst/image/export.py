"""Copy of a finished image into a folder of the user."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cloudburst.errors import ConfigurationError
from cloudburst.image.built_image import BuiltImage


def export_image(
    image: BuiltImage, folder: Path, check_cancelled: Callable[[], None] = lambda: None
) -> None:
    """Write the OCI image layout of an image into a folder that is empty or does not exist.

    Blocks. After an error nothing remains, except for a folder that existed before.
    ``index.json`` is written last, so that no program takes an incomplete layout for an image.

    Raises:
        ConfigurationError: The folder has files, or is a file.
        OSError: The folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder}: exists and is not an empty folder")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as name:
            temporary = Path(name)
            for path in sorted(image.folder.rglob("*")):
                check_cancelled()
                target = temporary / path.relative_to(image.folder)
                if path.is_dir():
                    target.mkdir(parents=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)  # no link: the cache stays as it is
            for path in sorted(temporary.iterdir(), key=lambda path: path.name == "index.json"):
                path.replace(folder / path.name)
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise

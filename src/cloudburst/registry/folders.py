"""Removal of folders with files that others have written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it exists, whose folders may be unwritable and nested without limit.

    `shutil.rmtree` is recursive, so that programs of the system remove what it leaves. Blocks.
    """
    if not folder.exists():
        return
    with suppress(OSError, RecursionError):
        shutil.rmtree(folder)
        return
    with suppress(OSError):  # the programs are missing
        if (
            sys.platform != "win32" and os.geteuid() != 0
        ):  # other users need permissions, even for their own files
            _run_quietly("chmod", "-R", "u+rwx", folder)
        _run_quietly("rm", "-rf", folder)


def _run_quietly(*command: str | Path) -> None:
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)

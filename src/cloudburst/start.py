"""Lighter start of this package's own programs: the command, and the render service."""

from __future__ import annotations

import gc
import os
import sys
from types import ModuleType


def lighten_start() -> None:
    """Import less in this process, and look for less garbage: 0.1 CPU seconds.

    It changes the process for all other code, so only a program may call it, before its imports.
    """
    # httpx has a command line of its own (click, pygments), and httpcore can run on trio.
    for absent in ("httpx._main", "trio"):
        sys.modules[absent] = None  # type: ignore[assignment]
    # The loader of pydantic's plugins reads the metadata of all installed packages, with email and
    # zipfile. uvicorn has a command line, with click and multiprocessing.
    loader, command = ModuleType("pydantic.plugin._loader"), ModuleType("uvicorn.main")
    loader.get_plugins = tuple  # type: ignore[attr-defined]
    command.__getattr__ = lambda _: None  # type: ignore[method-assign]
    sys.modules |= {module.__name__: module for module in (loader, command)}
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")
    # What an import makes is no garbage; from 700 objects on, Python would look through all of it.
    gc.set_threshold(50_000)

"""Lighter start of this package's own programs: the command, and the render service."""

from __future__ import annotations

import os
import sys
from types import ModuleType


def skip_needless_imports() -> None:
    """Keep libraries from importing what no program of this package uses: 0.1 CPU seconds each.

    It changes this process for all other code, so only a program may call it, before its imports.
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

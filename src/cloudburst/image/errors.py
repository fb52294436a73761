"""Translation of errors at the border of the image builder."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from cloudburst.errors import CloudburstError, ImageError
from cloudburst.net.registry.errors import RegistryError


@contextmanager
def translated(action: str) -> Generator[None]:
    """Raise `ImageError` for errors of the registry and of files; ``action`` says what failed."""
    try:
        yield
    except RegistryError as exc:
        raise ImageError(f"{action}: {exc}") from exc
    except OSError as exc:
        if isinstance(exc, CloudburstError):
            raise
        where = f"{exc.filename}: " if exc.filename else ""
        raise ImageError(f"{action}: {where}{exc.strerror or exc}") from exc

"""Translation of errors at the border of the image builder."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from cloudburst.errors import CloudburstError, ImageError
from cloudburst.registry import RegistryError


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


@contextmanager
def first_error() -> Generator[None]:
    """Raise the first expected error of a group of concurrent steps in place of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = _first(group)
        if error is not None:
            raise error from None
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the first error of a group if all are expected; others show a defect."""
    expected, others = group.split((CloudburstError, RegistryError, OSError))
    found: BaseException | None = None if others else expected
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    return found

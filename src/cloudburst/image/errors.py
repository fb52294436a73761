"""Translation of errors at the border of the image builder."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

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
        if isinstance(group, ExceptionGroup) and (error := _first(group)) is not None:
            raise error from None
        raise


def _first(error: BaseException) -> BaseException | None:
    """Return the first expected error, unless there is one that shows a defect."""
    if isinstance(error, BaseExceptionGroup):
        found = [_first(one) for one in error.exceptions]
        return None if None in found else found[0]
    return error if isinstance(error, (CloudburstError, RegistryError, OSError)) else None

"""Errors of registries and images."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast


class RegistryError(Exception):
    """Failure of a request to a registry, or an image that is not valid.

    Subclasses: `NotInRegistryError`, `LoginError`, `DigestError`, `RegistryUnavailableError`,
    `InvalidImageError`.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the registry's answer; 0 if there was no answer."""
        self.code = code
        """Error code of the distribution specification, such as ``NAME_UNKNOWN``; empty if the
        registry sent none."""


class NotInRegistryError(RegistryError):
    """A repository, manifest or blob that the registry does not have."""


class LoginError(RegistryError):
    """A login or a permission that the registry refuses."""


class DigestError(RegistryError):
    """Content that does not have the digest or size that was announced."""


class RegistryUnavailableError(RegistryError):
    """A registry that cannot be reached or answers with server errors, after all retries."""


class InvalidImageError(RegistryError):
    """A name, manifest, layer or layout folder that violates the OCI specifications or a limit."""


@contextmanager
def first_error(*expected: type[Exception]) -> Generator[None]:
    """Replace the exception group of concurrent steps by its first exception.

    `RegistryError` and the classes in ``expected`` are expected. Any other exception comes first,
    with the group as its cause, because it shows a defect, perhaps of the caller.
    """
    try:
        yield
    except ExceptionGroup as group:
        known: tuple[type[Exception], ...] = (RegistryError, *expected)
        _, defects = group.split(known)
        if defects is not None:
            raise _first(defects) from group
        raise _first(group) from None


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        nested = cast("ExceptionGroup[Exception]", error)
        error = next(iter(nested.exceptions))
    return error


def printable(text: str, length: int = 300) -> str:
    """Return a text of a registry without unprintable characters, cut to ``length`` characters."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[
        :length
    ]

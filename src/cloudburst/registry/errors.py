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
def first_error() -> Generator[None]:
    """Replace an exception group of concurrent transfers by its first `RegistryError`.

    Groups of other exceptions, such as ``KeyboardInterrupt``, are raised as they are.
    """
    try:
        yield
    except ExceptionGroup as group:
        found: BaseException | None = group.subgroup(RegistryError)
        if found is None:
            raise
        while isinstance(found, BaseExceptionGroup):
            found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
        raise found from None

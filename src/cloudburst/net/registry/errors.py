"""Errors of registries and images."""

from __future__ import annotations


class RegistryError(Exception):
    """Failure of a request to a registry, or an image that is not valid.

    Subclasses: `NotInRegistryError`, `LoginError`, `DigestError`, `RegistryUnavailableError`,
    `InvalidImageError`.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the registry's answer; 0 if there was no answer."""


class NotInRegistryError(RegistryError):
    """A repository, manifest or blob that the registry does not have."""


class LoginError(RegistryError):
    """A login or a permission that the registry refuses."""


class DigestError(RegistryError):
    """Content that does not have the digest that was announced."""


class RegistryUnavailableError(RegistryError):
    """A registry that cannot be reached or answers with server errors, after all retries."""


class InvalidImageError(RegistryError):
    """A name, manifest, layer or layout folder that violates the OCI specifications."""

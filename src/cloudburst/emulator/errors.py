"""Errors of the emulator: configuration errors, and errors that the emulated APIs return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class EmulatorError(RuntimeError):
    """Error that is raised if the emulator cannot start as configured, or cannot continue.

    The text has the form ``SETTING: VALUE; expected VALUE``.
    """


class ApiError(Exception):
    """Exception that the emulator returns to the caller of an API as an error response."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.more = dict(more or {})
        """Additional members of the error response, by name."""


def invalid_parameter(message: str) -> ApiError:
    """Return ECS's error for an invalid parameter, ``InvalidParameterException``."""
    return ApiError("InvalidParameterException", message)


def client_error(message: str) -> ApiError:
    """Return ECS's general error for an invalid request, ``ClientException``."""
    return ApiError("ClientException", message)

"""How the emulator refuses a call, in the words of AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RefusedError(Exception):
    """A call that AWS would not do."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.more = dict(more or {})
        """Further members of the error's shape."""


def invalid(message: str) -> RefusedError:
    """A parameter is wrong."""
    return RefusedError("InvalidParameterException", message)


def client_error(message: str) -> RefusedError:
    """ECS's word for most of what a caller did wrong."""
    return RefusedError("ClientException", message)

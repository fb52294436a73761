"""Reading AWS's answers, in which any member may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def member(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A structure inside another one; empty where it is not there."""
    found: Mapping[str, Any] | None = of.get(name)
    return found or {}


def listed(of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The structures of a list; none where it is not there."""
    found: list[Mapping[str, Any]] | None = of.get(name)
    return found or []

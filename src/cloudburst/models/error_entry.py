"""Entries for errors in the journal: class, message, remedy and keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from cloudburst import errors
from cloudburst.errors import CloudburstError, Remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEntry:
    """Entry for a `CloudburstError`, from which an equal error can be restored."""

    kind: str
    """Name of the error's class in `cloudburst.errors`."""
    message: str
    """Message of the error."""
    remedy: str
    """Value of the error's `Remedy`."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the error by name, as values that JSON can represent."""

    @classmethod
    def of(cls, error: CloudburstError) -> ErrorEntry:
        """Return the entry of an error."""
        kind = next(kind for kind in type(error).__mro__ if _public(kind.__name__) is kind)
        facts = {
            name: adapter.dump_python(getattr(error, name), mode="json")
            for name, adapter in _fields(kind.__name__).items()
        }
        return cls(kind=kind.__name__, message=str(error), remedy=error.remedy.value, facts=facts)

    def restore(self) -> CloudburstError:
        """Return an error that is equal to the original one.

        If the class or one of its attributes is unknown, because another version of cloudburst
        wrote the entry, return a `CloudburstError` whose message names the class.
        """
        kind = _public(self.kind)
        if kind is None:
            return CloudburstError(f"{self.kind}: {self.message}")
        try:
            facts = {
                name: adapter.validate_python(self.facts[name])
                for name, adapter in _fields(kind.__name__).items()
                if name in self.facts
            }
            remedy = Remedy(self.remedy)
        except (ValidationError, ValueError):
            return CloudburstError(f"{self.kind}: {self.message}")
        error = kind(self.message, **facts)
        if error.remedy is not remedy:
            error.remedy = remedy
        return error


def _public(name: str) -> type[CloudburstError] | None:
    kind = getattr(errors, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, CloudburstError) else None


@cache
def _fields(name: str) -> dict[str, TypeAdapter[Any]]:
    """Return the keyword arguments of an error class, each with a validator for its type."""
    kind = _public(name)
    assert kind is not None, "the name of an error's class"
    parameters = inspect.signature(kind.__init__).parameters.values()
    names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    hints = get_type_hints(kind.__init__) if names else {}
    return {each: TypeAdapter(hints[each]) for each in names}

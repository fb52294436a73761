"""Codes of problems, and the fix of each one, for programs and for people."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cloudburst import errors
from cloudburst.errors import CloudburstError, FaultCode, PublicCall
from cloudburst.text import short_repr, shorten

# Fixes of faults, of errors without ``Error`` at the end of their names, and of errors of HTTP.
FIXES: Mapping[str, str] = {
    "missing": "add the field",
    "no_file": "correct the location, or upload the file",
    "unreadable": "replace the file with one that a player opens",
    "wrong_type": "give a file or a value of the expected kind",
    "too_large": "make it smaller, or split it",
    "too_long": "shorten it, or split it",
    "out_of_range": "choose one of the expected values",
    "unknown_field": "correct the name of the field, or remove it",
    "duplicate_name": "give each scene a name of its own",
    "bad_name": "choose a name that can be a file name",
    "not_permitted": "use a permitted location, or upload the file",
    "no_font": "name a font with these characters in the option font, or install one",
    "contradiction": "remove one of the fields that exclude each other",
    "invalid": "correct the value",
    "invalid_scenes": "correct the faults, and try again",
    "output_exists": "use another name or folder, or overwrite the videos",
    "output_claimed": "wait for the other run, or use another folder",
    "busy": "wait for earlier scenes, or send fewer",
    "capacity": "try again later, or with another size of tasks",
    "throttled": "try again later",
    "no_answer": "try again later",
    "launch": "cloudburst doctor",
    "aws": "cloudburst doctor",
    "budget": "raise the budget (max_usd), and resume",
    "scene": "resume, which renders what is missing",
    "worker": "resume, which renders what is missing",
    "worker_unreachable": "cloudburst doctor",
    "encode": "correct the file that the message names, and resume",
    "render_failed": "resume, which renders what is missing",
    "output_write": "make room or give permission to write, and resume",
    "job_limit": "wait for jobs that run, or delete jobs and uploads",
    "job_storage": "make room on the disk of the server",
    "not_found": "look at the list of jobs or uploads",
    "unknown_job": "look at the list of jobs",
    "too_many_requests": "try again after the seconds in Retry-After",
}

# Codes by patterns of the types of pydantic's errors.
_CODES: Mapping[str, FaultCode] = {
    "^missing$": "missing",
    "^extra_forbidden$|^unexpected_keyword": "unknown_field",
    "_type$|_parsing$": "wrong_type",
    "too_long$": "too_long",
    "^(?:greater|less|literal|enum|finite)": "out_of_range",
}

# Parts of pydantic's descriptions of valid values that are left out, and words that are replaced.
_PROSE = re.compile(
    r"^\w+ (?:should (?:be|have)|is not) |^not |valid |, unable .*| (?:after|for <).*"
)
_WORDS = {
    "string": "text",
    "integer": "whole number",
    "tuple": "list",
    "dictionary": "mapping",
    "decimal": "number",
}


def code_of(kind: str) -> str:
    """Return the code of a class of errors by its name: ``job_limit`` for ``JobLimitError``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.removesuffix("Error")).lower()


def fix_of(kind: str) -> str:
    """Return the fix for a code or a class of errors; for a class, also that of its base class.

    It is a short sentence or a command, and empty if the message of the error says all.
    """
    bases: tuple[type, ...] = getattr(getattr(errors, kind, None), "__mro__", ())
    codes = map(code_of, (kind, *(base.__name__ for base in bases)))
    return next((FIXES[code] for code in codes if code in FIXES), "")


def fault_code(error: ErrorDetails) -> FaultCode:
    """Return the code for an error of pydantic in a field."""
    kind = error["type"]
    if kind == "value_error" and not error["loc"]:
        return "contradiction"  # a check of several fields
    for pattern, code in _CODES.items():
        if re.search(pattern, kind):
            return code
    return "invalid"


def describe_value(error: ErrorDetails, known: Collection[str] = ()) -> tuple[str, str]:
    """Return what a field has and what it may have, for an error of pydantic.

    ``known`` are the names of the fields beside it.
    """
    code, text = fault_code(error), error["msg"].removeprefix("Value error, ")
    found, parted, expected = text.partition("; expected ")
    if code == "unknown_field":
        return "an unknown field", name_like(str(error["loc"][-1]), known)
    if code == "missing":
        return "nothing", "a value"
    if not parted:
        found, expected = short_repr(error["input"]), text.removeprefix("expected ")
        if error["type"] != "value_error":
            words = _PROSE.sub("", expected).split(" ")
            expected = " ".join(_WORDS.get(word, word) for word in words)
    return found, expected


def check_arguments(
    model: Any, error_of: Callable[[ValidationError, Collection[str]], CloudburstError]
) -> None:
    """Let the constructor of a model or dataclass of pydantic raise our errors.

    ``error_of`` gets the error of pydantic and the names of the fields.
    """
    construct = model.__init__

    @wraps(construct)  # with the mark that makes pydantic not call it to validate
    def initialize(*args: Any, **fields: Any) -> None:
        with PublicCall():
            try:
                construct(*args, **fields)
            except ValidationError as exc:
                raise error_of(exc, model.__pydantic_fields__) from exc

    model.__init__ = initialize


def name_like(name: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """Return the known name that is most similar to another one, or all of them."""
    near = difflib.get_close_matches(shorten(name, 40), known, n=1, cutoff=cutoff)
    return near[0] if near else f"one of {', '.join(known)}"

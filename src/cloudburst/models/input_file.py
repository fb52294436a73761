"""Facts about input files of this machine, as the check before a run has found them. No I/O."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")
CHECK_RULES = 1
"""Version of the rules by which input files are checked. It is increased when a rule changes, so
that files that were checked by the earlier rules are checked again."""
MAX_PATH_CHARS = 500
"""Maximum length of a path for which a result is kept, so that the results of many files take a
bounded space."""


def _parse_path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not 1 < len(str(value)) <= MAX_PATH_CHARS:
        msg = f"expected a path of at most {MAX_PATH_CHARS} characters"
        raise ValueError(msg)
    return Path(value)


Count = Annotated[int, Field(ge=0, strict=True)]
KeptPath = Annotated[Path, PlainValidator(_parse_path), PlainSerializer(str)]
"""Type of a path, which need not be UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class InputFacts:
    """What the check has found out about a valid input file. The limits of a run do not matter."""

    kind: Literal["picture", "audio", "subtitles", "font"]
    """Kind as which the file was checked."""
    pixels: Count = 0
    """Number of pixels of a picture."""
    upright: bool = False
    """True for a picture that is taller than wide, as it is shown."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Length of audio in seconds; 0 for other files."""
    length_known: bool = True
    """True for a length from the header of the audio; false for one that is guessed from the size
    of the file."""
    characters: Annotated[str, Field(exclude=True)] = field(default="", compare=False)
    """Each visible character of subtitles, once. It is not kept for other processes."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class InputFileEntry:
    """Result of the check of one version of an input file, and the hash of its content."""

    path: KeptPath
    """Absolute path."""
    size: Count
    """Size of the file, in bytes."""
    mtime_ns: int
    """Time of the last change of the content, in nanoseconds since the Unix epoch."""
    ctime_ns: int
    """Time of the last change of the content or the status, in nanoseconds since the Unix epoch."""
    inode: Count
    """Number of the file in its file system."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the content, in hexadecimal."""
    facts: InputFacts
    rules: int = CHECK_RULES
    """Version of the rules by which the file was checked: see `CHECK_RULES`."""

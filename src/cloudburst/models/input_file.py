"""Facts about input files, as the check before a run has found them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# Version of the rules by which input files are checked, and of the form in which results are
# kept. It is increased when one of them changes, so that files are checked again.
CHECK_RULES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """What the check has found out about a valid input file. The limits of a run do not matter."""

    kind: Literal["picture", "audio", "subtitles", "font"]
    """Kind as which the file was checked."""
    pixels: int = 0
    """Number of pixels of a picture."""
    upright: bool = False
    """True for a picture that is taller than wide, as it is shown."""
    seconds: float = 0.0
    """Length of audio in seconds; 0 for other files."""
    length_known: bool = True
    """True for a length from the header of the audio; false for one that is guessed from the size
    of the file."""
    characters: str = field(default="", compare=False)
    """Each visible character of subtitles, once."""

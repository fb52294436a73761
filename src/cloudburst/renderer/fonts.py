"""Search for the font of subtitles.

It is that of the package noto-cjk-sans-otc and never one of the system, so that a scene has the
same line breaks and letters on every machine, and the client knows the characters of the font.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cloudburst.errors import ConfigurationError
from cloudburst.media.font_tables import FontTables, check_font, face_index
from cloudburst.media.input_error import InvalidInputError
from cloudburst.renderer.job import FONT, InputFaultError

FONT_PACKAGE = "noto_cjk_sans_otc"
"""Import name of the package that contains the font."""

_COLLECTION = "NotoSansCJK-Regular.ttc"
"""File in the package."""
_DEFAULT_FAMILY = "Noto Sans CJK SC"
_NARROW_FAMILY = "Noto Sans CJK KR"
"""Family with narrow quotation marks in the same collection."""


class Font(NamedTuple):
    """Font for subtitles, with Chinese characters and Latin letters."""

    path: Path
    face: int
    """Index of the face in the file; a ``.ttc`` file contains several faces."""
    narrow_quotes_face: int
    """Index of a face whose quotation marks “”‘’ are as narrow as Latin letters. In Chinese faces
    they are as wide as Chinese characters, which tears English words apart at each apostrophe. It
    equals ``face`` in a font file of a job."""
    is_input: bool = False
    """True if the file is an input of the job, which may be broken in any way."""


def find_font(*, package: str = FONT_PACKAGE, family: str | None = None) -> Font:
    """Return a family of the package's font, by default the one for simplified Chinese.

    Raises:
        ConfigurationError: The package is not installed, or has no such family.
    """
    # An import of the package would load importlib.resources, which takes longer than the search.
    spec = find_spec(package)
    family = family or _DEFAULT_FAMILY
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, _COLLECTION)
        with suppress(OSError), path.open("rb") as file:
            if (face := face_index(file, family)) is not None:
                return Font(path, face, face_index(file, _NARROW_FAMILY) or 0)
    raise ConfigurationError(f"no font {family} for subtitles: install cloudburst-sdk[local]")


def input_font(path: Path) -> Font:
    """Return the font in a font file of a job.

    Raises:
        InputFaultError: The file is not a font that can be used.
    """
    try:
        with path.open("rb") as file:
            check_font(file)
    except InvalidInputError as exc:
        raise InputFaultError(FONT, exc.found, exc.expected) from exc
    return Font(path, 0, 0, is_input=True)


def font_tables(path: Path, face: int) -> FontTables:
    """Return the tables of a face of a font file.

    Raises:
        ConfigurationError: The file cannot be read, or is not a font with a Unicode character map.
    """
    try:
        with path.open("rb") as file:
            return FontTables(file, face)
    except (OSError, InvalidInputError) as error:
        msg = f"the font {path} cannot be read: {error}"
        raise ConfigurationError(msg) from error

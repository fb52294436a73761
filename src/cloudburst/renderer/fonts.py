"""Fonts of a job: families of the package noto-cjk-sans-otc, and files that the client has sent.

Fonts of the worker's system are not used, so that a scene looks the same on every machine, and the
client knows its characters.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cloudburst.errors import ConfigurationError
from cloudburst.media.font_tables import FontTables, check_font, face_index
from cloudburst.media.input_error import InvalidInputError
from cloudburst.renderer.job import FONT, InputFaultError

# Import name of the package that contains the font.
FONT_PACKAGE = "noto_cjk_sans_otc"

# File in the package noto-cjk-sans-otc 0.0.1, and its SHA-256.
_COLLECTION = "NotoSansCJK-Regular.ttc"
FONT_SHA256 = "b76b0433203017ca80401b2ee0dd69350349871c4b19d504c34dbdd80541690a"
# Families in the same collection. The Korean one has narrow quotation marks.
_DEFAULT_FAMILY = "Noto Sans CJK SC"
_JAPANESE_FAMILY, _KOREAN_FAMILY = "Noto Sans CJK JP", "Noto Sans CJK KR"


class Font(NamedTuple):
    """Font for subtitles and title cards."""

    path: Path
    face: int
    """Index of the face in the file; a ``.ttc`` file has several."""
    narrow_quotes_face: int
    """Index of a face whose quotation marks “”‘’ are as narrow as Latin letters. In Chinese faces
    they are so wide that they tear English words apart. It equals ``face`` in a font file of a job.
    """
    japanese_face: int = 0
    """Index of a face for Japanese texts."""
    korean_face: int = 0
    """Index of a face for Korean texts."""
    is_input: bool = False
    """True if the file is an input, and may be broken."""


def find_font(family: str = _DEFAULT_FAMILY, *, package: str = FONT_PACKAGE) -> Font:
    """Return a family of the package's font.

    Raises `ConfigurationError` if the package, or this family in it, is missing.
    """
    # An import of the package would load importlib.resources, which takes longer than the search.
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, _COLLECTION)
        with suppress(OSError), path.open("rb") as file:
            if (face := face_index(file, family)) is not None:
                korean = face_index(file, _KOREAN_FAMILY) or 0
                if family == _DEFAULT_FAMILY:
                    return Font(path, face, korean, face_index(file, _JAPANESE_FAMILY) or 0, korean)
                return Font(path, face, korean, face, face)
    raise ConfigurationError(f"no font {family} for subtitles: install cloudburst-sdk[local]")


@cache  # each preview would hash 19 MB
def check_font_package() -> None:
    """Raise `ConfigurationError` if the package's font is missing, or is another file."""
    path = find_font().path
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != FONT_SHA256:
        msg = f"{path} is not the font that this version expects (SHA-256 {found}); expected "
        msg += f"{FONT_SHA256}: pip install --force-reinstall noto-cjk-sans-otc==0.0.1"
        raise ConfigurationError(msg)


def load_font(folder: Path, name: str) -> Font:
    """Return a font of a job: a file in its folder, or a family of the package.

    Raises:
        InputFaultError: The file cannot be used.
        ConfigurationError: The package is missing.
    """
    path = folder / name
    if not path.exists():
        return find_font(name)
    try:
        with path.open("rb") as file:
            check_font(file)
    except InvalidInputError as exc:
        raise InputFaultError(FONT, exc.found, exc.expected) from exc
    return Font(path, 0, 0, is_input=True)


def font_tables(path: Path, face: int) -> FontTables:
    """Return the tables of a face of a font file; raise `ConfigurationError` if it is broken."""
    try:
        with path.open("rb") as file:
            return FontTables(file, face)
    except (OSError, InvalidInputError) as error:
        msg = f"the font {path} cannot be read: {error}"
        raise ConfigurationError(msg) from error

"""Search for the font of subtitles.

The font of the package noto-cjk-sans-otc comes first, before fonts of the system: with it, a scene
has the same line breaks and letters on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cloudburst.errors import ConfigurationError
from cloudburst.models.font_tables import FontTables, check_font, face_index
from cloudburst.models.input_error import InvalidInputError
from cloudburst.renderer.job import FONT, InputFaultError

FONT_PACKAGE = "noto_cjk_sans_otc"
"""Import name of the package that contains the font."""

_FONTS = (
    ("NotoSansCJK-Regular.ttc", "Noto Sans CJK SC"),
    ("NotoSansCJKsc-Regular.otf", "Noto Sans CJK SC"),
    ("NotoSansSC-Regular.otf", "Noto Sans SC"),
    ("SourceHanSansSC-Regular.otf", "Source Han Sans SC"),
    ("wqy-microhei.ttc", "WenQuanYi Micro Hei"),
    ("wqy-zenhei.ttc", "WenQuanYi Zen Hei"),
    ("Hiragino Sans GB.ttc", "Hiragino Sans GB"),
)
"""File name and family name of fonts with Chinese characters, the best first."""

_NARROW_QUOTES = {
    "Noto Sans CJK SC": "Noto Sans CJK KR",
    "Noto Sans CJK TC": "Noto Sans CJK KR",
    "Noto Sans CJK HK": "Noto Sans CJK KR",
    "Noto Sans CJK JP": "Noto Sans CJK KR",
}
"""Families with narrow quotation marks in the same collection, for each Chinese family."""

_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
)


class Font(NamedTuple):
    """Font for subtitles, with Chinese characters and Latin letters."""

    path: Path
    face: int
    """Index of the face in the file; a ``.ttc`` file contains several faces."""
    family: str
    narrow_quotes_face: int
    """Index of a face whose quotation marks “”‘’ are as narrow as Latin letters. In Chinese faces
    they are as wide as Chinese characters, which tears English words apart at each apostrophe. It
    equals ``face`` if the file has no such face."""
    is_input: bool = False
    """True if the file is an input of the job, which may be broken in any way."""


def find_font(
    folders: Sequence[str | Path] = _FONT_FOLDERS,
    *,
    package: str = FONT_PACKAGE,
    family: str | None = None,
) -> Font:
    """Return the font of the package, else the best installed font of the system.

    A file without a face of the expected family is skipped. With a ``family``, only a font of this
    family is returned.

    Raises:
        ConfigurationError: no font was found; Chinese text would show as empty boxes.
    """
    collection, default = _FONTS[0]
    for folder in _package_folders(package):
        if font := _font(folder / collection, family or default):
            return font
    files = {
        file.name: file for folder in folders for file in sorted(Path(folder).rglob("*.[ot]t[cf]"))
    }
    for name, known in _FONTS if family is None else ((collection, family),):
        if name in files and (font := _font(files[name], known)):
            return font
    missing = "no font with Chinese letters" if family is None else f"no font {family}"
    msg = f"{missing}: install cloudburst-sdk[local], or fonts-noto-cjk"
    raise ConfigurationError(msg)


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
    return Font(path, 0, "", 0, is_input=True)


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


def _package_folders(package: str) -> Sequence[Path]:
    """Return the folders of an installed package, without an import of the package.

    The import would load importlib.resources, which takes longer than the search.
    """
    spec = find_spec(package)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _font(path: Path, family: str) -> Font | None:
    try:
        with path.open("rb") as file:
            index = face_index(file, family)
            narrow = face_index(file, _NARROW_QUOTES.get(family, family))
    except OSError:
        return None
    if index is None:
        return None
    return Font(path, index, family, index if narrow is None else narrow)

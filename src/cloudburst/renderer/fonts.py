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
from cloudburst.renderer.font_tables import face_index

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

_NARROW_QUOTES = {"Noto Sans CJK SC": "Noto Sans CJK KR"}
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


def find_font(
    folders: Sequence[str | Path] = _FONT_FOLDERS, *, package: str = FONT_PACKAGE
) -> Font:
    """Return the font of the package, else the best installed font of the system.

    A file without a face of the expected family is skipped.

    Raises:
        ConfigurationError: no font was found; Chinese text would show as empty boxes.
    """
    name, family = _FONTS[0]
    for folder in _package_folders(package):
        if font := _font(folder / name, family):
            return font
    files = {
        file.name: file for folder in folders for file in sorted(Path(folder).rglob("*.[ot]t[cf]"))
    }
    for name, family in _FONTS:
        if name in files and (font := _font(files[name], family)):
            return font
    msg = "no font with Chinese letters: install cloudburst-sdk[local], or fonts-noto-cjk"
    raise ConfigurationError(msg)


def _package_folders(package: str) -> Sequence[Path]:
    """Return the folders of an installed package, without an import of the package.

    The import would load importlib.resources, which takes longer than the search.
    """
    spec = find_spec(package)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _font(path: Path, family: str) -> Font | None:
    index = face_index(path, family)
    if index is None:
        return None
    narrow = face_index(path, _NARROW_QUOTES.get(family, family))
    return Font(path, index, family, index if narrow is None else narrow)

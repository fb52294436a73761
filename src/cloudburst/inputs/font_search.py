"""Search on this machine for fonts with the characters that the fonts of a scene lack.

The fonts that are found become inputs of the scene, so that every worker draws the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from unicodedata import category, name

from cloudburst.errors import ConfigurationError
from cloudburst.files import open_regular_file
from cloudburst.media.font_tables import FontTables, check_font, noto_has_glyph
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.locations import AnyLocation
from cloudburst.models.options.subtitles import MAX_FONTS
from cloudburst.renderer.missing_glyphs import HasGlyph, may_be_emoji

# Number of font files of this machine that are looked at. Usual machines have 50 to 1,000; to read
# the characters of 300 takes 0.06 CPU seconds and 3 MB.
MAX_FILES = 4_000
# Number of characters of a scene for which all files are looked at. One search finds a font for all
# letters of a script, so more are needed only for characters that no font has.
MAX_SEARCHES = 100

_SUFFIXES = (".ttf", ".otf", ".ttc")
_STYLED = re.compile("bold|black|light|thin|italic|oblique|slanted|condensed|mono")


class FontSearch:
    """Search among the fonts that a machine has at the moment.

    ``own_folder`` returns the folder of the setting ``fonts``, whose fonts come first.
    """

    def __init__(self, own_folder: Callable[[], Path | None]) -> None:
        self._own_folder = cache(lambda: (folder := own_folder()) and folder.absolute())
        self._files = cache(lambda: [*_font_files(self._own_folder())])
        self._find = cache(self._find_font)
        # Fonts of callers, each of which may take 32 MB of memory, are not kept.
        self._glyphs_at = lru_cache(MAX_FONTS)(_glyphs_at)

    def complete(
        self, fonts: Iterable[str | AnyLocation], characters: Iterable[str]
    ) -> tuple[list[FileVersion], HasGlyph]:
        """Return fonts of this machine that add to a scene's fonts what they lack.

        Also return the function that finds out whether one of all these fonts has a glyph. If only
        the worker can read one of them, it may have any glyph.

        Raises `ConfigurationError` if the folder of the setting does not exist.
        """
        chain = [
            noto_has_glyph if isinstance(font, str) else self._glyphs_at(font) for font in fonts
        ]
        known, found = [has for has in chain if has is not None], list[FileVersion]()

        def has_glyph(character: str) -> bool:
            return any(has(character) for has in known)

        seen = (each for each in characters if category(each)[0] in "LMNPS")
        missing = (each for each in seen if not has_glyph(each))
        for character in islice(missing, MAX_SEARCHES):
            if (font := self._find(character)) is not None:
                file, glyphs = font
                found.append(file)
                known.append(glyphs)
        return found, (lambda _: True) if None in chain else has_glyph

    def _find_font(self, character: str) -> tuple[FileVersion, HasGlyph] | None:
        for file in sorted(self._files(), key=_rank_for(character, self._own_folder())):
            glyphs = _glyphs(file)
            if glyphs is not None and glyphs(character) and _is_usable(file):
                return file, glyphs
        return None


def _glyphs_at(font: AnyLocation) -> HasGlyph | None:
    with suppress(OSError, InvalidInputError):
        if isinstance(font, Path):
            with open_regular_file(font) as file:
                return FontTables(file).has_glyph
    return None


@lru_cache(MAX_FILES)
def _glyphs(font: FileVersion) -> HasGlyph | None:
    return _glyphs_at(font.path)


def _is_usable(font: FileVersion) -> bool:
    with suppress(OSError, InvalidInputError), open_regular_file(font.path) as file:
        check_font(file)
        return True
    return False


def _font_files(own_folder: Path | None) -> Iterator[FileVersion]:
    if own_folder is not None and not own_folder.is_dir():
        raise ConfigurationError(f"CLOUDBURST_FONTS: no such folder: {own_folder}")
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    data_folders = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = (
        *([str(own_folder)] if own_folder is not None else []),
        *(f"{folder}/fonts" for folder in (data_home, *data_folders.split(":")) if folder),
        *("~/.fonts", "~/Library/Fonts", "/Library/Fonts", "/System/Library/Fonts"),
        f"{os.environ.get('LOCALAPPDATA', '')}/Microsoft/Windows/Fonts",
        f"{os.environ.get('WINDIR', '')}/Fonts",
    )
    files = (
        Path(folder, file)
        for root in folders
        for folder, _, names in os.walk(os.path.expanduser(root))  # noqa: PTH111 - raises nothing
        for file in names
        if file.lower().endswith(_SUFFIXES)
    )
    for path in islice(files, MAX_FILES):
        with suppress(OSError):  # a link to nothing
            yield FileVersion.from_path(path)


def _rank_for(character: str, own_folder: Path | None) -> Callable[[FileVersion], Any]:
    """Return the key of the order in which fonts are tried for a character."""
    word = "emoji" if may_be_emoji(character) else name(character, "").partition(" ")[0]
    script = re.sub("[^a-z]", "", word.lower())

    def rank(font: FileVersion) -> Any:
        path = font.path
        stem = re.sub("[^a-z]", "", path.stem.lower())
        return (
            own_folder not in path.parents,
            not stem.startswith(f"notosans{script}"),
            not (stem.startswith("noto") and script in stem),
            script not in stem,
            _STYLED.search(stem) is not None,
            not stem.startswith("notosans"),
            len(stem),
            path.as_posix(),
        )

    return rank

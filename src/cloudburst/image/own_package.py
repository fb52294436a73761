"""This package as entries of a layer: what the render service needs of the installed files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from cloudburst.errors import ImageError
from cloudburst.image.entries import Entry, bytes_entry, text_entry
from cloudburst.image.trim import OWN_NAME, is_unused
from cloudburst.safe_files import read_regular_file
from cloudburst.text import printable_line
from cloudburst.version import DISTRIBUTION, PACKAGE_VERSION

PACKAGE = Path(__file__).parents[1]
"""Folder of the package cloudburst."""
LICENCES = Path(__file__).with_name("licenses")
LICENCE_FOLDER = "usr/share/licenses/cloudburst"
LICENCE = "MIT AND GPL-3.0-or-later AND OFL-1.1"
"""Licences of the image: ours, that of FFmpeg with x264 and x265, and that of the font."""
MAX_FILE_BYTES = 16 * 1024**2
"""Maximum size of one of our files. The largest, the notices of licences, has 71 kB."""
_LIBRARIES = f"{OWN_NAME}/renderer/kernel/libs/"


def own_entries(site_packages: str, kernels: Sequence[Path]) -> tuple[Entry, ...]:
    """Return the files of this package with the kernels, its metadata and all licences; blocks.

    Raises:
        ImageError: a file cannot be read.
    """
    try:
        sources = [
            bytes_entry(f"{site_packages}/{name}", _read(path)) for name, path in needed_files()
        ]
        libraries = [
            bytes_entry(f"{site_packages}/{_LIBRARIES}{path.name}", _read(path), 0o755)
            for path in kernels
        ]
        licences = [
            bytes_entry(f"{LICENCE_FOLDER}/{path.name}", _read(path))
            for path in sorted(LICENCES.iterdir())
            if path.is_file()
        ]
        licences.append(bytes_entry(f"{LICENCE_FOLDER}/LICENSE", _read(_own_licence())))
    except OSError as exc:
        raise ImageError(f"this installation is not complete: {exc}") from exc
    return (*sources, *libraries, *licences, *_metadata(site_packages))


def _read(path: Path) -> bytes:
    return read_regular_file(path, limit=MAX_FILE_BYTES)


def _metadata(site_packages: str) -> Iterator[Entry]:
    """Yield the metadata by which Python finds the version. It is the same from a checkout."""
    folder = f"{site_packages}/{DISTRIBUTION.replace('-', '_')}-{PACKAGE_VERSION}.dist-info"
    lines = ("Metadata-Version: 2.4", f"Name: {DISTRIBUTION}", f"Version: {PACKAGE_VERSION}")
    yield text_entry(f"{folder}/METADATA", "\n".join([*lines, "License-Expression: MIT", ""]))
    yield text_entry(f"{folder}/INSTALLER", "cloudburst\n")


def _own_licence() -> Path:
    """Return the path of this package's licence, in a checkout or in an installation."""
    checkout = PACKAGE.parents[1] / "LICENSE"
    if checkout.is_file():
        return checkout
    files = distribution(DISTRIBUTION).files or []
    found = [file for file in files if file.parts[-2:] == ("licenses", "LICENSE")]
    return Path(str(found[0].locate())) if found else checkout


def needed_files() -> Iterator[tuple[str, Path]]:
    """Yield the files of this package that the render service needs, without the kernels."""
    for name, path in installed_files():
        if not (is_unused(name) or name.startswith(_LIBRARIES)):
            yield name, path


def installed_files() -> list[tuple[str, Path]]:
    """Return the files of this package, as ``cloudburst/…`` and as path, sorted.

    They are those of the installation's RECORD, so that files from elsewhere are not included. An
    editable installation's RECORD does not list them; they are in the folder then.
    """
    if listed := _recorded():
        return sorted(listed)
    return sorted(
        (f"{OWN_NAME}/{path.relative_to(PACKAGE).as_posix()}", path)
        for path in PACKAGE.rglob("*")
        if path.is_file()
    )


def _recorded() -> list[tuple[str, Path]]:
    """Return the files that the RECORD lists, or none if it is that of another folder."""
    try:
        files = distribution(DISTRIBUTION).files or []
    except PackageNotFoundError:
        return []
    found = [
        (file.as_posix(), Path(str(file.locate())))
        for file in files
        if file.parts[:1] == (OWN_NAME,) and file.suffix != ".pyc"
    ]
    for name, _ in found:
        if ".." in PurePosixPath(name).parts or not name.isprintable():
            msg = f"the RECORD of this installation lists {printable_line(name, 100)}"
            raise ImageError(f"{msg}, which is outside the package: install cloudburst again")
    module = dict(found).get(f"{OWN_NAME}/__init__.py")
    same = module is not None and module.is_file() and module.samefile(PACKAGE / "__init__.py")
    return found if same else []

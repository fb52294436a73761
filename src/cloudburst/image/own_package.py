"""This package as entries of a layer: what the render service needs of the installed files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path

from cloudburst.image.entries import LICENCE_FOLDER, Entry, text_entry
from cloudburst.image.options import LOCK_FILE
from cloudburst.image.trim import OWN_NAME, is_unused
from cloudburst.image.version import DISTRIBUTION, PACKAGE_VERSION

PACKAGE = Path(__file__).parents[1]
LICENCES = Path(__file__).with_name("licenses")
# Ours, that of FFmpeg with x264 and x265, and that of the font.
LICENCE = "MIT AND GPL-3.0-or-later AND OFL-1.1"
# Annotation of the index of an image with the hash of its sources.
SOURCES_ANNOTATION = "cloudburst.sources"
_LIBRARIES = f"{OWN_NAME}/renderer/kernel/libs/"


def own_entries(site_packages: str, kernels: Sequence[Path]) -> tuple[Entry, ...]:
    """Return the files of this package with kernels, metadata and all licences; blocks."""
    info = f"{site_packages}/{DISTRIBUTION.replace('-', '_')}-{PACKAGE_VERSION}.dist-info"
    metadata = (
        f"Metadata-Version: 2.4\nName: {DISTRIBUTION}\nVersion: {PACKAGE_VERSION}\n"
        "License-Expression: MIT\n"
    )
    licence = distribution(DISTRIBUTION).read_text("licenses/LICENSE") or ""
    return (
        *(_entry(f"{site_packages}/{name}", path) for name, path in needed_files()),
        *(_entry(f"{site_packages}/{_LIBRARIES}{path.name}", path, 0o755) for path in kernels),
        *(_entry(f"{LICENCE_FOLDER}/{path.name}", path) for path in sorted(LICENCES.iterdir())),
        text_entry(f"{LICENCE_FOLDER}/LICENSE", licence),
        # By this, Python finds the version. It is the same from a checkout and from a wheel.
        text_entry(f"{info}/METADATA", metadata),
        text_entry(f"{info}/INSTALLER", "cloudburst\n"),
    )


def _entry(path: str, file: Path, mode: int = 0o644) -> Entry:
    return Entry(path=path, data=file.read_bytes(), mode=mode)


def needed_files() -> Iterator[tuple[str, Path]]:
    """Yield the files of this package that the render service needs, without the kernels."""
    for path in sorted(PACKAGE.rglob("*")):
        name = f"{OWN_NAME}/{path.relative_to(PACKAGE).as_posix()}"
        if path.is_file() and not is_unused(name) and not name.startswith(_LIBRARIES):
            yield name, path


def sources_hash() -> str:
    """Return the SHA-256 of what an image is built from, beside base and bytecode; blocks."""
    found = hashlib.sha256(f"{PACKAGE_VERSION} {builder_hash()}".encode())
    for name, path in (*needed_files(), ("lock", LOCK_FILE)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{name} {content}\n".encode())
    return found.hexdigest()


def builder_hash() -> str:
    """Return the SHA-256 of the image builder, whose layers the cache has; blocks."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()

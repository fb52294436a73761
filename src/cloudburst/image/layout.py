"""The finished image as an OCI image layout folder, and what is recorded about it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cloudburst.image.built_image import RECORD, BuiltImage, BuiltPlatform, LayerSize
from cloudburst.image.bytecode import Compiler
from cloudburst.image.cache import (
    MAX_RECORD_BYTES,
    PART,
    ImageCache,
    link_or_copy,
    write_file,
)
from cloudburst.image.layer_builder import BuiltLayers
from cloudburst.image.locked_packages import PYTHON
from cloudburst.image.manifests import (
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    attestation_config,
    attestation_manifest,
    canonical,
    described,
    image_config,
    image_index,
    image_manifest,
    labels,
)
from cloudburst.image.sbom import PREDICATE, image_components, statement
from cloudburst.image.sources_hash import SOURCES_ANNOTATION, sources_hash
from cloudburst.models.task import PROTOCOL_VERSION
from cloudburst.registry import Descriptor, Platform
from cloudburst.registry.blob_files import file_digest
from cloudburst.registry.documents import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from cloudburst.safe_files import read_regular_file
from cloudburst.version import PACKAGE_VERSION

UNKNOWN_PLATFORM = Platform("unknown", "unknown")
"""Platform of statements in an index, by which container engines ignore them."""
NO_BYTECODE = (
    f"There is no Python {PYTHON} on this machine, so the image has no bytecode: each render "
    f"starts slower. Install it, for example with uv python install {PYTHON}, and build again."
)
"""Note about an image that was built without a suitable interpreter."""


def write_image(
    cache: ImageCache, built: Sequence[BuiltLayers], compiler: Compiler | None
) -> BuiltImage:
    """Write manifests and index, and return the image in a folder of the cache; blocks."""
    writer = _Writer(cache, compiler)
    platforms = tuple(map(writer.add_platform, built))
    image_labels = labels(built[0].base.reference, compiler)
    index = writer.add_index({SOURCES_ANNOTATION: sources_hash(), **image_labels})
    folder = cache.images / index.digest.removeprefix("sha256:")
    image = BuiltImage(
        folder=folder,
        digest=index.digest,
        base=str(built[0].base.reference),
        platforms=platforms,
        version=PACKAGE_VERSION,
        protocol_version=PROTOCOL_VERSION,
        labels=image_labels,
        notes=() if compiler else (NO_BYTECODE,),
        reused=folder.is_dir(),
    )
    if image.reused:
        _write_layout(cache, folder, index, writer.blobs, image)
    else:
        _write_new_layout(cache, folder, index, writer.blobs, image)
    cache.mark_used(folder)
    return image


class _Writer:
    """Writer of the documents of an image into the cache."""

    def __init__(self, cache: ImageCache, compiler: Compiler | None) -> None:
        self._cache = cache
        self._compiler = compiler
        self._manifests = list[Descriptor]()
        self._statements = list[Descriptor]()
        self.blobs = set[str]()
        """Digests of all blobs of the image."""

    def add_platform(self, built: BuiltLayers) -> BuiltPlatform:
        """Write configuration, manifest and bill of materials of one architecture."""
        base, name = built.base, built.architecture
        config = image_config(base, name, built.layers, labels(base.reference, self._compiler))
        manifest = image_manifest(self._add(OCI_CONFIG, config), base, built.layers)
        descriptor = self._add(OCI_MANIFEST, manifest)
        self.blobs.update(one.digest for one in base.layers)
        self.blobs.update(one.digest for one in built.layers)
        self._manifests.append(replace(descriptor, platform=Platform(name)))
        self._add_statement(descriptor, built)
        return BuiltPlatform(
            architecture=name,
            digest=descriptor.digest,
            layers=tuple(_layer_sizes(built)),
            packages=tuple(_package_sizes(built)),
        )

    def _add_statement(self, image: Descriptor, built: BuiltLayers) -> None:
        components = image_components(built.base, built.wheels)
        made = statement(image.digest, built.architecture, components)
        blob = self._add(OCI_CONFIG, made)
        config = self._add(OCI_CONFIG, attestation_config(blob.digest))
        manifest = self._add(OCI_MANIFEST, attestation_manifest(config, blob, PREDICATE))
        annotations = {
            REFERENCE_TYPE: "attestation-manifest",
            REFERENCE_DIGEST: image.digest,
        }
        self._statements.append(
            replace(manifest, platform=UNKNOWN_PLATFORM, annotations=annotations)
        )

    def add_index(self, annotations: Mapping[str, str]) -> Descriptor:
        """Write the index of all architectures.

        Its annotations show, without reading a configuration, whose image it is and from which
        sources.
        """
        index = image_index([*self._manifests, *self._statements], annotations)
        return self._add(OCI_INDEX, index)

    def _add(self, media_type: str, value: object) -> Descriptor:
        data = canonical(value)
        digest = self._cache.add_data(data)
        self.blobs.add(digest)
        return Descriptor(media_type, digest, len(data))


def _layer_sizes(built: BuiltLayers) -> Iterable[LayerSize]:
    number = len(built.base.layers)
    for place, layer in enumerate(built.base.layers, 1):
        name = "base" if number == 1 else f"base {place}/{number}"
        yield LayerSize(name=name, digest=layer.digest, size=layer.size)
    for made in built.layers:
        yield LayerSize(
            name=made.name, digest=made.digest, size=made.size, unpacked_size=made.unpacked_size
        )


def _package_sizes(built: BuiltLayers) -> list[tuple[str, int]]:
    """Return the share of each package in the size of its layers, the largest first."""
    sizes = dict.fromkeys((wheel.name for wheel in built.wheels), 0.0)
    packed = {wheel.name: wheel.packed_size for wheel in built.wheels}
    for part, layer in zip(built.parts, built.layers[1:-1], strict=True):
        total = sum(packed[name] for name in part.wheels) or 1
        for name in part.wheels:
            sizes[name] += layer.size * packed[name] / total
    return sorted(((name, round(size)) for name, size in sizes.items()), key=lambda one: -one[1])


def _write_new_layout(
    cache: ImageCache, folder: Path, index: Descriptor, blobs: Iterable[str], image: BuiltImage
) -> None:
    temporary = cache.images / f"{secrets.token_hex(8)}{PART}"
    try:
        _write_layout(cache, temporary, index, blobs, image)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_layout(
    cache: ImageCache, folder: Path, index: Descriptor, blobs: Iterable[str], image: BuiltImage
) -> None:
    """Write the files of an image that the folder lacks, or that are damaged there."""
    target = folder / "blobs" / "sha256"
    target.mkdir(parents=True, exist_ok=True)
    for digest in sorted(blobs):
        path = cache.blob_path(digest)
        if not _has_blob(target / path.name, path, digest):
            link_or_copy(path, target / path.name)
    reference = {"org.opencontainers.image.ref.name": PACKAGE_VERSION}
    entry = described(index) | {"annotations": reference}
    listed: dict[str, Any] = {"schemaVersion": 2, "manifests": [entry]}
    record = asdict(image) | {"folder": "", "reused": False}
    files = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": listed, RECORD: record}
    for name, value in files.items():
        if _content(folder / name) != (data := canonical(value)):
            write_file(folder / name, data)


def _has_blob(path: Path, cached: Path, digest: str) -> bool:
    """Return whether a file of an image is the undamaged one of the cache, or equal to it."""
    with suppress(FileNotFoundError):
        return path.samefile(cached) or file_digest(path) == digest
    return False


def _content(path: Path) -> bytes | None:
    try:
        return read_regular_file(path, limit=MAX_RECORD_BYTES)
    except OSError:
        return None

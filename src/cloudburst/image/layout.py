"""The finished image as an OCI image layout folder, and what is recorded about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cloudburst.image.base_image import BaseImage
from cloudburst.image.built_image import RECORD, RECORDS, BuiltImage, BuiltPlatform, LayerSize
from cloudburst.image.bytecode import Compiler
from cloudburst.image.cache import ImageCache, move
from cloudburst.image.layers import Layer
from cloudburst.image.manifests import (
    canonical,
    described,
    image_config,
    image_index,
    image_manifest,
    labels,
)
from cloudburst.image.options import PYTHON, Architecture
from cloudburst.image.own_package import SOURCES_ANNOTATION, sources_hash
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.image.wheels import Wheel
from cloudburst.net.registry.documents import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Platform,
)

REFERENCE_NAME = "org.opencontainers.image.ref.name"
NO_BYTECODE = (
    f"There is no Python {PYTHON} on this machine, so the image has no bytecode: each render "
    f"starts slower. Install it, for example with uv python install {PYTHON}, and build again."
)
"""Note about an image that was built without a suitable interpreter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLayers:
    """Layers of one architecture above its base image."""

    architecture: Architecture
    base: BaseImage
    layers: tuple[Layer, ...]
    """Layers in the order of the image, without those of the base."""
    wheels: tuple[Wheel, ...]


def write_image(
    cache: ImageCache, built: Sequence[BuiltLayers], compiler: Compiler | None
) -> BuiltImage:
    """Write manifests and index, and return the image in a folder of the cache; blocks."""
    base = built[0].base.reference
    image_labels = labels(base, compiler)
    documents = _Documents(cache)
    manifests = [documents.add_manifest(one, image_labels) for one in built]
    # The annotations show, without reading a configuration, whose image it is and its sources.
    index = image_index(manifests, {SOURCES_ANNOTATION: sources_hash(), **image_labels})
    root = documents.add(OCI_INDEX, index)
    folder = cache.images / root.digest.removeprefix("sha256:")
    image = BuiltImage(
        folder=folder,
        digest=root.digest,
        base=str(base),
        platforms=tuple(map(_platform, built, manifests)),
        version=PACKAGE_VERSION,
        labels=image_labels,
        notes=() if compiler else (NO_BYTECODE,),
        reused=(folder / RECORD).is_file(),
    )
    layers = {layer.digest for one in image.platforms for layer in one.layers}
    for digest in sorted(layers | documents.digests):
        _link(cache, cache.blob_path(digest), folder)
    entry = described(root) | {"annotations": {REFERENCE_NAME: PACKAGE_VERSION}}
    cache.write(folder / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
    cache.write(folder / "index.json", canonical({"schemaVersion": 2, "manifests": [entry]}))
    cache.write(folder / RECORD, RECORDS.dump_json(image))
    return image


class _Documents:
    """Manifests and other documents of an image, which are written into the cache."""

    def __init__(self, cache: ImageCache) -> None:
        self._cache = cache
        self.digests = set[str]()

    def add(self, media_type: str, value: object) -> Descriptor:
        """Write a document."""
        data = canonical(value)
        digest = self._cache.add_data(data)
        self.digests.add(digest)
        return Descriptor(media_type, digest, len(data))

    def add_manifest(self, built: BuiltLayers, image_labels: Mapping[str, str]) -> Descriptor:
        """Write configuration and manifest of one architecture."""
        config = image_config(built.base, built.architecture, built.layers, image_labels)
        manifest = image_manifest(self.add(OCI_CONFIG, config), built.base, built.layers)
        return replace(self.add(OCI_MANIFEST, manifest), platform=Platform(built.architecture))


def _link(cache: ImageCache, blob: Path, folder: Path) -> None:
    """Give a blob a second name in an image, or copy it where the system has no hard links."""
    target = folder / "blobs" / "sha256" / blob.name
    if target.exists() and target.samefile(blob):
        return
    with cache.temporary_folder() as temporary:
        try:
            os.link(blob, temporary / blob.name)
        except OSError:
            shutil.copyfile(blob, temporary / blob.name)
        move(temporary / blob.name, target)


def _platform(built: BuiltLayers, manifest: Descriptor) -> BuiltPlatform:
    packages = ((wheel.name, wheel.size) for wheel in built.wheels)
    return BuiltPlatform(
        architecture=built.architecture,
        digest=manifest.digest,
        layers=tuple(_layer_sizes(built)),
        packages=tuple(sorted(packages, key=lambda one: -one[1])),
    )


def _layer_sizes(built: BuiltLayers) -> Iterator[LayerSize]:
    of_base = built.base.pulled.manifest.layers
    for place, one in enumerate(of_base, 1):
        name = "base" if len(of_base) == 1 else f"base {place}/{len(of_base)}"
        yield LayerSize(name=name, digest=one.digest, size=one.size)
    for layer in built.layers:
        yield LayerSize(name=layer.name, digest=layer.digest, size=layer.size)

"""The finished image as an OCI image layout: configurations, manifests, index and record."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cloudburst.image.base_image import BaseImage
from cloudburst.image.built_image import RECORD, RECORDS, BuiltImage, BuiltPlatform, LayerSize
from cloudburst.image.bytecode import BytecodeCompiler
from cloudburst.image.cache import ImageCache, move
from cloudburst.image.entries import PREFIX, USER_ID
from cloudburst.image.layers import ImageLayer
from cloudburst.image.options import PYTHON, Architecture
from cloudburst.image.own_package import LICENCE, SOURCES_ANNOTATION, sources_hash
from cloudburst.image.version import DISTRIBUTION, PACKAGE_VERSION
from cloudburst.image.wheels import Wheel
from cloudburst.models.task import (
    PROTOCOL_LABEL,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_LABEL,
    Protocol,
)
from cloudburst.net.registry.documents import (
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Platform,
)
from cloudburst.net.registry.names import ImageReference

REFERENCE_NAME = "org.opencontainers.image.ref.name"
NO_BYTECODE = (
    f"There is no Python {PYTHON} on this machine, so the image has no bytecode: each render "
    f"starts slower. Install it, for example with uv python install {PYTHON}, and build again."
)
PORT = 5000
SOURCE_URL = f"https://pypi.org/project/{DISTRIBUTION}/{PACKAGE_VERSION}/"
"""Page of this release with its source distribution."""
# Date of the image: a real one would change the digest with each build.
EPOCH = "1970-01-01T00:00:00Z"
_SECOND = 1_000_000_000
# Health check for Docker, as in the Dockerfile, in nanoseconds. ECS has its own.
HEALTH_CHECK = {
    "Test": ["CMD", "python", "-m", "cloudburst.service.health"],
    "Interval": 10 * _SECOND,
    "Timeout": 5 * _SECOND,
    "StartPeriod": 10 * _SECOND,
}
ENTRYPOINT = ["python", "-m", "cloudburst.service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLayers:
    """Layers of one architecture above its base image."""

    architecture: Architecture
    base: BaseImage
    layers: tuple[ImageLayer, ...]
    """Layers in the order of the image, without those of the base."""
    wheels: tuple[Wheel, ...]


def write_image(
    cache: ImageCache, built: Sequence[BuiltLayers], compiler: BytecodeCompiler | None
) -> BuiltImage:
    """Write manifests and index, and return the image in a folder of the cache; blocks."""
    base = built[0].base.reference
    image_labels = labels(base, compiler)
    documents = set[str]()

    def add(media_type: str, value: object) -> Descriptor:
        data = canonical(value)
        digest = cache.add_data(data)
        documents.add(digest)
        return Descriptor(media_type, digest, len(data))

    manifests: list[Descriptor] = []
    for one in built:
        config = image_config(one.base, one.architecture, one.layers, image_labels)
        manifest = image_manifest(add(OCI_CONFIG, config), one.base, one.layers)
        platform = Platform(one.architecture)
        manifests.append(replace(add(OCI_MANIFEST, manifest), platform=platform))
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [described(manifest) for manifest in manifests],
        # They show, without reading a configuration, whose image it is and its sources.
        "annotations": {SOURCES_ANNOTATION: sources_hash(), **image_labels},
    }
    root = add(OCI_INDEX, index)
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
    for digest in sorted(layers | documents):
        _link(cache, cache.blob_path(digest), folder)
    entry = described(root) | {"annotations": {REFERENCE_NAME: PACKAGE_VERSION}}
    cache.write(folder / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
    cache.write(folder / "index.json", canonical({"schemaVersion": 2, "manifests": [entry]}))
    cache.write(folder / RECORD, RECORDS.dump_json(image))
    return image


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


def canonical(value: object) -> bytes:
    """Return a value as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def labels(base: ImageReference, compiler: BytecodeCompiler | None) -> dict[str, str]:
    """Return the labels of the image."""
    return {
        "org.opencontainers.image.title": "cloudburst",
        "org.opencontainers.image.version": PACKAGE_VERSION,
        "org.opencontainers.image.source": SOURCE_URL,
        "org.opencontainers.image.licenses": LICENCE,
        "org.opencontainers.image.base.name": str(
            ImageReference(base.registry, base.repository, base.tag)
        ),
        "org.opencontainers.image.base.digest": base.digest or "",
        PROTOCOL_LABEL: str(Protocol.NATIVE),
        PROTOCOL_VERSION_LABEL: str(PROTOCOL_VERSION),
        "cloudburst.bytecode": compiler.version if compiler else "none",
    }


def image_config(
    base: BaseImage,
    architecture: Architecture,
    layers: Sequence[ImageLayer],
    image_labels: Mapping[str, str],
) -> dict[str, Any]:
    """Return the configuration of the image for one architecture."""
    inner = base.pulled.config
    diff_ids = [*inner.diff_ids, *(layer.diff_id for layer in layers)]
    names = [*("base image" for _ in inner.diff_ids), *(layer.name for layer in layers)]
    return {
        "architecture": architecture,
        "os": "linux",
        "created": EPOCH,
        "config": {
            "Env": _environment(inner.environment),
            "Entrypoint": ENTRYPOINT,
            "User": f"{USER_ID}:{USER_ID}",
            "WorkingDir": "/tmp",  # noqa: S108 - in the container
            "Volumes": {"/tmp": {}},  # noqa: S108
            "ExposedPorts": {f"{PORT}/tcp": {}},
            "Healthcheck": HEALTH_CHECK,
            "Labels": {**inner.labels, **image_labels},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": EPOCH, "created_by": f"cloudburst: {name}"} for name in names],
    }


def _environment(base: Mapping[str, str]) -> list[str]:
    path = base.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables = {
        **base,
        "PATH": f"/{PREFIX}/bin:{path}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return [f"{name}={value}" for name, value in variables.items()]


def image_manifest(
    config: Descriptor, base: BaseImage, layers: Sequence[ImageLayer]
) -> dict[str, Any]:
    """Return the manifest of the image for one architecture."""
    descriptors = [
        *(
            replace(one, media_type=_oci_type(one.media_type))
            for one in base.pulled.manifest.layers
        ),
        *(layer.descriptor for layer in layers),
    ]
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described(config),
        "layers": [described(layer) for layer in descriptors],
        # Without its index, the manifest would not show whose it is.
        "annotations": {PROTOCOL_VERSION_LABEL: str(PROTOCOL_VERSION)},
    }


def _oci_type(media_type: str) -> str:
    # The bytes of both types are the same.
    return OCI_LAYER_GZIP if media_type == DOCKER_LAYER_GZIP else media_type


def described(descriptor: Descriptor) -> dict[str, Any]:
    """Return a descriptor as it is written in JSON."""
    made: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.platform:
        platform = descriptor.platform
        made["platform"] = {"architecture": platform.architecture, "os": platform.os}
    return made

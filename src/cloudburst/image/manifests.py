"""Configuration, manifests and index of the image, as canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cloudburst.image.base_image import BaseImage
from cloudburst.image.bytecode import Compiler
from cloudburst.image.entries import PREFIX
from cloudburst.image.layers import Layer
from cloudburst.image.options import Architecture
from cloudburst.image.own_package import LICENCE
from cloudburst.image.version import DISTRIBUTION, PACKAGE_VERSION
from cloudburst.models.task import (
    PROTOCOL_LABEL,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_LABEL,
    Protocol,
)
from cloudburst.net.registry.documents import (
    DOCKER_LAYER_GZIP,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
)
from cloudburst.net.registry.names import ImageReference

USER_ID = 10001
USER_NAME = "cloudburst"
PORT = 5000
SOURCE_URL = f"https://pypi.org/project/{DISTRIBUTION}/{PACKAGE_VERSION}/"
"""Page of this release with its source distribution."""
EPOCH = "1970-01-01T00:00:00Z"
"""Date of the image: a real one would change the digest with each build."""
_SECOND = 1_000_000_000
HEALTH_CHECK = {
    "Test": ["CMD", "python", "-m", "cloudburst.service.health"],
    "Interval": 10 * _SECOND,
    "Timeout": 5 * _SECOND,
    "StartPeriod": 10 * _SECOND,
}
"""Health check for Docker, as in the Dockerfile, in nanoseconds. ECS has its own."""
ENTRYPOINT = ["python", "-m", "cloudburst.service"]


def canonical(value: object) -> bytes:
    """Return a value as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def labels(base: ImageReference, compiler: Compiler | None) -> dict[str, str]:
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
    layers: Sequence[Layer],
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
    """Return the environment of the service: that of the base, with our Python first."""
    path = base.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables = {
        **base,
        "PATH": f"/{PREFIX}/bin:{path}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return [f"{name}={value}" for name, value in variables.items()]


def image_manifest(config: Descriptor, base: BaseImage, layers: Sequence[Layer]) -> dict[str, Any]:
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
    """Return the OCI name of Docker's media type of a layer. The bytes are the same."""
    return OCI_LAYER_GZIP if media_type == DOCKER_LAYER_GZIP else media_type


def image_index(manifests: Sequence[Descriptor], annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the index of all architectures."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [described(manifest) for manifest in manifests],
        "annotations": dict(annotations),
    }


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

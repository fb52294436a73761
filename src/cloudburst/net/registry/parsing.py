"""Reading of indexes, manifests and configurations."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from cloudburst.net.registry.documents import Descriptor, ImageConfig, Index, Manifest, Platform
from cloudburst.net.registry.errors import InvalidImageError


def parse_index(data: bytes) -> Index:
    """Return an index (OCI or Docker); raise `InvalidImageError` for anything else."""
    with _reading("index"):
        document = json.loads(data)
        return Index(
            manifests=tuple(map(_descriptor, document["manifests"])),
            annotations=document.get("annotations") or {},
        )


def parse_manifest(data: bytes) -> Manifest:
    """Return a manifest (OCI or Docker); raise `InvalidImageError` for anything else."""
    with _reading("manifest"):
        document = json.loads(data)
        return Manifest(
            config=_descriptor(document["config"]),
            layers=tuple(map(_descriptor, document["layers"])),
            annotations=document.get("annotations") or {},
        )


def parse_config(data: bytes) -> ImageConfig:
    """Return the configuration of an image; raise `InvalidImageError` for anything else."""
    with _reading("configuration"):
        document = json.loads(data)
        process: dict[str, Any] = document.get("config") or {}
        environment: list[str] = process.get("Env") or []
        variables = (text.partition("=") for text in environment)
        return ImageConfig(
            platform=_platform(document),
            diff_ids=tuple(document["rootfs"]["diff_ids"]),
            entrypoint=tuple(process.get("Entrypoint") or ()),
            command=tuple(process.get("Cmd") or ()),
            environment={name: value for name, _, value in variables},
            user=process.get("User") or "",
            working_folder=process.get("WorkingDir") or "",
            volumes=tuple(process.get("Volumes") or ()),
            labels=process.get("Labels") or {},
        )


@contextmanager
def _reading(what: str) -> Generator[None]:
    """Raise `InvalidImageError` if a document lacks what the block reads, or is no JSON."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise InvalidImageError(f"the {what} of the image is not valid: {exc!r:.200}") from exc


def _descriptor(entry: dict[str, Any]) -> Descriptor:
    platform = entry.get("platform")
    return Descriptor(
        media_type=entry["mediaType"],
        digest=entry["digest"],
        size=int(entry["size"]),
        platform=_platform(platform) if platform else None,
        annotations=entry.get("annotations") or {},
    )


def _platform(entry: dict[str, Any]) -> Platform:
    return Platform(architecture=entry["architecture"], os=entry["os"])

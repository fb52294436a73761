"""Videos and covers in S3 that runs of this package have written, with their metadata."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import quote, unquote

from cloudburst.aws.s3.answers import ObjectInfo

MAX_SCENE_CHARS = 1000
"""Maximum length of a name in the metadata of an object, in characters. All metadata together may
have 2 KB ("Working with object metadata", Amazon S3 User Guide, 2026-11), of which the rest takes
less than 500 bytes."""

RUN, SCENE, FINGERPRINT, SHA256 = (
    "cloudburst-run",
    "cloudburst-scene",
    "cloudburst-fingerprint",
    "cloudburst-sha256",
)
"""Names of the metadata of a video or cover in S3. The scene's name is percent-encoded; in place of
the location of a film that is too long, there is its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedObject:
    """Video or cover in S3 that a run of this package has written."""

    fingerprint: str
    """Fingerprint of the scene; empty if it was not known."""
    sha256: str
    """SHA-256 in hexadecimal; empty if it was not known."""
    size: int
    """Size in bytes."""


def object_metadata(*, run: str, scene: str, fingerprint: str, sha256: str) -> dict[str, str]:
    """Return the metadata of a video or cover."""
    return {
        RUN: quote(run, safe=""),
        SCENE: _in_metadata(scene),
        FINGERPRINT: fingerprint,
        SHA256: sha256,
    }


def _in_metadata(scene: str) -> str:
    """Return the name of a scene, or the location of a film, as it is in metadata."""
    name = quote(scene, safe="")
    if len(name) <= MAX_SCENE_CHARS:
        return name
    return f"sha256-{hashlib.sha256(scene.encode()).hexdigest()}"


def as_finished(info: ObjectInfo, *, run: str, scene: str) -> FinishedObject | None:
    """Return an object that a run has written for a scene or film; ``None`` for any other one."""
    metadata = info.metadata
    if (metadata.get(RUN), metadata.get(SCENE)) != (quote(run, safe=""), _in_metadata(scene)):
        return None
    return FinishedObject(
        fingerprint=metadata.get(FINGERPRINT, ""),
        sha256=metadata.get(SHA256, ""),
        size=info.size,
    )


def run_of(info: ObjectInfo) -> str:
    """Return the name of the run that has written an object; empty if it is not known."""
    return unquote(info.metadata.get(RUN, ""))

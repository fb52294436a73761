"""Fingerprint of a video: a hash of everything that determines it. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from cloudburst.models.options import RenderOptions

_FORMAT = 2
"""Version of the fingerprint; increased when videos of the same inputs must be rendered again."""


def fingerprint(
    scene: str,
    options: RenderOptions,
    hashes: Mapping[str, str | None],
    *,
    duration: float | None,
) -> str:
    """Return the fingerprint of a scene's video: a SHA-256 in hexadecimal.

    Args:
        scene: Name of the scene, which determines its camera movement.
        options: Render options of the video.
        hashes: SHA-256 of each input file, or version of a remote file, by its role, for example
            ``image`` or ``watermark``; ``None`` for a file that the scene does not have.
        duration: Length in seconds of a video without an audio file.
    """
    look = options.model_dump(
        mode="json", exclude_defaults=True, exclude={"effects", *options.files()}
    )
    look["effect"] = options.effect_for(scene)
    inputs: dict[str, object] = {"format": _FORMAT, "look": look, "files": dict(hashes)}
    if duration is not None:
        inputs["duration"] = duration
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

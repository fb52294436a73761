"""Fingerprint of a video: a hash of everything that determines it. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cloudburst.models.file_versions import KnownHash
from cloudburst.models.options import OPTION_FILES, RenderOptions
from cloudburst.models.options.subtitles import DEFAULT_FAMILY
from cloudburst.models.scene import CheckedScene

# Version of the drawing. Raise it once between two releases if a video of the same inputs has other
# pixels, so that a resumed run or a shared folder never mixes two looks:
# ``tests/renderer/test_drawing_version.py`` fails when drawn pixels change.
DRAWING_VERSION = 3


def fingerprint(
    scene: str,
    options: RenderOptions,
    hashes: Mapping[str, str | None],
    *,
    duration: float | None,
    title_card: str | None = None,
    subtitle_frame: int = 0,
) -> str:
    """Return the fingerprint of a scene's video: a SHA-256 in hexadecimal."""
    look = options.model_dump(
        mode="json", exclude_defaults=True, exclude={"effects", *OPTION_FILES}
    )
    # The roles of font files, in ``hashes``, are their places among the families.
    families = [font for font in options.fonts().values() if isinstance(font, str)]
    if families != [DEFAULT_FAMILY]:
        look["font"] = ", ".join(families)
    look["effect"] = options.effect_for(scene)
    inputs: dict[str, object] = {"format": DRAWING_VERSION, "look": look, "files": dict(hashes)}
    if duration is not None:
        inputs["duration"] = duration
    if title_card is not None:
        inputs["title_card"] = title_card
    if subtitle_frame:
        inputs["subtitle_frame"] = subtitle_frame
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedInputs:
    """Input files of a scene, of which those on this machine have been hashed."""

    fingerprint: str = ""
    """Fingerprint of the scene's video; empty if the files are not hashed."""
    hashes: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of each file, or version of a remote file, by its role."""
    lasting: tuple[KnownHash, ...] = ()
    """Hashes by which a later process can recognize the files without reading them."""


# Function that hashes the files of a scene. It raises `UploadError` for a file that has changed
# since the check.
HashInputs: TypeAlias = Callable[[CheckedScene], Awaitable[HashedInputs]]

"""Download of a file that a run has written to S3, by anyone who has a presigned URL. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cloudburst.models.locations import S3Object

DownloadMethod: TypeAlias = Literal["GET", "HEAD"]
"""Method of the one kind of request for which a presigned URL is valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Download of a video, cover or film in S3."""

    location: S3Object
    run: str
    """Name of the run that has written the object."""
    scene: str
    """Name of the scene; of a film, its location."""
    sha256: str | None
    """SHA-256 of the file in hexadecimal; ``None`` if it is not known."""
    save: bool = False
    """True if browsers save the file, and do not show it."""
    method: DownloadMethod = "GET"

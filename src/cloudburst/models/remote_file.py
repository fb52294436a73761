"""Files in S3 and on web servers: inputs as they were checked, and downloads of outputs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cloudburst.models.locations import HttpsUrl, RemoteLocation, S3Object, location_text


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """Remote input file of a run, as the check before the run has found it."""

    location: RemoteLocation
    size: int | None
    etag: str | None
    """ETag with its quotes; ``None`` if there is none or it is weak."""
    version_id: str | None = None
    """Version of an S3 object in a bucket with versions."""
    modified: str | None = None
    """``Last-Modified`` as the server sends it."""

    @property
    def version(self) -> str:
        """Text that stands for the content of the file in fingerprints."""
        # ETags of web servers are often made of time and size only, so the URL counts too,
        # without its query, which may be a new signature in each run.
        # Without an ETag, the query also counts, because it may name the file.
        if self.etag is not None:
            of_server = f" {self.location}" if isinstance(self.location, HttpsUrl) else ""
            text = f"etag {self.etag} {self.size} {self.version_id or ''}".rstrip()
            return f"{text}{of_server}"
        whole = hashlib.sha256(location_text(self.location).encode()).hexdigest()
        return f"modified {self.modified} {self.size} {self.location} {whole}"


# Method of the one kind of request for which a presigned URL is valid.
DownloadMethod: TypeAlias = Literal["GET", "HEAD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Download of a video, cover or film in S3."""

    location: S3Object
    run: str
    scene: str
    """Name of the scene; of a film, its location."""
    sha256: str | None
    save: bool = False
    """True if browsers save the file, and do not show it."""
    method: DownloadMethod = "GET"

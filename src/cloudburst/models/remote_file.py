"""File in S3 or on a web server, as it was when the client checked it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from cloudburst.models.locations import RemoteLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """Remote input file of a run, as the check before the run has found it."""

    location: RemoteLocation
    size: int | None
    """Size in bytes; ``None`` if the server does not report it."""
    etag: str | None
    """ETag as the server sends it, with its quotes; ``None`` if there is none or it is weak."""
    version_id: str | None = None
    """Version of an S3 object in a bucket with versions; ``None`` otherwise."""
    modified: str | None = None
    """``Last-Modified`` as the server sends it; ``None`` if there is none."""

    @property
    def version(self) -> str:
        """Text that stands for the content of the file in fingerprints.

        Two files with the same text have the same content, as far as their server's ETags identify
        a content. Without an ETag, the text contains the location, time and size.
        """
        if self.etag is not None:
            return f"etag {self.etag} {self.size} {self.version_id or ''}".rstrip()
        return f"modified {self.modified} {self.size} {self.location!r}"

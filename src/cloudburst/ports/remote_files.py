"""Access to files in S3 and on web servers: inputs, and the delivery of videos."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from cloudburst.models.locations import RemoteLocation, S3Object, S3Prefix
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.transfers import FetchRequest, PutPart


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeAnswer:
    """Part of a remote file, and what the server says about the file."""

    data: bytes
    """Bytes of the requested range; fewer if the file ends within it, none if the server does not
    send parts of files other than the first."""
    file: RemoteFile
    """The file at the time of the answer."""


class RangeReader(Protocol):
    """Access to parts of remote files, for the check before a run."""

    async def read(self, location: RemoteLocation, start: int, end: int) -> RangeAnswer:
        """Return the bytes of a file from ``start`` up to, but not including, ``end``.

        Raises:
            InvalidInputError: The file cannot be read. Its ``expected`` may be empty: then a file
                of the right kind is expected.
            CloudburstError: No file can be read, for example because there are no credentials.
        """
        ...


class FolderReader(RangeReader, Protocol):
    """Access to folders in S3 and to their files, for reading scenes."""

    async def list_names(self, folder: S3Prefix) -> Sequence[str]:
        """Return the names of the files directly in a folder; there are none if it is missing.

        Raises:
            InvalidInputError: The folder cannot be listed.
            CloudburstError: No folder can be listed, for example because there are no credentials.
        """
        ...


class Delivery(Protocol):
    """Delivery of one file to S3. The object appears whole or not at all."""

    async def parts(self) -> Sequence[PutPart]:
        """Return the requests that write the file, with freshly signed URLs.

        It is called again when the URLs have expired.
        """
        ...

    async def check_accepted(self) -> None:
        """Check that S3 accepts an object from this machine, although it refuses those of a worker.

        Raises:
            OutputWriteError: S3 refuses it as well.
        """
        ...

    async def is_written(self) -> bool:
        """Return whether an object that was in the way of the file is the file itself, verified.

        That is so if the answer to an earlier request was lost. False if an earlier attempt in this
        run has written another video: `parts` then returns requests that replace it.

        Raises:
            DownloadError: Another program has written the object.
            OutputWriteError: The bucket cannot be read at present.
            CredentialsError: The credentials have expired, and there are no newer ones.
        """
        ...

    async def finish(self, etags: Sequence[str]) -> None:
        """Complete the object of its written parts, and verify its size and checksum.

        Raises:
            DownloadError: The object is not the file that was sent, or another program has written
                an object of the same key.
            OutputWriteError: The bucket does not accept the object at present.
            CredentialsError: The credentials have expired, and there are no newer ones.
        """
        ...


class RemoteFiles(Protocol):
    """Files of one run that are in S3 or on web servers: its inputs, and its videos."""

    def version(self, location: RemoteLocation) -> str:
        """Return the version of an input that was checked before the run."""
        ...

    def note_fingerprint(self, scene: str, fingerprint: str) -> None:
        """Note the fingerprint of what the video of a scene is made of, before its delivery."""
        ...

    async def fetch_request(self, location: RemoteLocation) -> FetchRequest:
        """Return a request that gets the checked version of an input, with a freshly signed URL.

        Raises:
            CredentialsError: The credentials have expired, and there are no newer ones.
            UploadError: The URL cannot be signed for another reason.
        """
        ...

    def delivery(
        self, scene: str, to: S3Object, *, size: int, sha256: str, content_type: str
    ) -> AbstractAsyncContextManager[Delivery]:
        """Return a context manager of the delivery of a scene's video or cover.

        A delivery that is not finished leaves nothing in the bucket.
        """
        ...

"""Input files that one native worker has: sent by the client, or fetched by the worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cloudburst.adapters.http.connection import HttpConnection
from cloudburst.adapters.http.fetched_files import FetchedFiles, RemoteSceneFile
from cloudburst.adapters.http.upload import FileUploader
from cloudburst.adapters.http.upload_files import FileHasher, SceneFile
from cloudburst.concurrency import for_each
from cloudburst.errors import RenderFailedError
from cloudburst.models.locations import AnyLocation
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.sending import Turn, at_once

MAX_FILES_AT_ONCE = 4
"""Number of files of one scene that are given to the worker at once. A scene has up to six files,
most of them small, and each takes at least one round trip."""


class GivenFile(NamedTuple):
    """Input file that a worker has."""

    sha256: str
    version: str
    """Text that stands for the content in fingerprints: the hash, or the version in S3."""
    sent: int = 0
    """Number of bytes that the client has sent."""
    fetched: int = 0
    """Number of bytes that the worker has fetched."""


class GivenFiles:
    """Input files that one worker has."""

    def __init__(self, connection: HttpConnection, hasher: FileHasher) -> None:
        self._uploader = FileUploader(connection, hasher)
        self._fetched = FetchedFiles(connection)

    async def give_all(
        self,
        scene: str,
        files: Mapping[str, AnyLocation],
        remote: RemoteFiles | None,
        turn: Turn,
    ) -> Mapping[str, GivenFile]:
        """Give the worker the files of a scene, some of them at once; return them by their use.

        Raises:
            UploadError: A file cannot be read or got, was changed, or was refused.
            WorkerError: The worker has stopped, refuses the key, or sends invalid answers.
        """
        given: dict[str, GivenFile] = {}

        async def give(file: tuple[str, AnyLocation]) -> None:
            field, location = file
            given[field] = await self.give(scene, field, location, remote, turn)

        await for_each(files.items(), give, at_once=MAX_FILES_AT_ONCE)
        return given

    async def give(
        self,
        scene: str,
        field: str,
        location: AnyLocation,
        remote: RemoteFiles | None,
        turn: Turn = at_once,
    ) -> GivenFile:
        """Send a file to the worker unless the worker has it, or let the worker get it.

        Raises errors as `give_all` does.
        """
        if isinstance(location, Path):
            file = SceneFile(scene=scene, field=field, path=location)
            sha256, size = await self._uploader.upload(file, turn)
            return GivenFile(sha256, version=sha256, sent=size)
        assert remote is not None, "a run with remote files has access to them"
        remote_file = RemoteSceneFile(scene=scene, field=field, location=location)
        sha256, size = await self._fetched.fetch(remote_file, remote)
        return GivenFile(sha256, version=remote.version(location), fetched=size)

    async def give_again(self, hashes: Iterable[str], scene: str) -> None:
        """Give the worker files that it has lost; ``scene`` is the scene that needs them now.

        Raises:
            RenderFailedError: The worker names a file that it never had.
            UploadError: A file has changed since then, cannot be read or got, or was refused.
            WorkerError: The worker has stopped, refuses the key, or sends invalid answers.
        """
        for sha256 in hashes:
            if not (
                await self._uploader.upload_again(sha256)
                or await self._fetched.fetch_again(sha256, scene=scene)
            ):
                msg = f"the worker lost a file that was not sent from here: {sha256}"
                raise RenderFailedError(msg, scene=scene)

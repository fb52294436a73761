"""Access of a client to files in S3 and on web servers, which is opened when it is first needed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from cloudburst.errors import ConfigurationError
from cloudburst.film.folder_film import ChapterSource, claimed_film
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.inputs.remote_readers import open_https_reader
from cloudburst.models.film import FilmRequest
from cloudburst.models.locations import (
    RemoteLocation,
    S3Object,
    is_path_of_s3,
    is_s3,
    parse_s3_prefix,
)
from cloudburst.models.remote_file import Download, RemoteFile
from cloudburst.models.settings import Settings
from cloudburst.outputs.destinations import Destination, FolderDestination
from cloudburst.ports.outputs import FilmMaker
from cloudburst.ports.remote_files import FolderReader, RemoteFiles

if TYPE_CHECKING:
    from cloudburst.aws.s3.object_store import ObjectStore


class RemoteAccess:
    """Access of a client to remote files, on its event loop.

    Args:
        stack: Stack whose end closes the connections.
        settings: Credentials and endpoint for S3, and permission for addresses that are not public.
        session: An ``aioboto3.Session`` in place of the credentials; ``None``: those of the
            settings.
    """

    def __init__(self, stack: AsyncExitStack, settings: Settings, session: Any) -> None:
        self.settings = settings
        self.session = session
        self._stack = stack
        self._store: ObjectStore | None = None
        self._opening = anyio.Lock()

    def inputs(self) -> RemoteInputs:
        """Return access to remote files for the check before a run."""
        return RemoteInputs(
            open_s3=self._folder_reader, open_https=lambda: open_https_reader(self.settings)
        )

    @asynccontextmanager
    async def _folder_reader(self) -> AsyncGenerator[FolderReader]:
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.folder_reader")
        reader: FolderReader = module.S3FolderReader(store)
        yield reader

    async def destination(self, to: Path | str) -> Destination:
        """Return the folder for videos that a caller names: a path, or ``s3://bucket/folder/``.

        Raises:
            ConfigurationError: It is neither a path nor a folder in S3.
            CredentialsError: The profile does not exist, or the configuration of boto is wrong.
        """
        if is_path_of_s3(to):
            msg = f"to: the path {to}; expected the text s3://bucket/folder/, which is not a path"
            raise ConfigurationError(msg)
        if not isinstance(to, str) or not is_s3(to):
            return _folder_destination(to)
        try:
            prefix = parse_s3_prefix(to)
        except ValueError as exc:
            raise ConfigurationError(f"to: {exc}") from exc
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.outputs.s3_destination")
        destination: Destination = module.S3Destination(prefix, store)
        return destination

    async def files(
        self,
        run: str,
        inputs: Mapping[RemoteLocation, RemoteFile],
        destination: Destination,
        *,
        overwrite: bool,
        max_input_bytes: int,
    ) -> RemoteFiles | None:
        """Return the access of a run to its remote files; ``None`` if it has none.

        Args:
            run: Name of the run.
            inputs: Remote input files, as the check before the run has found them.
            destination: Place for the videos.
            overwrite: True if existing videos may be replaced.
            max_input_bytes: Maximum size of an input whose server did not report its size, in
                bytes.
        """
        in_s3 = not isinstance(destination, FolderDestination)
        if not inputs and not in_s3:
            return None
        needs_store = in_s3 or any(isinstance(location, S3Object) for location in inputs)
        store = await self._object_store() if needs_store else None
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.remote_files")
        files: RemoteFiles = module.S3RemoteFiles(
            store,
            run=run,
            inputs=inputs,
            overwrite=overwrite,
            private_inputs=self.settings.private_inputs,
            max_input_bytes=max_input_bytes,
        )
        return files

    @asynccontextmanager
    async def claimed_film(
        self,
        film: FilmRequest | None,
        sources: Sequence[ChapterSource],
        inputs: Mapping[RemoteLocation, RemoteFile],
        *,
        run: str,
        overwrite: bool,
        resume: bool,
    ) -> AsyncGenerator[FilmMaker | None]:
        """Claim the files of a film, and yield its maker; ``None`` if no film is requested.

        Args:
            film: The film.
            sources: Scenes of the film in order.
            inputs: Remote input files, as the check before the run has found them.
            run: Name of the run that makes the film.
            overwrite: True to replace existing files.
            resume: True to replace a film that was made before, with its other files.

        Raises:
            OutputExistsError: A file of the film exists and must not be replaced.
            OutputClaimedError: Another process writes this film, or a video of this name, on this
                machine.
            ConfigurationError: The film cannot be written to its place.
        """
        if film is None or isinstance(film.path, Path):
            async with claimed_film(
                film, sources, run=run, overwrite=overwrite, replace_film=resume
            ) as maker:
                yield maker
            return
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.film.s3_film")
        claim: AbstractAsyncContextManager[FilmMaker] = module.claimed_s3_film(
            store,
            film,
            sources,
            inputs,
            run=run,
            overwrite=overwrite,
            resume=resume,
            private_inputs=self.settings.private_inputs,
        )
        async with claim as maker:
            yield maker

    async def download_url(self, download: Download) -> str:
        """Return a URL with which anyone can get a file of a run from S3, for at most an hour.

        Raises:
            ResourceMissingError: The run has not written it, or it was deleted or replaced since.
            CloudburstError: S3 refuses the request, or does not answer.
        """
        store = await self._object_store()
        module = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.remote_files")
        url: str = await module.sign_download(store, download)
        return url

    async def _object_store(self) -> ObjectStore:
        async with self._opening:
            if self._store is not None:
                return self._store
            # Importing boto takes a quarter of a second.
            aws = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.client.client")
            s3 = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.object_store")
            client = await self._stack.enter_async_context(
                aws.open_aws(self.settings, session=self.session)
            )
            store: ObjectStore = s3.ObjectStore(client, self.settings)
            self._store = store
            return store
        raise AssertionError("unreachable: the lock suppresses no exception")


def _folder_destination(to: Path | str) -> FolderDestination:
    return FolderDestination(Path(to).absolute())


@asynccontextmanager
async def open_remote_access(settings: Settings, session: Any) -> AsyncGenerator[RemoteAccess]:
    """Yield access to remote files, and close its connections at the end."""
    async with AsyncExitStack() as stack:
        yield RemoteAccess(stack, settings, session)

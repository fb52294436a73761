"""Files that one native worker has: sent by the client, or fetched by the worker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio

from cloudburst.concurrency import for_each
from cloudburst.errors import Remedy, RenderFailedError, UploadError, WorkerDiskFullError
from cloudburst.models.file_versions import CHANGED
from cloudburst.models.film import FilmJobRequest, FilmJobScene, WorkerFilm
from cloudburst.models.locations import AnyLocation, RemoteLocation, S3Object
from cloudburst.models.transfers import FetchEvent, TransferProblem
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import Turn, UploadedScene, at_once
from cloudburst.text import describe_error, printable_line
from cloudburst.workers.http.connection import HttpConnection
from cloudburst.workers.http.retries import TransferFailedError
from cloudburst.workers.http.transfer_requests import request_transfer
from cloudburst.workers.http.upload import SceneFile, hash_file, send_file

# Number of files of one scene that are given to the worker at once. A scene has up to six files,
# most of them small, and each takes at least one round trip.
MAX_FILES_AT_ONCE = 4
_MEANINGS = {
    TransferProblem.CHANGED: CHANGED,
    TransferProblem.MISSING: "no longer there",
}


class GivenFile(NamedTuple):
    """File that a worker has."""

    sha256: str
    version: str
    """Text that stands for the content in fingerprints: the hash, or the version in S3."""
    sent: int = 0
    """Number of bytes that the client has sent."""
    fetched: int = 0
    """Number of bytes that the worker has fetched."""


class GivenFiles:
    """Files that one worker has. A file that several scenes use is given only once."""

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._hashes: dict[tuple[RemoteLocation | None, str], str] = {}
        """SHA-256 of each file, by its location and version; a local file needs no location."""
        self._locks = defaultdict[tuple[RemoteLocation | None, str], anyio.Lock](anyio.Lock)
        self._sources: dict[str, tuple[SceneFile, RemoteFiles | None]] = {}
        """File, and access to it, from which the content with each hash was given."""

    async def give_all(
        self,
        scene: str,
        files: Mapping[str, AnyLocation],
        remote: RemoteFiles | None,
        turn: Turn,
    ) -> Mapping[str, GivenFile]:
        """Give the worker the files of a scene, some of them at once; return them by their use."""
        given: dict[str, GivenFile] = {}

        async def give(item: tuple[str, AnyLocation]) -> None:
            field, location = item
            file = SceneFile(scene=scene, field=field, location=location)
            given[field] = await self.give(file, remote, turn)

        await for_each(files.items(), give, at_once=MAX_FILES_AT_ONCE)
        return given

    async def give(
        self, file: SceneFile, remote: RemoteFiles | None, turn: Turn = at_once
    ) -> GivenFile:
        """Send a file to the worker unless the worker has it, or let the worker get it."""
        key: tuple[RemoteLocation | None, str]
        give: Callable[[], Awaitable[tuple[str, int]]]
        if is_local := isinstance(location := file.location, Path):
            try:
                content = await hash_file(location)
            except OSError as exc:
                raise file.error(describe_error(exc)) from exc
            key = None, content.sha256
            give = partial(send_file, self._connection, file, content, turn)
        else:
            assert remote is not None, "a run with remote files has access to them"
            key = location, remote.version(location)
            give = partial(self._fetch, file, location, remote)
        async with self._locks[key]:
            size = 0
            if (sha256 := self._hashes.get(key)) is None:
                sha256, size = await give()
                self._hashes[key], self._sources[sha256] = sha256, (file, remote)
        sent, fetched = (size, 0) if is_local else (0, size)
        return GivenFile(sha256, version=key[1], sent=sent, fetched=fetched)

    async def give_again(self, hashes: Iterable[str], scene: str) -> None:
        """Give the worker files that it has lost; ``scene`` is the scene that needs them now.

        Raises:
            RenderFailedError: The worker names a file that it never had.
            UploadError: A file has changed since then, cannot be read or got, or was refused.
            WorkerError: The worker has stopped, refuses the key, or sends invalid answers.
        """
        for sha256 in hashes:
            if (source := self._sources.get(sha256)) is None:
                msg = f"the worker lost a file that was not sent from here: {sha256}"
                raise RenderFailedError(msg, scene=scene)
            self._hashes = {key: found for key, found in self._hashes.items() if found != sha256}
            file = replace(source[0], scene=scene)
            if (await self.give(file, source[1])).sha256 != sha256:
                raise file.error(f"{file.location} changed after it was sent")

    async def _fetch(
        self, file: SceneFile, location: RemoteLocation, remote: RemoteFiles
    ) -> tuple[str, int]:
        sign = partial(remote.fetch_request, location)
        try:
            event = await request_transfer(self._connection, "/fetches", sign, FetchEvent)
        except TransferFailedError as exc:
            failure, reason = exc.failure, printable_line(exc.failure.reason)
            if failure.problem is TransferProblem.NO_SPACE:
                msg = f"the worker's disk is full: {reason}"
                raise WorkerDiskFullError(msg) from exc
            if meaning := _MEANINGS.get(failure.problem):
                reason = f"{meaning} ({reason})"
            error = file.error(f"{location}: {reason}")
            if isinstance(location, S3Object) and failure.problem is TransferProblem.UNREACHABLE:
                error.remedy = Remedy.OTHER_WORKER  # the fault lies in the network of this one
            raise error from exc
        except UploadError as exc:
            raise file.error(f"{location}: {exc}") from exc
        assert event.sha256 is not None, "an event without a failure is the last one by its hash"
        return event.sha256, event.received


# Number of files that a worker gets at once, as many as the render service fetches.
MAX_FILES = 8

# Function that gives the worker a file: called with the use of the file and its location, it
# returns the file's SHA-256 and the number of bytes that were sent from here.
GiveFile = Callable[[str, AnyLocation], Awaitable[tuple[str, int]]]


async def give_film(
    film: WorkerFilm, give_file: GiveFile, on_file: Callable[[], None]
) -> UploadedScene:
    """Give a worker the files of a film."""
    hashes: dict[AnyLocation, str] = {}
    bytes_sent = 0

    async def give(file: tuple[str, AnyLocation, str]) -> None:
        nonlocal bytes_sent
        use, location, expected = file
        hashes[location], sent = await give_file(use, location)
        if expected and hashes[location] != expected:
            msg = f"{location} is not the video that was rendered; resume the run to render it"
            raise UploadError(msg, scene=film.name)
        bytes_sent += sent
        on_file()

    await for_each(_files(film), give, at_once=MAX_FILES)
    scenes = [
        FilmJobScene(
            name=part.name,
            title=part.title,
            video=part.sha256,
            subtitle=part.subtitle and hashes[part.subtitle],
            transition=part.transition,
        )
        for part in film.parts
    ]
    how = film.request
    request = FilmJobRequest(
        scenes=tuple(scenes),
        transition=how.transition,
        transition_seconds=how.transition_seconds,
        film_gap=how.film_gap,
        files={name: hashes[location] for name, location in how.files.items()},
        sound=how.sound,
    )
    return UploadedScene(
        scene=film.name,
        reference=request.model_dump_json(exclude_defaults=True),
        sent=bytes_sent,
        needs_cover=True,
        is_film=True,
    )


def _files(film: WorkerFilm) -> Iterator[tuple[str, AnyLocation, str]]:
    """Yield the use of each file, its location, and the SHA-256 that it must have, if any."""
    for name, location in film.request.files.items():
        yield name, location, ""
    for part in film.parts:
        yield f"video of {part.name}", part.video, part.sha256
        if part.subtitle is not None:
            yield f"subtitles of {part.name}", part.subtitle, ""

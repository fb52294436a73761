"""Film in S3: its claim, its earlier objects, and what a worker needs to make it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anyio import to_thread

from cloudburst.aws.s3.object_info import FinishedObject, as_finished
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.aws.s3.request_waits import RequestWaits, repeat_while_busy
from cloudburst.concurrency import for_each
from cloudburst.errors import CloudburstError, FilmError, OutputExistsError
from cloudburst.film.folder_film import ChapterSource, file_digest, film_plan
from cloudburst.film.plan import FilmPlan, film_files
from cloudburst.models.film import FilmPart, FilmRequest, WorkerFilm
from cloudburst.models.locations import AnyLocation, RemoteLocation, S3Object
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import Video
from cloudburst.ports.outputs import FilmMaker, OnWorker
from cloudburst.ports.renderer import OnProgress
from cloudburst.text import list_some

logger = logging.getLogger(__name__)

# Number of videos that are asked about at once.
_MAX_REQUESTS = 32


@asynccontextmanager
async def claimed_s3_film(
    store: ObjectStore,
    request: FilmRequest,
    sources: Sequence[ChapterSource],
    inputs: Mapping[RemoteLocation, RemoteFile],
    *,
    run: str,
    overwrite: bool,
    resume: bool,
    private_inputs: bool,
) -> AsyncGenerator[FilmMaker]:
    """Yield the maker of a film, whose objects may be written by the run.

    ``inputs`` are the remote files that the check has found. With ``resume``, a film of the same
    run is replaced. ``private_inputs`` permits URLs to addresses that are not public.

    Raises:
        OutputExistsError: An object of the film exists and must not be replaced.
        CloudburstError: S3 refuses a request.
    """
    film = request.path
    assert isinstance(film, S3Object), "films on this machine are claimed on this machine"
    ours: dict[S3Object, FinishedObject] = {}
    foreign: list[S3Object] = []
    for location in film_files(film):
        info = await repeat_while_busy(partial(store.find, location))
        if info is not None:
            if (found := as_finished(info, run=run, scene=str(film))) is not None:
                ours[location] = found
            else:
                foreign.append(location)
    if not overwrite and (there := foreign if resume else [*foreign, *ours]):
        msg = f"files of the film exist: {list_some(there)}; overwrite=True replaces them"
        raise OutputExistsError(msg, objects=[*map(str, there)])
    yield S3Film(
        store,
        request,
        film,
        sources,
        inputs,
        run,
        overwrite,
        ours,
        private_inputs,
    )


@dataclass(frozen=True, slots=True)
class S3Film:
    """Maker of a film in S3: `cloudburst.ports.outputs.FilmMaker`."""

    store: ObjectStore
    request: FilmRequest
    film: S3Object
    sources: Sequence[ChapterSource]
    inputs: Mapping[RemoteLocation, RemoteFile]
    run: str
    overwrite: bool
    earlier: Mapping[S3Object, FinishedObject]
    """Objects of an earlier film of the run."""
    private_inputs: bool

    @property
    def needs_worker(self) -> bool:
        """Always true: a worker makes the film, so that no video passes through this machine."""
        return True

    async def make(
        self, videos: Sequence[Video], on_progress: OnProgress, on_worker: OnWorker
    ) -> tuple[S3Object, bool]:
        """Make the film unless it is up to date: see `FilmMaker.make`."""
        plan = await to_thread.run_sync(
            film_plan, self.request, videos, self.sources, self._version
        )
        if self._is_up_to_date(plan):
            return self.film, True
        parts = [
            FilmPart(
                name=source.name,
                title=source.title,
                video=_in_s3(video),
                sha256=video.sha256,
                subtitle=source.subtitle,
                transition=source.transition,
            )
            for video, source in zip(videos, self.sources, strict=True)
        ]
        film = WorkerFilm(
            path=self.film,
            request=self.request,
            parts=tuple(parts),
            seconds=sum(video.seconds for video in videos),
        )
        try:
            found = await self._find([part.video for part in parts])
        except CloudburstError as exc:
            raise FilmError(f"no film was made: {exc}") from exc
        remote = S3RemoteFiles(
            self.store,
            run=self.run,
            inputs={**self.inputs, **found},
            overwrite=self.overwrite,
            private_inputs=self.private_inputs,
        )
        remote.note_fingerprint(film.name, plan.fingerprint)
        on_progress(0.0)
        await on_worker(film, remote, on_progress)
        if not plan.has_subtitles:
            await self._remove_old_subtitles()
        return self.film, False

    def _version(self, name: str, location: AnyLocation) -> str:
        if isinstance(location, Path):
            return file_digest(name, location)
        return self.inputs[location].version

    def _is_up_to_date(self, plan: FilmPlan) -> bool:
        subtitles, cover, film = film_files(self.film)
        needed = {film, cover, subtitles} if plan.has_subtitles else {film, cover}
        there = {at for at, found in self.earlier.items() if found.fingerprint == plan.fingerprint}
        return needed == there

    async def _find(self, videos: Sequence[S3Object]) -> dict[RemoteLocation, RemoteFile]:
        """Return the versions of the videos that the worker gets, or raise `CloudburstError`."""
        found: dict[RemoteLocation, RemoteFile] = {}
        waits = RequestWaits()

        async def find(video: S3Object) -> None:
            info = await waits.repeat(self.store, partial(self.store.head, video))
            found[video] = info.remote_file(video)

        await for_each(videos, find, at_once=_MAX_REQUESTS)
        return found

    async def _remove_old_subtitles(self) -> None:
        subtitles = film_files(self.film)[0]
        if subtitles not in self.earlier:
            return
        try:
            info = await self.store.find(subtitles)
            # Another program may have written its own subtitles while the film was made.
            if info and as_finished(info, run=self.run, scene=str(self.film)):
                await self.store.delete(subtitles)
        except CloudburstError as exc:
            logger.warning("%s: subtitles of an earlier film stay: %s", subtitles, exc)


def _in_s3(video: Video) -> S3Object:
    assert isinstance(video.path, S3Object), "checked before the run"
    return video.path

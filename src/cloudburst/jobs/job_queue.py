"""Queue of jobs in a folder, which survives the end of the processes that work on it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import anyio
import anyio.to_thread

from cloudburst.client.client import Client
from cloudburst.concurrency import collapse_single, finish_despite_cancel
from cloudburst.errors import ClosedError, ConfigurationError
from cloudburst.jobs import job_claims, job_rows
from cloudburst.jobs.admission import Room
from cloudburst.jobs.database import open_database
from cloudburst.jobs.dispatcher import Dispatcher, remove_job
from cloudburst.jobs.draft import JobDraft
from cloudburst.jobs.event_log import (
    EventLog,
    JobFile,
    Links,
    find_download,
    find_file,
    read_videos,
)
from cloudburst.jobs.folder import JobFolder, JobsFolder, storage_errors
from cloudburst.jobs.job_claims import registered_process
from cloudburst.jobs.job_rows import JobEnd, OpenJob, read_open_job
from cloudburst.jobs.job_scenes import JobScene, find_image, read_scene_states
from cloudburst.jobs.models import (
    DEFAULT_PAGE,
    MAX_PAGE,
    Job,
    JobChanges,
    JobLimits,
    JobNews,
    JobPage,
    JobRequest,
    JobState,
)
from cloudburst.jobs.open_queue import JobFeed, OpenQueue
from cloudburst.jobs.places import JobClients, Places
from cloudburst.jobs.resumption import ResumableJob, read_resumable
from cloudburst.jobs.stored_uploads import StoredUploads
from cloudburst.jobs.webhooks.definitions import Webhooks
from cloudburst.jobs.webhooks.delivery import deliver_webhooks
from cloudburst.models.remote_file import DownloadMethod
from cloudburst.models.scene import AnyScene, Video
from cloudburst.text import short_repr

MAX_EVENTS = 2**63 - 1
"""Largest number of an event that SQLite can have."""
REMOVE_TIMEOUT = 60.0
"""Maximum number of seconds for removing the files of a job that was not submitted."""


class JobQueue(anyio.AsyncContextManagerMixin):
    """Queue of jobs in a folder: each job is a run that outlives requests and processes.

    >>> async with Client() as client, JobQueue(client, "jobs") as queue:  # doctest: +SKIP
    ...     job = await queue.submit(JobRequest(scenes=scenes, metadata={"order": 17}))
    ...     async for event in queue.events(job.id):
    ...         print(event.type)

    Several processes of this machine may use one folder: each works on jobs with its own client,
    and all of them can read, cancel and remove every job. If a process is killed, another one
    resumes its jobs, and uses or stops their tasks. At the end of the ``async with`` block, the
    tasks of unfinished jobs are stopped; the jobs go on in another process, or in the next one.

    Args:
        client: Open client that renders the jobs.
        folder: Folder for the database of the jobs, their inputs and their videos, on a disk of
            this machine. It is created if it is missing; nothing else may write into it.
        limits: Limits of the queue and of each owner.
        webhooks: Webhooks that receive events of the jobs.
        links: Function that returns the URLs of a job by their names, for the webhooks.
        places: Places that jobs may name; ``None``: all jobs are rendered where the client does.
    """

    def __init__(
        self,
        client: Client,
        folder: Path | str,
        *,
        limits: JobLimits | None = None,
        webhooks: Webhooks | None = None,
        links: Links = lambda _: {},
        places: Places | None = None,
    ) -> None:
        self._client = client
        self._folder = JobsFolder(Path(folder).absolute())
        self.limits = limits or JobLimits()
        """Limits of the queue and of each owner."""
        self.places = places or Places()
        """Places that jobs may name."""
        self._log = EventLog(webhooks or Webhooks(), links)
        self._opened: OpenQueue | None = None
        self._dispatcher: Dispatcher

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        with collapse_single():
            async with AsyncExitStack() as stack:
                database = await stack.enter_async_context(open_database(self._folder.path))
                with storage_errors(self._folder.path):
                    await anyio.to_thread.run_sync(self._folder.create)
                    process = stack.enter_context(registered_process(self._folder.path))
                stack.enter_context(self._client.keeping_warm())
                clients = JobClients(self._client, self.places, self._client.is_billed)
                await stack.enter_async_context(clients.opened())
                opened = OpenQueue(
                    clients=clients,
                    folder=self._folder,
                    limits=self.limits,
                    database=database,
                    feed=JobFeed(database),
                    log=self._log,
                    room=Room(database, self.limits),
                    process=process,
                )
                self._dispatcher = dispatcher = Dispatcher(opened)
                delivery = await stack.enter_async_context(anyio.create_task_group())
                stack.callback(delivery.cancel_scope.cancel)  # after the last event is written
                tasks = await stack.enter_async_context(anyio.create_task_group())
                self._opened = opened
                tasks.start_soon(dispatcher.run)
                deliver = partial(deliver_webhooks, database, self._log.webhooks)
                delivery.start_soon(partial(deliver, folder=self._folder.path))
                try:
                    yield self
                finally:
                    self._opened = None
                    dispatcher.stop()

    def disk_free(self) -> int:
        """Return the number of free bytes on the disk of the folder. Blocks."""
        return shutil.disk_usage(self._folder.path).free

    async def submit(
        self, request: JobRequest, *, owner: str = "", idempotency_key: str | None = None
    ) -> Job:
        """Queue a new job, and return it.

        Args:
            request: Scenes of the job, and what belongs to them. Their files must exist until the
                job is finished.
            owner: Owner of the job; empty if there is only one.
            idempotency_key: Key by which a repeated request is known: the job of the first request
                is then returned.

        Raises:
            InvalidScenesError: The job names a place that is not offered.
            JobConflictError: Another request had the same idempotency key.
            JobLimitError: The job would exceed a limit.
            JobStorageError: The folder cannot be written.
        """
        async with self.receive() as draft:
            return await draft.submit(request, owner=owner, idempotency_key=idempotency_key)

    async def add_scenes(self, job: str, scenes: Sequence[AnyScene]) -> Job:
        """Add scenes to an open job, and return it.

        The job was submitted with `JobRequest.open`. Scenes whose files turn out to be invalid
        later fail, and the others go on.

        Raises:
            InvalidScenesError: Scenes are invalid, or have names of earlier ones; none was added.
            JobConflictError: The job is not open, is to be cancelled, or has ended.
            JobLimitError: The scenes would exceed a limit.
            JobStorageError: The folder cannot be written.
            UnknownJobError: The job does not exist.
        """
        async with self.receive(job) as draft:
            return await draft.add(scenes)

    async def resume(self, job: str, changes: JobChanges | None = None) -> Job:
        """Queue a finished job that lacks videos again, and return it.

        Only scenes without a video are rendered, then the film of all is made. The events of the
        job go on.

        Raises:
            InvalidScenesError: Scenes are invalid, or have a video, or do not exist.
            JobConflictError: The job is not finished, or is complete.
            JobLimitError: The job would exceed a limit.
            JobStorageError: The folder cannot be written.
            UnknownJobError: The job does not exist.
        """
        async with self.receive(job, resumed=True) as draft:
            change = partial(draft.changed, changes or JobChanges())
            return await draft.resume(await anyio.to_thread.run_sync(change))

    async def close_job(self, job: str) -> Job:
        """Take no further scenes for a job, which ends after those that it has, and return it.

        A job that is not open does not change. Raises `UnknownJobError` if it does not exist.
        """
        opened = self._open_for(job)
        found = await opened.database.write(partial(self._log.close_job, job=job))
        opened.feed.notify(job)
        return found

    @asynccontextmanager
    async def receive(
        self, job: str | None = None, *, resumed: bool = False
    ) -> AsyncGenerator[JobDraft]:
        """Yield a new job, or scenes for an open ``job``, whose input files can be written first.

        With ``resumed``, they are files for a finished job. The files are removed after the block
        unless the job or the scenes were submitted. If the job is not open, or cannot be resumed
        any more, an exception in the block becomes `JobConflictError`.
        """
        opened, new = self._open(), uuid4().hex
        folder = self._folder.job(job or new)
        inputs = folder.inputs / new if job else folder.inputs
        draft = JobDraft(job or new, inputs, opened, self._dispatcher.wake)
        read: Callable[..., OpenJob | ResumableJob] = read_resumable if resumed else read_open_job
        if job:
            draft.base = await opened.database.read(partial(read, job=job))
        try:
            with storage_errors(folder.path):
                make = partial(inputs.mkdir, mode=0o700, parents=resumed or job is None)
                await anyio.to_thread.run_sync(make)
            yield draft
        except Exception:
            if job:  # its files may be removed when it ends
                await opened.database.read(partial(read, job=job))
            raise
        finally:
            try:
                if not draft.submitted:
                    unused = inputs if job else folder.path
                    await finish_despite_cancel(
                        lambda: anyio.to_thread.run_sync(shutil.rmtree, unused, True),
                        seconds=REMOVE_TIMEOUT,
                    )
            finally:
                opened.room.release(draft)

    async def job(self, job: str) -> Job:
        """Return a job. Raises `UnknownJobError` if it does not exist."""
        database = self._open_for(job).database
        return await database.read(partial(job_rows.read_job, job=job))

    async def rename(self, job: str, name: str) -> Job:
        """Give a job a name of at most 200 characters, and return it.

        Raises `UnknownJobError` if the job does not exist.
        """
        database = self._open_for(job).database
        return await database.write(partial(job_rows.rename_job, job=job, name=name))

    async def page(
        self,
        *,
        owner: str | None = None,
        states: Collection[JobState] = (),
        search: str = "",
        metadata: Mapping[str, str] | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_PAGE,
    ) -> JobPage:
        """Return a part of the list of jobs, the newest first.

        Args:
            owner: Owner of the jobs; ``None`` for all owners.
            states: States of the jobs; none for all states.
            search: Part of the names of the jobs, in upper or lower case.
            metadata: Texts or numbers, as text, that the metadata of the jobs have under these
                keys.
            cursor: `JobPage.next` of the part before; ``None`` for the first part.
            limit: Maximum number of jobs in the part, from 1 to 200.

        Raises `ConfigurationError` for an invalid cursor or limit.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise ConfigurationError(f"limit: {limit}; expected 1 to {MAX_PAGE}")
        if cursor is not None and not re.fullmatch(r"[1-9][0-9]{0,17}", cursor):
            raise ConfigurationError(f"cursor: {short_repr(cursor)}; expected that of another part")
        return await self._open().database.read(
            partial(
                job_rows.read_page,
                owner=owner,
                states=states,
                search=search,
                metadata=metadata or {},
                before=None if cursor is None else int(cursor),
                limit=limit,
            )
        )

    async def events(self, job: str, *, after: int = 0) -> AsyncGenerator[JobNews]:
        """Yield the events of a job, and its newest progress, until it is finished.

        Events of this and other processes arrive within a second. No event is left out or
        repeated; a reader that was interrupted continues after the number of its last event.

        Args:
            job: The job.
            after: Number of the last event that was received before; 0 for all events.

        Raises `UnknownJobError` if the job does not exist, or is removed.
        """
        async for news in self._open_for(job).feed.read(job, min(after, MAX_EVENTS)):
            yield news

    async def wait(self, job: str) -> Job:
        """Wait until a job is finished, and return it."""
        found = await self.job(job)
        async for _ in self.events(job, after=found.last_event):
            pass
        return await self.job(job)

    async def cancel(self, job: str) -> Job:
        """Cancel a job, and return it; videos that are finished are kept.

        A job on which a process works ends a moment later, when its tasks are stopped. A job that
        is finished does not change. Raises `UnknownJobError` if the job does not exist.
        """
        opened = self._open_for(job)
        found = await opened.database.write(partial(_cancel, log=self._log, job=job))
        opened.feed.notify(job)
        self._dispatcher.wake()
        return found

    async def report(self, job: str) -> dict[str, Any] | None:
        """Return the report of a finished job as JSON, without folders; ``None`` if it has none.

        See `Report` for its fields. If tasks of the job stopped after its process had ended, the
        bill in the report stays an estimate, and that in `Job.cost` becomes final. Raises
        `UnknownJobError` if the job does not exist.
        """
        database = self._open_for(job).database
        return await database.read(partial(job_rows.read_report, job=job))

    async def videos(self, job: str) -> list[Video]:
        """Return the videos of a job that are finished by now.

        The paths are only names of files: those in `JobFolder.videos`, or in the folder in S3.
        Raises `UnknownJobError` if the job does not exist.
        """
        return await self._open_for(job).database.read(partial(read_videos, job=job))

    async def scenes(self, job: str) -> list[JobScene]:
        """Return the states of the scenes of a job, in their order.

        Raises `UnknownJobError` if the job does not exist.
        """
        return await self._open_for(job).database.read(partial(read_scene_states, job=job))

    async def picture(self, job: str, scene: str) -> Path | None:
        """Return the picture of a scene that the job keeps; ``None`` if it has none.

        Other files of this machine, which only the program itself can have named, are not returned.
        """
        image = await self._open_for(job).database.read(partial(find_image, job=job, scene=scene))
        return None if image is None else self._folder.job(job).kept_input(image)

    async def file(self, job: str, name: str) -> JobFile | None:
        """Return the video or the cover that has a name; ``None`` if it is not finished.

        A job that does not exist has no files.
        """
        return await self._open().database.read(partial(find_file, job=job, name=name))

    async def download_url(
        self, job: str, file: str, *, save: bool = False, method: DownloadMethod = "GET"
    ) -> str:
        """Return a URL with which anyone can get a file of a job from S3, for at most an hour.

        Args:
            job: Job whose videos are written to S3.
            file: Name of the file: ``NAME.mp4`` of a video, ``NAME.jpg`` of its cover, or
                ``JOB.mp4`` of the film.
            save: True if browsers save the file, and do not show it.
            method: Method of the requests for which the URL is valid.

        Raises:
            UnknownJobError: The job does not exist.
            ResourceMissingError: The job has not written such a file to S3, or it was deleted or
                replaced since.
            CloudburstError: S3 refuses the request, or does not answer.
        """
        database = self._open_for(job).database
        found = await database.read(partial(find_download, job=job, file=file))
        return await self._client.download_url(replace(found, save=save, method=method))

    def files(self, job: str) -> JobFolder:
        """Return the folder of a job, with its videos and its film."""
        return self._folder.job(job)

    async def remove(self, job: str) -> None:
        """Remove a finished job with its files on this machine; its objects in S3 stay.

        Raises:
            UnknownJobError: The job does not exist.
            JobConflictError: The job is not finished.
        """
        opened = self._open_for(job)
        try:
            await remove_job(opened.database, self._folder, job)
        finally:
            opened.feed.notify(job)

    @property
    def uploads(self) -> StoredUploads:
        """Files that were uploaded for later jobs."""
        return StoredUploads(self._open())

    def _open_for(self, job: str) -> OpenQueue:
        opened = self._open()
        self._folder.job(job)
        return opened

    def _open(self) -> OpenQueue:
        if self._opened is None:
            raise ClosedError("enter the queue first: async with JobQueue(...) as queue")
        return self._opened


def _cancel(connection: sqlite3.Connection, log: EventLog, job: str) -> Job:
    if job_claims.request_cancel(connection, job):
        log.end_job(connection, job, JobEnd(state=JobState.CANCELLED))
    return job_rows.read_job(connection, job)

"""Job, or further scenes of one, whose input files arrive and are checked before a submission."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio.to_thread

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.inputs.preflight import parse_scenes
from cloudburst.jobs import job_rows
from cloudburst.jobs.admission import check_job, check_scenes
from cloudburst.jobs.event_log import NewEvent
from cloudburst.jobs.folder import size_of_files
from cloudburst.jobs.job_rows import NewJob, OpenJob
from cloudburst.jobs.models import MAX_FAULTS, Job, JobChanges, JobRequest, check_idempotency_key
from cloudburst.jobs.open_queue import OpenQueue
from cloudburst.jobs.resumption import ResumableJob, read_resumable
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.film import FILM_FILES, MAX_FILM_SECONDS
from cloudburst.models.limits import Limits
from cloudburst.models.locations import AnyLocation
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import AnyScene, check_duration
from cloudburst.models.video_format import VideoFormat, video_size

if TYPE_CHECKING:
    from cloudburst.inputs.file_checks import CheckedFile


# Seconds after which no further file is checked. A picture or sound takes 0.1 to 0.3 ms, subtitles
# with 600 cues 4 ms (x86-64, 2026-11): most jobs are checked completely.
CHECK_SECONDS = 0.5
_Insert: TypeAlias = Callable[[sqlite3.Connection, NewJob], Job]


@dataclass(eq=False, slots=True, repr=False)
class JobDraft:
    """Job, or further scenes of an open job, that are not submitted yet.

    Their input files may be written into `inputs`.
    """

    id: str
    """Identifier that the job has or will have."""
    inputs: Path
    """Folder for input files of the job, which are removed when it is complete."""
    _queue: OpenQueue
    _wake: Callable[[], None]
    base: OpenJob | ResumableJob | None = None
    """Open job to which scenes are added, or finished job to be resumed; ``None`` for a new one."""
    submitted: bool = False
    """True if the job or its scenes were submitted, so that the files are kept."""
    _lengths: Mapping[AnyLocation, float] = field(default_factory=dict[AnyLocation, float])
    _unknown_length: float = 0.0

    async def check_room(self, owner: str, size: int) -> None:
        """Note the size of the input files by now, in bytes, or that which was announced.

        It may be called for every part that arrives. Raises `JobLimitError` if they do not fit.
        """
        await self._queue.room.check(self, owner, size)

    async def check_files(self, request: JobRequest) -> None:
        """Check files of the job on this machine by their start and end, for half a second.

        The start of the job finds all other faults. Raises `InvalidScenesError` with every fault.
        """
        limits = self._queue.client.limits
        self._lengths = await anyio.to_thread.run_sync(check_files, request, limits)
        self._unknown_length = limits.audio_seconds

    async def submit(
        self,
        request: JobRequest,
        *,
        owner: str = "",
        idempotency_key: str | None = None,
        request_sha256: str | None = None,
    ) -> Job:
        """Queue the job, and return it: see `JobQueue.submit`.

        Args:
            request: Scenes of the job, and what belongs to them.
            owner: Owner of the job.
            idempotency_key: Key by which a repeated request is known; the job of the first request
                is then returned, and this one is dropped.
            request_sha256: SHA-256 of what the caller sent, with which a repeated request is
                compared; ``None``: that of ``request``.
        """
        self._queue.clients.places.check(request)
        if idempotency_key is not None:
            check_idempotency_key(idempotency_key)
            if request_sha256 is None:
                request_sha256 = await anyio.to_thread.run_sync(_sha256, request)
        if request.webhook is not None:
            self._queue.log.webhooks.check_job_url(request.webhook)
        repeated = {"request_sha256": request_sha256 or "", "idempotency_key": idempotency_key}
        return await self._submit(self._insert, request, owner=owner, **repeated)

    async def add(self, scenes: Sequence[AnyScene], *, max_scenes: int | None = None) -> Job:
        """Add the scenes to the open job, and return it: see `JobQueue.add_scenes`.

        ``max_scenes`` is the maximum number of scenes that the job may have then.
        """
        assert isinstance(self.base, OpenJob), "the scenes belong to an open job"
        job, request, _ = self.base
        options, has_voice = request.options or self._queue.client.options, bool(request.film_audio)
        parse = partial(parse_scenes, max_faults=MAX_FAULTS, has_voice=has_voice)
        parsed = await anyio.to_thread.run_sync(parse, scenes, options)
        request = request.model_copy(update={"scenes": parsed})
        insert = partial(self._insert_scenes, max_scenes=max_scenes)
        return await self._submit(insert, request, owner=job.owner)

    def changed(self, changes: JobChanges) -> JobRequest:
        """Return the request of the finished job with changes.

        Raises `InvalidScenesError` for names of other scenes, and for scenes that are invalid then.
        """
        assert isinstance(self.base, ResumableJob), "the job is to be resumed"
        return self.base.changed(changes, self._queue.client.options)

    async def resume(self, request: JobRequest) -> Job:
        """Queue the finished job again, and return it: see `JobQueue.resume`."""
        assert isinstance(self.base, ResumableJob), "the job is to be resumed"
        await self.check_files(request)
        return await self._submit(self._insert_resumed, request, owner=self.base.job.owner)

    async def _submit(self, insert: _Insert, request: JobRequest, **more: Any) -> Job:
        measure = partial(
            video_seconds,
            options=self._queue.client.options,
            lengths=self._lengths,
            unknown=self._unknown_length,
            position=self.base.position if isinstance(self.base, OpenJob) else 0.0,
        )
        new = NewJob(
            id=self.id,
            request=request,
            bytes=await anyio.to_thread.run_sync(size_of_files, self.inputs),
            video_seconds=await anyio.to_thread.run_sync(measure, request),
            now=time.time(),
            **more,
        )
        job = await self._queue.database.write(lambda c: insert(c, new))
        self._queue.feed.notify(self.id)
        self._wake()
        return job

    def _insert(self, connection: sqlite3.Connection, new: NewJob) -> Job:
        if new.idempotency_key is not None:
            earlier = job_rows.find_repeated(
                connection, new.owner, new.idempotency_key, new.request_sha256
            )
            if earlier is not None:
                return job_rows.read_job(connection, earlier)
        check_job(connection, new, self._queue.limits)
        job_rows.insert_job(connection, new)
        queued = NewEvent(type="job.queued", time=new.now, data={"open": new.request.open})
        self._queue.log.append(connection, new.id, [queued])
        # Here, because a cancellation may hide that the transaction is complete. If it fails, only
        # files are left, which are removed later.
        self.submitted = True
        return job_rows.read_job(connection, new.id)

    def _insert_resumed(self, connection: sqlite3.Connection, new: NewJob) -> Job:
        read_resumable(connection, self.id)
        check_job(connection, new, self._queue.limits)
        job_rows.resume_job(connection, new)
        self._queue.log.append(connection, self.id, [NewEvent(type="job.resumed", time=new.now)])
        self.submitted = True
        return job_rows.read_job(connection, self.id)

    def _insert_scenes(
        self, connection: sqlite3.Connection, new: NewJob, max_scenes: int | None
    ) -> Job:
        job, scenes = job_rows.read_open_job(connection, self.id).job, new.request.scenes
        if max_scenes is not None and (number := job.scenes + len(scenes)) > max_scenes:
            found = f"{number:,} scenes with the earlier ones"
            fault = SceneFault("", "scenes", found, f"at most {max_scenes:,}", "out_of_range")
            raise InvalidScenesError(faults=[fault])
        check_scenes(connection, new, self._queue.limits)
        job_rows.add_scenes(connection, new)
        self.submitted = True
        return job_rows.read_job(connection, self.id)


def _sha256(request: JobRequest) -> str:
    text = json.dumps(request.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_files(request: JobRequest, limits: Limits) -> dict[AnyLocation, float]:
    """Return the length of each audio file that was checked, in seconds."""
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.file_checks import check_file  # noqa: PLC0415

    deadline = time.monotonic() + CHECK_SECONDS
    checked: dict[tuple[str, Path], CheckedFile | InvalidInputError] = {}
    faults = list[SceneFault]()
    of_film = replace(limits, audio_seconds=MAX_FILM_SECONDS)
    for scene in request.scenes:
        try:
            check_duration(scene.duration, limits.audio_seconds)
        except InvalidInputError as exc:
            fault = SceneFault(scene.name, "duration", exc.found, exc.expected, exc.code)
            faults.append(fault)
    # Subtitles last: they are read whole.
    for name, role, file in sorted(_files(request), key=lambda found: found[1] == "subtitle"):
        if file not in checked:
            if time.monotonic() > deadline:
                break
            checked[file] = check_file(*file, of_film if file[0] in FILM_FILES else limits)
        if isinstance(problem := checked[file], InvalidInputError):
            found = f"{problem.found}: {file[1]}"
            faults.append(SceneFault(name, role, found, problem.expected, problem.code))
    if faults:
        raise InvalidScenesError(faults=faults)
    return {
        file[1]: found.facts.seconds
        for file, found in checked.items()
        if not isinstance(found, InvalidInputError) and found.facts.length_known
    }


def video_seconds(
    request: JobRequest,
    options: RenderOptions,
    lengths: Mapping[AnyLocation, float],
    *,
    unknown: float,
    position: float = 0.0,
) -> float:
    """Return the length of all videos, in seconds of 1920x1080 at 30 frames per second.

    ``position`` is that in the voice of the film at which the first scene begins, in seconds.
    """
    total, voice = 0.0, 0.0
    if request.film_audio:
        voice = lengths.get(request.film_audio, unknown and MAX_FILM_SECONDS)
    for scene in request.scenes:
        chosen = (request.options or options).model_copy(update=scene.options.given())
        # The orientation, which depends on the picture, does not change the number of pixels.
        shape = VideoFormat(video_size(chosen.size, upright=False), chosen.fps)
        if scene.audio:
            length = lengths.get(scene.audio, unknown)
        else:
            length = scene.duration or max((scene.until or voice) - position, 0.0)
            position += length
        total += length * shape.pixel_rate
    return total


def _files(request: JobRequest) -> Iterator[tuple[str, str, tuple[str, Path]]]:
    parts = [(scene.name, scene.files(), scene.options) for scene in request.scenes]
    parts.append(("", request.files(), request.options or RenderOptions()))
    for label, files, options in parts:
        for name, location in files.items():
            if isinstance(location, Path):
                yield label, name, (name, location)
        for name, location in options.files().items():
            if isinstance(location, Path):
                yield label, f"options.{name}", (name, location)

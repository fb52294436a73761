"""Changes of a finished job with which it is resumed."""

from __future__ import annotations

import sqlite3
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from cloudburst.errors import InvalidScenesError, JobConflictError, SceneFault
from cloudburst.inputs.preflight import parse_scenes
from cloudburst.jobs.event_log import read_videos
from cloudburst.jobs.job_rows import parse_request, read_job, read_scenes
from cloudburst.jobs.models import MAX_FAULTS, Job, JobChanges, JobRequest
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import fold_name


@dataclass(frozen=True, slots=True)
class ResumableJob:
    """Finished job that may be resumed."""

    job: Job
    # Request with all scenes, also if they came one by one.
    request: JobRequest
    # Names of the scenes that have a video.
    done: AbstractSet[str]

    def changed(self, changes: JobChanges, options: RenderOptions) -> JobRequest:
        """Return the request with changes; ``options`` are those of the client.

        Raises `InvalidScenesError` for names of other scenes, and for scenes that are invalid then.
        """
        lacking = {
            fold_name(scene.name) for scene in self.request.scenes if scene.name not in self.done
        }
        by_name = {
            fold_name(str(change.get("name", ""))): {
                field.removesuffix("_path"): value for field, value in change.items()
            }
            for change in changes.scenes
        }
        left_out = {fold_name(name) for name in changes.leave_out}
        faults = [
            SceneFault(name, "name", "no scene of the job without a video", "the name of one")
            for name in sorted((by_name.keys() | left_out) - lacking)
        ]
        if faults:
            raise InvalidScenesError(faults=faults)
        scenes = [
            scene.model_dump(mode="json", exclude_unset=True)
            | {**by_name.get(fold_name(scene.name), {}), "name": scene.name}
            for scene in self.request.scenes
            if fold_name(scene.name) not in left_out
        ]
        options, has_voice = self.request.options or options, bool(self.request.film_audio)
        parsed = parse_scenes(scenes, options, max_faults=MAX_FAULTS, has_voice=has_voice)
        max_usd = changes.max_usd or self.request.max_usd
        return self.request.model_copy(update={"scenes": parsed, "max_usd": max_usd})


def read_resumable(connection: sqlite3.Connection, job: str) -> ResumableJob:
    """Return a job that is to be resumed.

    Raises `UnknownJobError`, and `JobConflictError` if it is not finished, or is complete.
    """
    found = read_job(connection, job)
    if not found.resumable:
        msg = f"the state of job {job} is {found.state}; expected a finished job that lacks videos"
        raise JobConflictError(msg)
    (text,) = connection.execute("SELECT request FROM jobs WHERE id = ?", [job]).fetchone()
    request, (scenes, _) = parse_request(text), read_scenes(connection, job, 0)
    if request.open:
        request = request.model_copy(update={"open": False, "scenes": tuple(scenes)})
    return ResumableJob(found, request, {video.scene for video in read_videos(connection, job)})

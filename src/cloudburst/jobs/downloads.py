"""Downloads of files that jobs have written to S3. The function uses the caller's transaction."""

from __future__ import annotations

import sqlite3

from cloudburst.errors import ResourceMissingError
from cloudburst.jobs.event_rows import find_file
from cloudburst.jobs.job_rows import read_job
from cloudburst.models.download import Download
from cloudburst.models.locations import parse_s3_prefix
from cloudburst.text import short_repr


def find_download(connection: sqlite3.Connection, job: str, file: str) -> Download:
    """Return the download of a video, a cover or the film of a job in S3, by the file's name.

    Raises `UnknownJobError` if the job does not exist, and `ResourceMissingError` if it has no such
    file in S3.
    """
    found = read_job(connection, job)
    if found.destination is None:
        raise ResourceMissingError(f"the files of job {job} are not in S3")
    folder = parse_s3_prefix(found.destination)
    if found.film and file == film_name(job):
        film = folder.object(file)
        return Download(location=film, run=job, scene=str(film), sha256=None)
    if (written := find_file(connection, job, file)) is None:
        msg = f"job {job} has no file {short_repr(file)}, or it is not finished yet"
        raise ResourceMissingError(msg)
    location = folder.object(file)
    return Download(location=location, run=job, scene=written.scene, sha256=written.sha256)


def film_name(job: str) -> str:
    """Return the name of the film of a job in S3, in the folder of its videos."""
    return f"{job}.mp4"

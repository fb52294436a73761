"""Removal of jobs and uploads that have been kept long enough."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from functools import partial

import anyio.to_thread

from cloudburst.errors import UnknownJobError
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.folder import JobsFolder
from cloudburst.jobs.job_rows import delete_job, finished_before, job_ids
from cloudburst.jobs.models import JobLimits
from cloudburst.jobs.upload_rows import delete_upload, upload_names, uploads_before
from cloudburst.webhooks import outbox

logger = logging.getLogger(__name__)

STRAY_SECONDS = 86_400.0
"""Age in seconds above which files are removed that belong to no job and no upload."""


async def remove_old(database: JobDatabase, folder: JobsFolder, limits: JobLimits) -> None:
    """Remove finished jobs and uploads after ``JobLimits.keep_seconds``, and stray files.

    Messages for webhooks that were given up are removed after the same time.
    """
    now = time.time()
    before = now - limits.keep_seconds
    old = await database.read(lambda c: (finished_before(c, before), uploads_before(c, before)))
    jobs, uploads = old
    for job in jobs:
        with suppress(UnknownJobError):  # another process was faster
            await database.write(partial(delete_job, job=job))
        await anyio.to_thread.run_sync(folder.job(job).remove)
    for upload in uploads:
        await database.write(partial(delete_upload, upload=upload.id))
        path = folder.uploads / upload.name
        await anyio.to_thread.run_sync(partial(path.unlink, missing_ok=True))
    await database.write(partial(outbox.purge, before=before))
    known = await database.read(_known)
    await anyio.to_thread.run_sync(folder.remove_strays, known, now - STRAY_SECONDS)


def _known(connection: sqlite3.Connection) -> set[str]:
    return {*job_ids(connection), *upload_names(connection)}

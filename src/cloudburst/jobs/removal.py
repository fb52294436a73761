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
from cloudburst.jobs.folder import JobsFolder, translated_os_errors
from cloudburst.jobs.job_rows import delete_job, finished_before, job_ids
from cloudburst.jobs.open_queue import OpenQueue
from cloudburst.jobs.upload_rows import delete_upload, upload_ids, uploads_before
from cloudburst.jobs.webhooks import outbox
from cloudburst.models.locations import parse_s3_prefix
from cloudburst.outputs.journal.folders import journal_folder
from cloudburst.outputs.journal.pruning import remove_journal

logger = logging.getLogger(__name__)

STRAY_SECONDS = 86_400.0
"""Age in seconds above which files are removed that belong to no job and no upload."""


async def remove_old(queue: OpenQueue) -> None:
    """Remove finished jobs and uploads after ``JobLimits.keep_seconds``, and stray files.

    Messages for webhooks that were given up are removed after the same time.
    """
    database, folder, now = queue.database, queue.folder, time.time()
    before = now - queue.limits.keep_seconds
    old = await database.read(lambda c: (finished_before(c, before), uploads_before(c, before)))
    jobs, uploads = old
    for job in jobs:
        with suppress(UnknownJobError):  # another process was faster
            await remove_job(database, folder, job)
    for upload in uploads:
        await database.write(partial(delete_upload, upload=upload))
        with suppress(OSError):  # a file that is left is a stray file
            await anyio.to_thread.run_sync(folder.upload(upload).unlink)
    await database.write(partial(outbox.purge, before=before))
    known = await database.read(_known)
    with translated_os_errors(folder.path):
        await anyio.to_thread.run_sync(folder.remove_strays, known, now - STRAY_SECONDS)


async def remove_job(database: JobDatabase, folder: JobsFolder, job: str) -> None:
    """Remove a finished job with its files on this machine; its objects in S3 stay.

    Raises `UnknownJobError` if it does not exist, and `JobConflictError` if it is not finished.
    """
    destination = await database.write(partial(delete_job, job=job))

    def remove_files() -> None:
        folder.job(job).remove()
        if destination is not None:  # then its journal is in the state folder
            remove_journal(journal_folder(parse_s3_prefix(destination)), job)

    await anyio.to_thread.run_sync(remove_files)


def _known(connection: sqlite3.Connection) -> set[str]:
    return {*job_ids(connection), *upload_ids(connection)}

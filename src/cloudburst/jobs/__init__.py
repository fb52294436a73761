"""Jobs: runs that outlive requests and processes, kept in a folder.

`JobQueue` is the whole interface for programs; `cloudburst.web` serves it over HTTP.
"""

from cloudburst.jobs.draft import JobDraft
from cloudburst.jobs.folder import JobFolder
from cloudburst.jobs.job_queue import JobQueue
from cloudburst.jobs.models import (
    Job,
    JobChanges,
    JobCost,
    JobEvent,
    JobFailure,
    JobLimits,
    JobMonth,
    JobNews,
    JobPage,
    JobProgress,
    JobRequest,
    JobState,
    JobTerms,
    Place,
)
from cloudburst.jobs.places import Places
from cloudburst.jobs.stored_uploads import StoredUploads, Upload

__all__ = [
    "Job",
    "JobChanges",
    "JobCost",
    "JobDraft",
    "JobEvent",
    "JobFailure",
    "JobFolder",
    "JobLimits",
    "JobMonth",
    "JobNews",
    "JobPage",
    "JobProgress",
    "JobQueue",
    "JobRequest",
    "JobState",
    "JobTerms",
    "Place",
    "Places",
    "StoredUploads",
    "Upload",
]

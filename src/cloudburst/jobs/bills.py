"""Final bills of finished jobs, some of whose tasks had not stopped yet when they finished."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.errors import CloudburstError, JobStorageError
from cloudburst.jobs.event_log import NewEvent
from cloudburst.jobs.job_rows import is_final, unsettled_jobs, write_report
from cloudburst.jobs.job_run import cost_of, json_of
from cloudburst.jobs.models import JobCost
from cloudburst.jobs.open_queue import OpenQueue
from cloudburst.models.locations import parse_s3_prefix
from cloudburst.models.report import Report
from cloudburst.models.settings import Settings
from cloudburst.models.task import usd_billed
from cloudburst.outputs.final_bills import MAX_ASKED_AGE, JournaledRun, complete_bills
from cloudburst.outputs.journal.reader import journal_folder, journal_path, read_journal

logger = logging.getLogger(__name__)

# Seconds between two questions to AWS about tasks of finished jobs. AWS forgets a task an hour
# after its stop, and a task of a killed process is billed until it is stopped.
INTERVAL = 60.0


class FinalBills:
    """Final bills of finished jobs, each with the event ``job.settled``."""

    def __init__(self, queue: OpenQueue) -> None:
        self._queue = queue

    async def settle(self, job: str, report: Report) -> None:
        """Write the final bill of a job when its tasks have stopped."""
        if report.cost.final:
            return
        settled = await report.settled()
        if (cost := cost_of(settled)) is not None and cost.final:
            await self._write(job, cost, await json_of(settled))

    async def complete_regularly(self) -> None:
        """Ask AWS for bills that were not final when their jobs finished, until cancelled."""
        while True:
            try:
                await self._complete()
            except CloudburstError as exc:
                logger.warning("final bills of jobs are not known: %s", exc)
            await anyio.sleep(INTERVAL)

    async def _complete(self) -> None:
        since = time.time() - MAX_ASKED_AGE
        jobs = await self._queue.database.read(partial(unsettled_jobs, since=since))
        if not jobs:
            return
        try:
            await _stop_leftover_tasks([job for job, _ in jobs], self._queue.client.settings)
        except CloudburstError as exc:
            logger.warning("tasks of finished jobs may still run: %s", exc)
        costs = await anyio.to_thread.run_sync(self._final_costs, jobs, abandon_on_cancel=True)
        for job, cost in costs.items():
            await self._write(job, cost, None)

    def _final_costs(self, jobs: Sequence[tuple[str, str | None]]) -> dict[str, JobCost]:
        runs = list[JournaledRun]()
        for job, destination in jobs:
            to = parse_s3_prefix(destination) if destination else self._queue.folder.job(job).videos
            folder = journal_folder(to)
            try:
                state = read_journal(journal_path(folder, job))
            except CloudburstError as exc:
                logger.debug("job %s: %s", job, exc)
                continue
            runs.append(JournaledRun(folder, job, state))
        costs = dict[str, JobCost]()
        for run, state in zip(runs, complete_bills(runs, self._queue.client.settings), strict=True):
            if all(task.settled for task in state.tasks.values()):
                usages = [task.usage for task in state.tasks.values() if task.usage is not None]
                costs[run.name] = JobCost(usd=sum(map(usd_billed, usages), Decimal()), final=True)
        return costs

    async def _write(self, job: str, cost: JobCost, report: Mapping[str, Any] | None) -> None:
        event = NewEvent(
            type="job.settled", time=time.time(), data={"cost": cost.model_dump(mode="json")}
        )

        def write(connection: sqlite3.Connection) -> None:
            if is_final(connection, job):  # another process was faster, or the job was removed
                return
            write_report(connection, job, report, cost)
            self._queue.log.append(connection, job, [event])

        try:
            await self._queue.database.write(write)
        except JobStorageError as exc:
            logger.error("job %s: its final bill is not written: %s", job, exc)  # noqa: TRY400 - the reason is enough


async def _stop_leftover_tasks(jobs: Collection[str], settings: Settings) -> None:
    """Stop the tasks of finished jobs whose processes on this machine have ended.

    Jobs share tasks, and an unfinished job finds its tasks when it is continued: so tasks of
    other processes are not touched. Asks nothing of AWS if there are none.
    """
    runs = await registered_runs()
    in_use = {run.run for run in runs if run.active}
    for job in sorted({run.run for run in runs}.intersection(jobs) - in_use):
        # Imported here: boto takes a while to import, and other processes need not do this.
        from cloudburst.aws.setup.running_tasks import cleanup  # noqa: PLC0415

        await cleanup(settings, run=job, reason="cloudburst: its process has ended")

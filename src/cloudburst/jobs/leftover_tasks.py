"""Tasks that a killed process has left, of jobs that it had finished.

Jobs share tasks: one that was started for a job may render another one when the first is finished.
An unfinished job finds its tasks when it is continued, but a finished one is not continued.
"""

from __future__ import annotations

from collections.abc import Collection

from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.models.settings import Settings

_REASON = "cloudburst: its process has ended"


async def stop_leftover_tasks(jobs: Collection[str], settings: Settings) -> None:
    """Stop the tasks of finished jobs whose processes on this machine have ended.

    Tasks of other processes are not touched. Nothing is asked of AWS if there are none to stop.

    Args:
        jobs: Finished jobs without a final bill.
        settings: Credentials, region and cluster.

    Raises:
        CloudburstError: The tasks could not be listed.
    """
    runs = await registered_runs()
    in_use = {run.run for run in runs if run.active}
    for job in sorted({run.run for run in runs}.intersection(jobs) - in_use):
        # Imported here: boto takes a while to import, and other processes need not do this.
        from cloudburst.aws.setup.running_tasks import cleanup  # noqa: PLC0415

        await cleanup(settings, run=job, reason=_REASON)

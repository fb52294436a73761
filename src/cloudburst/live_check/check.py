"""The check of an account: its parts one after the other, and the removal of all they started."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_definition import describe_task_definition
from cloudburst.aws.s3.open_store import open_store
from cloudburst.aws.setup.live_statements import LIVE_NAME
from cloudburst.aws.setup.running_tasks import cleanup
from cloudburst.errors import AWSError
from cloudburst.live_check.findings import Finding, Findings
from cloudburst.live_check.image_check import remove_repository
from cloudburst.live_check.live import REASON, Live
from cloudburst.live_check.parts import MAX_TASK_SECONDS, LivePlan, Part
from cloudburst.live_check.s3_check import remove_objects
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import Settings

REMOVAL_TIMEOUT = 90.0
"""Maximum seconds for the removal at the end, which a cancellation does not interrupt."""


async def check_live(
    settings: Settings,
    plan: LivePlan,
    *,
    on_finding: Callable[[Finding], object] = lambda _: None,
    session: Any = None,
) -> tuple[Finding, ...]:
    """Check an account with tasks that cost at most ``plan.usd``, and return what was found.

    First, what an earlier check has left is removed: make one check at a time in an account. At the
    end, and after an error or a cancellation, everything that was started is stopped and deleted.

    Args:
        settings: Settings with which the plan was made.
        plan: Parts of the check.
        on_finding: Function that is called with each finding.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.

    Raises:
        CloudburstError: There is no task definition, or AWS accepts no call.
    """
    findings, name = Findings(on_finding, account=plan.account), settings.task_definition
    async with open_aws(settings, session=session) as aws:
        definition = await describe_task_definition(aws, name, protocol=settings.protocol)
        template = RunTaskTemplate(settings=settings, definition=definition, timeouts=Timeouts())
        live = Live(aws, template, findings)
        with findings.part("Before"):
            if removed := await _remove_leftovers(live, plan.s3):
                findings.note("left by an earlier check, and removed", removed)
        try:
            for part in plan.parts:
                with findings.part(part.name):
                    await _check(live, part)
        finally:
            with anyio.CancelScope(shield=True), findings.part("At the end"):
                with anyio.fail_after(REMOVAL_TIMEOUT):
                    removed = await _remove_leftovers(live, plan.s3)
                seen = f"removed: {removed}" if removed else ""
                findings.report("nothing of this check is left in the account", True, seen)
    return tuple(findings.all)


async def _check(live: Live, part: Part) -> None:
    if part.omitted:
        live.findings.report("this part", None, part.omitted)
        return
    try:
        with anyio.fail_after(MAX_TASK_SECONDS if part.starts else math.inf):
            await part.check(live)
    finally:
        await live.stop_all()


async def _remove_leftovers(live: Live, s3: S3Prefix | None) -> str:
    """Stop the tasks of checks, delete their repository and objects, and return what there was."""
    swept = await cleanup(live.settings, run=LIVE_NAME, reason=REASON)
    if swept.failed:
        raise AWSError(f"still running: {swept.failed[0].task.task_id}: {swept.failed[0].error}")
    removed = [f"{len(swept.stopped)} tasks"] if swept.stopped else []
    if await remove_repository(live.aws):
        removed.append(f"repository {LIVE_NAME}")
    if s3 and (number := await remove_objects(open_store(live.aws, live.settings), s3)):
        removed.append(f"{number} objects and uploads in {s3}")
    return ", ".join(removed)

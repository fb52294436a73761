"""Single parts of the live check on an emulated account."""

from __future__ import annotations

from contextlib import asynccontextmanager

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_definition import describe_task_definition
from cloudburst.cli.live_account import Findings, Live
from cloudburst.models.limits import Timeouts
from support.setup_accounts import session, settings_of


@asynccontextmanager
async def opened(emulator, **changes):
    """What the parts of a check share."""
    settings = settings_of(emulator, **changes)
    async with open_aws(settings, session=session()) as aws:
        definition = await describe_task_definition(aws, settings.task_definition)
        template = RunTaskTemplate(settings=settings, definition=definition, timeouts=Timeouts())
        yield Live(aws, template, Findings(lambda _: None, account=emulator.config.account))


async def findings_of(emulator, *parts, **changes):
    """Outcome and text of each promise of some parts, made one after the other."""
    async with opened(emulator, **changes) as live:
        for part in parts:
            with live.findings.part("part"):
                try:
                    await part(live)
                finally:
                    await live.stop_all()
        return {one.subject: (str(one.outcome), one.seen) for one in live.findings.all}

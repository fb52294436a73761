"""Checks of an AWS account that an emulator cannot make, for less than ten cents.

    python docs/check_aws.py [--yes] [--no-spot] [--quick] [--cloudtrail MINUTES]
                             [--lifetime SECONDS] [--s3 BUCKET/PREFIX]

The program reads .env in the current folder, as ``cloudburst init`` writes it, prints what each
check starts and its maximum cost, and asks for confirmation. Then it starts small tasks, and prints
for each promise whether AWS keeps it. At its end every task is stopped, also after an error. The
exit code is 1 if a promise is broken.

``--s3 BUCKET/PREFIX`` also checks the requests of runs with files in S3, with small objects in the
subfolder ``.cloudburst/`` of this folder, which are deleted at the end.

``--quick`` omits the image, the burst, the subnets, ARM64 and the processor. ``--cloudtrail 20``
waits up to 20 minutes for the record of a task, to check whether it contains the key of the task.
"""
# ruff: noqa: INP001

from __future__ import annotations

import argparse
import sys
import tempfile
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
from aws_checks import BURST, SMALL, Checker
from aws_findings import MAX_TASK_SECONDS, Findings
from aws_image_check import check_image
from aws_s3_check import check_s3
from PIL import Image
from rich.console import Console

from cloudburst import Client, Limits, Settings, fargate
from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.fargate.run_task import RunTaskTemplate
from cloudburst.aws.fargate.task_definition import describe_task_definition, task_families
from cloudburst.aws.setup.check_account import CheckStatus, doctor
from cloudburst.aws.setup.prices import load_prices
from cloudburst.aws.setup.running_tasks import cleanup
from cloudburst.errors import CloudburstError
from cloudburst.image import ImageOptions
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import S3Prefix, parse_s3_prefix
from cloudburst.models.settings import OWN_IMAGE
from cloudburst.models.tier import Tier

MAX_USD = Decimal("0.10")
LIFETIME = 60.0
RUN_SECONDS = Decimal(240)
"""Seconds that a task may take to start and stop; the estimate counts all of them."""
MINIMUM_SECONDS = Decimal(60)
"""Minimum of the billed seconds of a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the program."""

    yes: bool = False
    spot: bool = True
    lifetime: float = LIFETIME
    """Seconds after which a task has to end by itself."""
    quick: bool = False
    """True to omit the image, the burst, the subnets, ARM64 and the processor."""
    cloudtrail: float = 0.0
    """Minutes to wait for the record of a task; 0 to omit this check."""
    s3: S3Prefix | None = None
    """Folder for the check of S3; ``None`` to omit it."""


class Part(NamedTuple):
    """A check."""

    name: str
    tasks: str
    """Tasks that the check starts, in words; empty for none."""
    usd: Decimal
    """Maximum cost in USD."""
    run: Callable[[], Awaitable[None]]


async def render(settings: Settings, findings: Findings) -> None:
    """Render one scene, a picture with two seconds of audio, through the client."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (1280, 720), "teal").save(folder / "scene.png")
        with wave.open(str(folder / "scene.wav"), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(2 * 2 * 8000))
        scene = {
            "name": "scene",
            "image": folder / "scene.png",
            "audio": folder / "scene.wav",
        }
        limits = Limits(workers=1, max_usd=MAX_USD)
        async with Client(fargate(settings), limits=limits) as client:
            report = await client.render_all([scene], to=folder / "videos")
            report = await report.settled()
    for error in report.errors:
        findings.console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
    seen = f"{report.status} in {report.wall_seconds:.0f} s"
    findings.report("a scene becomes a video", report.status == "complete", seen)
    cost = report.cost
    findings.report(
        "its bill is final when its task has stopped",
        kept=report.is_billed and cost.final,
        seen=f"${cost.usd:.5f} for {cost.billed_seconds} s",
    )


async def parts_of(
    aws: AWSClient, checker: Checker, options: Options, findings: Findings, settings: Settings
) -> list[Part]:
    """Return the checks in their order, with the maximum cost of each."""
    table = await load_prices()
    definition = await describe_task_definition(aws, settings.task_definition)
    rates = table.rates(aws.region, architecture=definition.architecture)
    most = Decimal(int(MAX_TASK_SECONDS))
    small, usual = (
        rates.task_usd_per_second(SMALL) * most,
        rates.task_usd_per_second(Tier.STANDARD) * most,
    )
    # The smallest task is a quarter of ECONOMY; its address costs the same.
    tiny = rates.task_usd_per_second(SMALL, public_ipv4=False) / 4 + rates.ipv4
    number, arm = len(settings.subnets), task_families(settings.task_definition)["ARM64"]

    async def lifetime() -> None:
        await checker.lifetime(options.lifetime)

    async def trail() -> None:
        await checker.cloudtrail(options.cloudtrail)

    async def scene() -> None:
        await render(settings, findings)

    async def arm64() -> None:
        await checker.arm64(arm)

    none = Decimal(0)

    parts = [
        Part("The role", "", none, checker.role_age),
        Part("One task, asked for twice", "1 small", small, checker.token_and_address),
        Part("A task that ends by itself", "1 small", small, lifetime),
    ]
    if options.spot:
        # Spot is cheaper by an unknown factor.
        parts.append(Part("Spot", "1 small", small, checker.spot))
    if not options.quick:
        parts += [
            *_image_parts(aws, findings, settings),
            Part("Each subnet", f"{number} tiny", tiny * RUN_SECONDS * number, checker.each_subnet),
            Part("A burst", f"{BURST} tiny", tiny * MINIMUM_SECONDS * BURST, checker.burst),
            Part("The processor", "1 tiny", tiny * RUN_SECONDS, checker.processor),
        ]
        if await _exists(aws, arm):
            parts.append(Part("ARM64", "1 small", small, arm64))
    parts.append(Part("A scene", "1 STANDARD", usual, scene))
    parts += _s3_parts(aws, findings, options.s3, settings)
    if options.cloudtrail:
        parts.append(Part("CloudTrail", "", none, trail))
    return parts


def _image_parts(aws: AWSClient, findings: Findings, settings: Settings) -> list[Part]:
    """Return the check of our image, if the settings have it."""
    if settings.image != OWN_IMAGE:
        return []

    async def run() -> None:
        await check_image(aws, findings, options=ImageOptions.from_settings(settings))

    # A GB costs $0.10 a month, so that some minutes cost nothing.
    return [Part("The image", "", Decimal(0), run)]


def _s3_parts(
    aws: AWSClient, findings: Findings, folder: S3Prefix | None, settings: Settings
) -> list[Part]:
    """Return the check of S3, if a folder for it was named."""
    if folder is None:
        return []
    # About 40 requests cost $0.0002.
    return [Part("S3", "", Decimal(0), partial(check_s3, aws, findings, folder, settings))]


async def _exists(aws: AWSClient, reference: str) -> bool:
    try:
        await describe_task_definition(aws, reference)
    except CloudburstError:
        return False
    return True


async def confirmed() -> bool:
    """Return whether the user confirms."""
    answer = await anyio.to_thread.run_sync(input, "Continue? [y/N] ", abandon_on_cancel=True)
    return answer.strip().lower() in {"y", "yes"}


async def main(options: Options, console: Console) -> int:
    """Run the checks; return the exit code."""
    settings = Settings()
    findings = Findings(console)
    diagnosis = await doctor(settings, tasks=1, tier=Tier.STANDARD)
    for check in diagnosis.checks:
        if check.status is not CheckStatus.PASSED:
            console.print(f"{check.name}: {check.found}", markup=False, highlight=False)
    if not diagnosis.success:
        console.print("Nothing was started: cloudburst doctor prints the fixes.")
        return 1
    async with open_aws(settings) as aws:
        definition = await describe_task_definition(
            aws, settings.task_definition, protocol=settings.protocol
        )
        order = RunTaskTemplate(settings=settings, definition=definition, timeouts=Timeouts())
        checker = Checker(aws, order, findings)
        parts = await parts_of(aws, checker, options, findings, settings)
        most = sum((part.usd for part in parts), Decimal(0))
        console.print(f"In account {await aws.account_id()}, {aws.region}, this starts:")
        for part in parts:
            if part.tasks:
                line = f"  {part.name}: {part.tasks}, ${part.usd:.4f} at most"
                console.print(line, highlight=False)
        console.print(f"They cost ${most:.3f} at most.", highlight=False)
        if most > MAX_USD:
            console.print(f"That is more than ${MAX_USD}: nothing was started.")
            return 1
        if not options.yes and not await confirmed():
            return 1
        try:
            for part in parts:
                with findings.part(part.name):
                    await part.run()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(90):
                swept = await cleanup(settings, run=checker.run, reason="docs/check_aws.py is over")
                for failed in swept.failed:
                    line = f"STILL RUNS: {failed.task.task_arn}: {failed.error}"
                    console.print(line, style="red", markup=False)
    kept = "Every promise is kept." if not findings.broken else f"{findings.broken} broken."
    console.print(f"\n{kept} The bill shows it in Cost Explorer within a day.")
    return 1 if findings.broken else 0


def read_options(arguments: list[str]) -> Options:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--no-spot", action="store_true", help="start nothing on Spot")
    parser.add_argument("--quick", action="store_true", help="the most important checks only")
    parser.add_argument("--cloudtrail", type=float, default=0.0, metavar="MINUTES")
    parser.add_argument("--lifetime", type=float, default=LIFETIME, metavar="SECONDS")
    parser.add_argument("--s3", type=_s3_folder, metavar="BUCKET/PREFIX")
    given = parser.parse_args(arguments)
    return Options(
        yes=given.yes,
        spot=not given.no_spot,
        lifetime=given.lifetime,
        quick=given.quick,
        cloudtrail=given.cloudtrail,
        s3=given.s3,
    )


def _s3_folder(text: str) -> S3Prefix:
    return parse_s3_prefix(f"s3://{text.removeprefix('s3://')}")


if __name__ == "__main__":
    sys.exit(anyio.run(main, read_options(sys.argv[1:]), Console()))

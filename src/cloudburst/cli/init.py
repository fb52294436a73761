"""``cloudburst init``: creates the AWS resources that tasks need, or removes them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cloudburst.aws import setup
from cloudburst.aws.setup.destroy_account import DestroyReport
from cloudburst.aws.setup.destroy_account import destroy as destroy_account
from cloudburst.aws.setup.init_account import InitOptions, InitReport, SetupStep, StepOutcome, init
from cloudburst.aws.setup.permissions import Purpose, policy
from cloudburst.cli.image import image_progress
from cloudburst.cli.options import Name, s3_folders
from cloudburst.cli.output import error_console, print_error, print_output, write_json, write_line
from cloudburst.display.terminal_texts import WordWrapped, advice_text, safe_text
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import ENV_FILE, Settings, check_key_arn, full_image_name
from cloudburst.models.task import Protocol

_SIGNS = {
    StepOutcome.FOUND: ("✓", "green"),
    StepOutcome.CREATED: ("+", "green"),
    StepOutcome.UPDATED: ("~", "yellow"),
    StepOutcome.REMOVED: ("-", "yellow"),
    StepOutcome.KEPT: ("·", "dim"),
    StepOutcome.FAILED: ("✗", "red"),
}
_WOULD = {
    StepOutcome.CREATED: "to create",
    StepOutcome.UPDATED: "to update",
    StepOutcome.REMOVED: "to remove",
}
_COST = (
    "While no task runs, only the stored image and logs cost anything: $0.10 and $0.03 a GB and "
    "month. Writing logs costs $0.50 a GB (us-east-1, 2026-11)."
)
"""Note about costs, printed after ``init``. Sources: https://aws.amazon.com/ecr/pricing/ and
https://aws.amazon.com/cloudwatch/pricing/ (us-east-1, 2026-11)."""
_NO_COST = "Of what init has created in this region, nothing is left that costs anything."


def init_command(
    *,
    sources: Annotated[
        list[str] | None, Parameter(name="--from", metavar="ADDRESS", negative=())
    ] = None,
    open_to_world: Annotated[bool, Parameter(name="--open", negative=())] = False,
    add: Annotated[bool, Parameter(negative=())] = False,
    image: Name | None = None,
    base: Name | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
    protocol: Annotated[Protocol | None, Parameter(show=False)] = None,
    arm64: bool | None = None,
    env: bool = True,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    destroy: Annotated[bool, Parameter(negative=())] = False,
    keep_logs: Annotated[bool, Parameter(negative=())] = False,
    keep_image: Annotated[bool, Parameter(negative=())] = False,
    purposes: Annotated[
        list[Purpose] | None, Parameter(name="--policy", negative=(), consume_multiple=True)
    ] = None,
    s3: Annotated[list[str] | None, Parameter(name="--s3", metavar="FOLDER", negative=())] = None,
    s3_key: Annotated[list[str] | None, Parameter(metavar="ARN", negative=())] = None,
    template: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Set up an AWS account for rendering on Fargate, and write its settings to .env.

    Builds our image and pushes it to ECR, without Docker. Creates its repository, a cluster, a log
    group, the roles, a security group and the task definitions, if they are missing. A second run
    updates only what differs. While no task runs, only the stored image and logs cost anything.

    $ cloudburst init --dry-run
    $ cloudburst init --from 203.0.113.7/32

    Parameters
    ----------
    sources
        IPv4 address or CIDR from which workers can be reached; repeat the option for several.
        Default: the address of this machine, as https://checkip.amazonaws.com returns it.
    open_to_world
        Let every address reach the workers, which are then protected by their keys only.
    add
        Also keep the addresses that an earlier init allowed.
    image
        Image of the workers: "own", "public" (that of cloudburst-fargate), or the name of an image
        in a registry. Default: DOCKER_IMAGE, else our own.
    base
        Base of our own image. Default: CLOUDBURST_BASE_IMAGE, else python:3.13-slim.
    replace
        Give an existing task definition another image. Programs that start its tasks get it too.
    protocol
        Protocol of the image. Default: native for images named cloudburst, else onestep.
    arm64
        Whether the image is, or will be, available for ARM64. Default: yes for images named
        cloudburst and our own, unless it would need "pip install ziglang".
    env
        Whether to write the settings to .env in this folder.
    dry_run
        Change nothing; print what would be changed.
    destroy
        Remove what init created, and nothing else. Refused while tasks run.
    keep_logs
        With --destroy: keep the log group and its lines.
    keep_image
        With --destroy: keep the repository and its images.
    purposes
        Only print the IAM policy with the least permissions for run (the default), init, destroy,
        doctor, live (doctor --live) or prices. Several of them are printed as one policy.
    s3
        Folder BUCKET/PREFIX in S3 that runs will use, for inputs or videos; repeat the option for
        several. An empty object is written there and deleted. With --policy: also allow its use.
    s3_key
        With --policy and --s3: ARN of the key of KMS with which a bucket is encrypted; repeat the
        option for several. The policy also allows its use through S3.
    template
        Only print a CloudFormation template of what init creates, without the image and the task
        definitions. When its stack exists, init finds the resources and adds the rest.
    as_json
        Print the report as JSON.
    """
    given = {name: value for name, value in locals().items() if name != "template"}
    if template:
        _print_template(given)
        return 0
    settings = _with_image(Settings(), image)
    folders = s3_folders(s3 or ())
    keys = tuple(map(_s3_key, s3_key or ()))
    if keys and not (folders and purposes is not None):
        raise ConfigurationError("--s3-key without --policy and --s3; expected all three")
    if purposes is not None:
        document = anyio.run(
            partial(policy, settings, purposes=purposes or [Purpose.RUN], s3=folders, s3_keys=keys)
        )
        write_line(json.dumps(document, indent=2))
        return 0
    if destroy:
        if folders:
            raise ConfigurationError("--s3 with --destroy; expected one of the two")
        remove = partial(
            destroy_account, settings, dry_run=dry_run, keep_logs=keep_logs, keep_image=keep_image
        )
        removed = anyio.run(remove)
        _print_report(removed, as_json=as_json)
        return 0 if removed.success else 1
    if keep_logs or keep_image:
        name = "--keep-logs" if keep_logs else "--keep-image"
        raise ConfigurationError(f"{name} without --destroy; expected both")
    options = InitOptions(
        s3=folders,
        sources=tuple(sources or ()),
        open_to_world=open_to_world,
        keep_sources=add,
        protocol=protocol,
        arm64=arm64,
        replace=replace,
        base=base,
        env_file=ENV_FILE if env else None,
        dry_run=dry_run,
    )
    console = error_console()
    with image_progress(console) as show:
        report = anyio.run(
            partial(
                init,
                settings,
                options=options,
                on_wait=lambda line: print_error(WordWrapped(safe_text(line)), console),
                on_progress=show,
            )
        )
    _print_report(report, as_json=as_json)
    return 0


def _print_template(given: Mapping[str, object]) -> None:
    options = signature(init_command).parameters
    if any(value != options[name].default for name, value in given.items()):
        msg = "--template with other options; expected it alone: the stack has its own parameters"
        raise ConfigurationError(msg)
    write_line(Path(setup.__file__).with_name("template.yaml").read_text("utf-8").rstrip())


def _s3_key(text: str) -> str:
    try:
        return check_key_arn(text)
    except ValueError as exc:
        raise ConfigurationError(f"--s3-key: {exc}") from exc


def _with_image(settings: Settings, image: str | None) -> Settings:
    if image is None:
        return settings
    return settings.model_copy(update={"image": full_image_name(image)})


def _print_report(report: InitReport | DestroyReport, *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(report))
    else:
        print_output(*_report_lines(report))


def _report_lines(report: InitReport | DestroyReport) -> Iterator[RenderableType]:
    account = Text.assemble(
        "AWS account ", safe_text(report.account, "bold"), ", ", safe_text(report.region)
    )
    if report.dry_run:
        account.append("  (dry run: nothing is changed)", "yellow")
    yield account
    yield from _step_lines(report.steps, dry_run=report.dry_run)
    yield Text(_totals(report.steps, dry_run=report.dry_run), "bold")
    if isinstance(report, DestroyReport):
        yield from _notes_after_destroy(report)
    else:
        yield Text(_COST, "dim")
        if not report.dry_run:
            yield Text.assemble("Next: ", ("cloudburst doctor", "cyan"))


def _notes_after_destroy(report: DestroyReport) -> Iterator[Text]:
    outcomes = {step.outcome for step in report.steps}
    if StepOutcome.FAILED in outcomes:
        note = "Not everything was removed: correct what failed, and run the command again."
        yield Text(note, "red")
    elif report.steps:
        if not report.dry_run:
            yield Text(_COST if StepOutcome.KEPT in outcomes else _NO_COST, "dim")
        note = "AWS_SUBNET_ID is still set in .env: remove its line to render on this machine."
        yield Text(note, "dim")


def _step_lines(steps: Sequence[SetupStep], *, dry_run: bool) -> Iterator[RenderableType]:
    """Yield a line for each step; a command in its detail gets an unwrapped line of its own."""
    resources = max((len(step.resource) for step in steps), default=0)
    outcomes = max((len(_outcome_text(step, dry_run=dry_run)) for step in steps), default=0)
    for step in steps:
        sign, style = _SIGNS[step.outcome]
        detail, _, command = step.detail.partition("aws ")
        text = Text.assemble(safe_text(step.name, "cyan"), " · " if step.detail else "")
        failed = step.outcome is StepOutcome.FAILED
        text.append_text(safe_text(detail, "red" if failed else "dim"))
        grid = Table.grid(padding=(0, 1, 0, 0))
        for width in (1, resources, outcomes):
            grid.add_column(no_wrap=True, min_width=width)
        grid.add_column(overflow="fold")
        outcome = Text(_outcome_text(step, dry_run=dry_run), style)
        grid.add_row(Text(sign, style), step.resource, outcome, text)
        yield grid
        if command:
            yield advice_text(f"aws {command}", "cyan")


def _outcome_text(step: SetupStep, *, dry_run: bool) -> str:
    return _WOULD.get(step.outcome, step.outcome) if dry_run else step.outcome


def _totals(steps: Sequence[SetupStep], *, dry_run: bool) -> str:
    """Return the number of steps by outcome: ``2 created, 1 updated, 8 found``."""
    order = [
        StepOutcome.CREATED,
        StepOutcome.UPDATED,
        StepOutcome.REMOVED,
        StepOutcome.FAILED,
        StepOutcome.FOUND,
        StepOutcome.KEPT,
    ]
    numbers = Counter(step.outcome for step in steps)
    totals = [
        f"{numbers[kind]} {_WOULD.get(kind, kind) if dry_run else kind}"
        for kind in order
        if kind in numbers
    ]
    return f"{', '.join(totals)}." if totals else "There are no resources of cloudburst."

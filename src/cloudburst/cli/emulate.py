"""``cloudburst emulate``: runs an emulator of AWS Fargate and S3 on this machine."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import anyio
import anyio.to_thread
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from cloudburst.cli.options import Delay, WholeNumber
from cloudburst.cli.output import OutputConsole
from cloudburst.display.terminal_texts import safe_text
from cloudburst.display.texts import pluralize
from cloudburst.errors import ConfigurationError
from cloudburst.programs import stop_signals
from cloudburst.workers.local import MODULES, missing_requirements

if TYPE_CHECKING:
    from cloudburst.testing import EmulatorConfig, FargateEmulator, Task

STUB = "stub"
MB = 1_000_000
STYLES = {"RUNNING": "green", "STOPPED": "dim", "STOPPING": "yellow", "DEACTIVATING": "yellow"}


def emulate_command(
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    worker: Annotated[str | None, Parameter(metavar="COMMAND")] = None,
    tasks: Annotated[WholeNumber | None, Parameter(validator=Number(gte=1))] = None,
    provisioning: Delay = 1.0,
    pending: Delay = 5.0,
    registry: bool = False,
    policies: Annotated[list[Path] | None, Parameter(name="--policy", negative=())] = None,
) -> int:
    """Emulate AWS Fargate and S3 on this machine until Ctrl-C.

    First prints shell commands: they export the settings with which other commands and boto3 use
    the emulator. Then prints a line for each change of a task. The emulator accepts only calls that
    are signed with the key in these settings, and creates a new key at each start. Each task is a
    process with an address of its own. Linux only.

    $ cloudburst emulate > emulator.env

    Parameters
    ----------
    port
        Port of the API on 127.0.0.1. Default: an unused port.
    worker
        Command that runs in each task, listens at CLOUDBURST_HOST and CLOUDBURST_PORT, and uses the
        protocol onestep; or "stub" for a worker that only simulates encodes. Default: the render
        service of this package.
    tasks
        Largest number of tasks at once. Default: no limit.
    provisioning
        Time until a task has its network interface, such as 10s or 1m. Default: 1s.
    pending
        Time that the image pull takes at least, such as 10s or 1m. Default: 5s.
    registry
        Start a container registry, too, and run the images that are pushed to it, as on AWS. The
        account is then empty: run cloudburst init. Needs the programs docker-registry and htpasswd,
        bwrap to run images, and cloudburst-sdk[testing] for init.
    policies
        JSON file with an IAM policy, as "cloudburst init --policy" prints it; repeat the option for
        several. The key may then do what they allow, and nothing else. Default: everything.
    """
    from cloudburst.emulator.moto import moto_is_installed  # noqa: PLC0415 - loads a web server
    from cloudburst.testing import EmulatorConfig  # noqa: PLC0415 - loads a web server

    if registry and not moto_is_installed():
        msg = "registry: cloudburst init needs the other services of AWS: "
        raise ConfigurationError(f"{msg}pip install 'cloudburst-sdk[testing]'")
    config = EmulatorConfig(
        api_port=port,
        worker=_command(worker, runs_images=registry),
        protocol="native" if worker is None else "onestep",
        max_running=tasks,
        provisioning=provisioning,
        pending=pending,
        registry="start" if registry else None,
        prepared=not registry,
    )
    return anyio.run(_emulate, config, [_document(path) for path in policies or ()])


def _command(worker: str | None, *, runs_images: bool) -> tuple[str, ...]:
    """Return the command of the workers; images have their own, and need no service here."""
    if worker == STUB:
        return ()
    if worker:
        return tuple(shlex.split(worker))
    if not runs_images and (missing := missing_requirements(*MODULES)):
        raise ConfigurationError(f"worker: {missing}, or pass another command with --worker")
    return (sys.executable, "-m", "cloudburst.service")


def _document(path: Path) -> dict[str, Any]:
    try:
        document: Any = json.loads(path.read_text())
        if document["Statement"]:
            return cast("dict[str, Any]", document)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise ConfigurationError(f"policy: {path}; expected a JSON file with an IAM policy")


async def _emulate(config: EmulatorConfig, policies: Sequence[Mapping[str, Any]]) -> int:
    from cloudburst.testing import FargateEmulator  # noqa: PLC0415 - loads a web server

    console, left = OutputConsole(stderr=True, highlight=False), 0
    with anyio.open_signal_receiver(*stop_signals()) as signals:
        with _configured(), FargateEmulator(config) as emulator:
            emulator.on_change(StateLines(console).on_change)
            key = emulator.new_key(policies=policies) if policies else {}
            for name, value in {**emulator.environment, **key}.items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            console.print(Text(f"The emulator is at {emulator.url} until Ctrl-C.", "dim"))
            for line in next_steps(emulator):
                console.print(line)
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(_cancel_at_end, emulator, waiting.cancel_scope)
                async for _ in signals:
                    left = len(emulator.live)
                    waiting.cancel_scope.cancel()
        if left:
            console.print(Text(f"Stopped, together with {pluralize(left, 'task')}.", "dim"))
    return 0


async def _cancel_at_end(emulator: FargateEmulator, scope: anyio.CancelScope) -> None:
    await anyio.to_thread.run_sync(emulator.wait, abandon_on_cancel=True)
    scope.cancel()


def next_steps(emulator: FargateEmulator) -> Iterator[Text]:
    """Yield what to do with an account that has a registry, and what it does not check."""
    if emulator.registry is None:
        return
    yield Text(f"Its registry is at {emulator.registry.url}. The account is empty.", "dim")
    yield Text("In another shell, run the export commands above, and then:")
    yield Text("  cloudburst init")
    yield Text("  cloudburst render FOLDER --backend fargate")
    if emulator.not_confined:
        yield safe_text(
            f"Images are not run here: {emulator.not_confined}. Tasks run the service of this "
            "installation."
        )


@contextmanager
def _configured() -> Generator[None]:
    from cloudburst.emulator.errors import EmulatorError  # noqa: PLC0415 - loads a web server

    try:
        yield
    except EmulatorError as error:
        raise ConfigurationError(str(error)) from error


class StateLines:
    """Printer of status changes of tasks, one line for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed: dict[str, str] = {}

    def on_change(self, task: Task) -> None:
        """Print the status of a task, unless it was printed already."""
        if self._printed.get(task.id) != task.last_status:
            self._printed[task.id] = task.last_status
            self._console.print(self.line(task))

    @staticmethod
    def line(task: Task) -> Text:
        """Return a line with the time, the task, its status and details of that status."""
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        status = (f"{task.last_status:<14}", STYLES.get(task.last_status, ""))
        return Text.assemble(
            (now, "dim"), "  ", (f"task {task.number:<4}", "cyan"), " ", status, " ", _details(task)
        )


def _pulled(task: Task) -> str:
    image = task.images.get(task.main)
    if image is None:
        return ""
    return f"; image of {image.compressed_bytes / MB:.1f} MB"


def _details(task: Task) -> Text:
    match task.last_status:
        case "PROVISIONING":
            where = "Spot" if task.spot else "on demand"
            return Text(f"{task.vcpu:g} vCPU, {task.memory_mb / 1024:g} GB, {where}", "dim")
        case "PENDING":
            return Text("pulling its image", "dim")
        case "RUNNING":
            return Text(f"at {task.address}, process {task.pid}{_pulled(task)}")
        case "STOPPED":
            code = "" if task.exit_code is None else f", exit code {task.exit_code}"
            return safe_text(f"{task.stop_code}: {task.stopped_reason}{code}")
        case _:
            return Text("")

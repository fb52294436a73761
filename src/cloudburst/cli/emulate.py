"""``cloudburst emulate``: Fargate on this machine, for as long as it is wanted."""

from __future__ import annotations

import importlib.util
import shlex
import signal
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from cloudburst.cli.words import count, shown
from cloudburst.errors import ConfigurationError

if TYPE_CHECKING:
    from cloudburst.testing import EmulatorConfig, Task

STUB = "stub"
STYLES = {"RUNNING": "green", "STOPPED": "dim", "STOPPING": "yellow", "DEACTIVATING": "yellow"}
_Seconds = Annotated[float, Parameter(validator=Number(gte=0))]


def emulate_command(
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    worker: str | None = None,
    tasks: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    provisioning: _Seconds = 1.0,
    pending: _Seconds = 5.0,
    throttled: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Emulate AWS Fargate on this machine until Ctrl-C.

    Prints lines to export, with which other commands and boto3 find it, and then a line for each
    state of a task. Each task is a process with an address of its own; Linux only.

    Parameters
    ----------
    port
        Of AWS's API, on 127.0.0.1. Default: a free one.
    worker
        What runs in a task: a command that listens where CLOUDBURST_HOST and CLOUDBURST_PORT say,
        and speaks onestep, or "stub" for a worker that only pretends. Default: our own service.
    tasks
        Tasks that find capacity at once. Default: no limit.
    provisioning
        Seconds of a task until it has its network interface. Default: 1.
    pending
        Seconds of its image pull. Default: 5.
    throttled
        Throttle calls as AWS does.
    """
    from cloudburst.testing import AWS_BUCKETS, EmulatorConfig  # noqa: PLC0415 - loads a web server

    config = EmulatorConfig(
        api_port=port,
        worker=_command(worker),
        protocol="native" if worker is None else "onestep",
        max_running=tasks,
        provisioning=provisioning,
        pending=pending,
        buckets=AWS_BUCKETS if throttled else (),
    )
    return anyio.run(_emulate, config)


def _command(worker: str | None) -> tuple[str, ...]:
    if worker == STUB:
        return ()
    if worker:
        return tuple(shlex.split(worker))
    if not all(importlib.util.find_spec(name) for name in ("cv2", "numpy", "starlette", "uvicorn")):
        raise ConfigurationError(
            "worker: the service is not installed here; expected cloudburst-sdk[local], "
            "or another command with --worker"
        )
    return (sys.executable, "-m", "cloudburst.service")


async def _emulate(config: EmulatorConfig) -> int:
    from cloudburst.testing import FargateEmulator  # noqa: PLC0415 - loads a web server

    console = Console(stderr=True, highlight=False)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        with FargateEmulator(config) as emulator:
            emulator.on_change(StateLines(console).tell)
            for name, value in emulator.environment.items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            console.print(Text(f"Fargate is at {emulator.url} until Ctrl-C.", "dim"))
            async for _ in signals:
                break
            left = len(emulator.live)
        if left:
            console.print(Text(f"Ended, with {count(left, 'task')}.", "dim"))
    return 0


class StateLines:
    """One line for each state that a task comes to."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, str] = {}

    def tell(self, task: Task) -> None:
        """Tell of a task, unless that is told already."""
        if self._told.get(task.id) != task.last_status:
            self._told[task.id] = task.last_status
            self._console.print(self.line(task))

    @staticmethod
    def line(task: Task) -> Text:
        """When, which task, its state, and what is worth knowing of it then."""
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        status = (f"{task.last_status:<14}", STYLES.get(task.last_status, ""))
        return Text.assemble(
            (now, "dim"), "  ", (f"task {task.number:<4}", "cyan"), " ", status, " ", _facts(task)
        )


def _facts(task: Task) -> Text:
    match task.last_status:
        case "PROVISIONING":
            where = "Spot" if task.spot else "on demand"
            return Text(f"{task.vcpu:g} vCPU, {task.memory_mb / 1024:g} GB, {where}", "dim")
        case "PENDING":
            return Text("pulls its image", "dim")
        case "RUNNING":
            return Text(f"at {task.address}, process {task.pid}")
        case "STOPPED":
            code = "" if task.exit_code is None else f", exit code {task.exit_code}"
            return shown(f"{task.stop_code}: {task.stopped_reason}{code}")
        case _:
            return Text("")

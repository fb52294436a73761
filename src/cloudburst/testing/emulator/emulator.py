"""ECS Fargate on this machine: AWS's API, and a real process for each task."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from anyio import CancelScope, ContextManagerMixin, create_task_group
from anyio.from_thread import BlockingPortal, start_blocking_portal

from cloudburst.errors import ConfigurationError
from cloudburst.testing.emulator.account import CLUSTER, DEFINITION, Account
from cloudburst.testing.emulator.addresses import Addresses, reserved_network
from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.containers import open_containers
from cloudburst.testing.emulator.ec2 import GROUP, subnet_id
from cloudburst.testing.emulator.facts import Call, Task
from cloudburst.testing.emulator.faults import Fault
from cloudburst.testing.emulator.fleet import Fleet
from cloudburst.testing.emulator.life import Life
from cloudburst.testing.emulator.logs import Logs
from cloudburst.testing.emulator.moto import moto_is_installed
from cloudburst.testing.emulator.server import Api, serve

T = TypeVar("T")
NOT_RUNNING = "the emulator does not run: use it in a with statement"


class Inside:
    """What runs in the emulator's own thread."""

    def __init__(self, url: str, account: Account, fleet: Fleet, api: Api) -> None:
        self.url = url
        self.account = account
        self.fleet = fleet
        self.api = api
        self.over = False


@contextmanager
def nothing_unexpected() -> Generator[list[Exception]]:
    """Where defects of the emulator are collected; they are raised at its end, as a group."""
    defects = list[Exception]()

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        defect = context.get("exception")
        if isinstance(defect, Exception) and not isinstance(defect, OSError):
            defects.append(defect)
        else:
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(note)
    yield defects
    if defects:
        raise ExceptionGroup("defects of the emulator", defects)


@asynccontextmanager
async def open_inside(config: EmulatorConfig) -> AsyncGenerator[Inside]:
    """A running emulator; nothing of it is left afterwards. For asyncio."""
    with_moto = moto_is_installed() if config.moto is None else config.moto
    if with_moto and not moto_is_installed():
        raise ConfigurationError("moto: not installed; expected cloudburst-sdk[testing]")
    with reserved_network(config.network) as network, nothing_unexpected() as defects:
        async with open_containers() as containers, create_task_group() as background:
            logs = Logs(config)
            fleet = Fleet(config, containers, Addresses(network), logs, background)
            account = Account(
                config, fleet=fleet, logs=logs, containers=containers, with_moto=with_moto
            )
            api = Api(config, account, defects)
            if config.prepared:
                account.register()
            try:
                if config.moto and account.moto:
                    await account.moto.start()
                async with serve(api, config.api_port) as url:
                    inside = Inside(url, account, fleet, api)
                    try:
                        yield inside
                    finally:
                        inside.over = True
                        fleet.abandon()
            finally:
                if account.moto:
                    with CancelScope(shield=True):
                        await account.moto.close()
            background.cancel_scope.cancel()


class FargateEmulator(ContextManagerMixin):
    """An account for tests: ``with FargateEmulator(EmulatorConfig(...)) as emulator``.

    It has a thread of its own, so any test may use it, whatever loop it runs on or none. Needs
    Linux: each task has an address of its own in 127.0.0.0/8.
    """

    def __init__(self, config: EmulatorConfig | None = None) -> None:
        self.config = config or EmulatorConfig()
        self._portal: BlockingPortal | None = None
        self._open: Inside | None = None

    @contextmanager
    def __contextmanager__(self) -> Generator[FargateEmulator]:
        if sys.platform != "linux":
            raise ConfigurationError(f"platform: {sys.platform}; the emulator needs Linux")
        with (
            start_blocking_portal("asyncio", name="cloudburst-emulator") as portal,
            portal.wrap_async_context_manager(open_inside(self.config)) as self._open,
        ):
            self._portal = portal
            try:
                yield self
            finally:
                self._portal = None

    @property
    def url(self) -> str:
        """Base URL of the API, for ``AWS_ENDPOINT_URL``."""
        return self._inside.url

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which a run finds the emulator, and what it needs there if prepared."""
        return self._connection | (self._prepared if self.config.prepared else {})

    @property
    def _connection(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIAEMULATOR00000001",
            "AWS_SECRET_ACCESS_KEY": "emulator-secret-access-key",
            "AWS_REGION": self.config.region,
            "AWS_DEFAULT_REGION": self.config.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost,127.0.0.0/8",
        }

    @property
    def _prepared(self) -> dict[str, str]:
        return {
            "AWS_SUBNET_ID": ",".join(subnet_id(zone) for zone in "abc"),
            "AWS_SECURITY_GROUP_ID": GROUP,
            "ECS_CLUSTER_NAME": CLUSTER,
            "ECS_TASK_DEFINITION": DEFINITION,
        }

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks that ever were, in the order of launches, as they are now."""
        return tuple(self._inside.fleet.facts.values())

    @property
    def live(self) -> tuple[Task, ...]:
        """Those that nobody wants stopped."""
        return tuple(task for task in self.tasks if task.live)

    @property
    def most_live(self) -> int:
        """The highest number of them at once."""
        return self._inside.fleet.most_live

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls to the API that have been answered, or left without an answer."""
        return tuple(self._inside.api.calls)

    def on_change(self, listener: Callable[[Task], None]) -> None:
        """Call this with each new state of a task, from the emulator's thread."""
        self._do(lambda: self._inside.fleet.on_change.append(listener))

    def add_fault(self, fault: Fault) -> None:
        """Let a fault happen to the next calls that it fits."""
        self._do(lambda: self._inside.api.faults.add(fault))

    def interrupt(self, task: Task | str | int | None = None, notice: float | None = None) -> Task:
        """Spot wants a task back: SIGTERM now and SIGKILL after ``notice`` seconds.

        A task is named by itself, id, ARN or number; none: the first that runs on Spot. Without a
        notice, the container's stop timeout counts. Raises `LookupError` when there is no such
        task.
        """
        return self._on(task, lambda life: life.interrupt(notice), spot=True)

    def crash(self, task: Task | str | int | None = None) -> Task:
        """Kill the main process of a task; none: of the first that runs. Raises `LookupError`."""
        return self._on(task, Life.crash)

    def freeze(self, task: Task | str | int | None, seconds: float) -> Task:
        """Let a task stand still for some time. Raises `LookupError`."""
        return self._on(task, lambda life: life.freeze(seconds))

    def cut(self, task: Task | str | int | None = None) -> int:
        """Reset the open connections of a task; returns how many.

        Raises `LookupError`; `OSError` where Linux forbids it, which it does in some containers.
        """
        life = self._life(task)
        assert self._portal is not None
        return self._portal.call(life.cut)

    def expire_credentials(self) -> None:
        """Let every access key that was seen so far be expired; AssumeRole makes new ones."""
        self._do(self._inside.account.identity.expire)

    def register(self, **changes: Any) -> str:
        """Make cluster, log group and task definition as ``cloudburst init`` does; returns an ARN.

        Takes what `Account.register` takes: ``family``, ``protocol``, ``watchdog``…
        """
        return self._do(lambda: self._inside.account.register(**changes))

    @property
    def _inside(self) -> Inside:
        if self._open is None or self._open.over:
            raise RuntimeError(NOT_RUNNING)
        return self._open

    def _do(self, function: Callable[[], T]) -> T:
        """In the emulator's thread."""
        if self._portal is None or self._inside.over:
            raise RuntimeError(NOT_RUNNING)
        return self._portal.call(function)

    def _on(
        self, task: Task | str | int | None, act: Callable[[Life], None], *, spot: bool = False
    ) -> Task:
        life = self._life(task, spot=spot)
        self._do(lambda: act(life))
        return life.facts

    def _life(self, task: Task | str | int | None, *, spot: bool = False) -> Life:
        for known in self.tasks:
            if task is None:
                fits = known.live and known.last_status == "RUNNING" and (known.spot or not spot)
            elif isinstance(task, Task):
                fits = known.id == task.id
            else:
                fits = task in {known.id, known.arn, known.number}
            if fits:
                return self._inside.fleet.life(known.id)
        raise LookupError(f"no such task: {task or 'none is running'}")

"""Emulator of ECS Fargate: it serves AWS's APIs locally and runs tasks as processes."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from anyio import CancelScope, ContextManagerMixin, create_task_group, to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from cloudburst.emulator.addresses import AddressPool, check_port, reserved_network
from cloudburst.emulator.bubblewrap import reason_not_run
from cloudburst.emulator.config import EmulatedRegistry, EmulatorConfig
from cloudburst.emulator.containers import open_containers
from cloudburst.emulator.ec2 import WORKER_GROUP_ID, subnet_id
from cloudburst.emulator.errors import EmulatorError
from cloudburst.emulator.faults import Call, Fault
from cloudburst.emulator.image_store import ImageStore
from cloudburst.emulator.local_registry import choose_registry
from cloudburst.emulator.logs import CloudWatchLogs
from cloudburst.emulator.moto import moto_is_installed
from cloudburst.emulator.policies import Document
from cloudburst.emulator.roles import Roles
from cloudburst.emulator.server import ApiServer, serve_api
from cloudburst.emulator.services import CLUSTER_NAME, TASK_DEFINITION_FAMILY, EmulatedAccount
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.task_lifecycle import TaskLifecycle
from cloudburst.emulator.task_registry import TaskRegistry
from cloudburst.emulator.task_state import Task

T = TypeVar("T")
NOT_RUNNING = "the emulator is not running: use it in a with statement"


@dataclass(slots=True, kw_only=True)
class EmulatorState:
    """State of a running emulator; it is used in the emulator's own thread."""

    url: str
    account: EmulatedAccount
    registry: TaskRegistry
    api: ApiServer
    not_confined: str
    """Reason why tasks do not run images; empty if they do."""
    ended: threading.Event = field(default_factory=threading.Event)
    images: EmulatedRegistry | None = None


@contextmanager
def collect_defects() -> Generator[list[Exception]]:
    """Yield a list for unexpected errors, also the loop's; raise them as a group at the end."""
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
async def run_emulator(config: EmulatorConfig) -> AsyncGenerator[EmulatorState]:
    """Run an emulator on the asyncio event loop and yield its state."""
    with_moto = moto_is_installed() if config.moto is None else config.moto
    if with_moto and not moto_is_installed():
        raise EmulatorError("moto: not installed; expected cloudburst-sdk[testing]")
    with (
        reserved_network() as network,
        collect_defects() as defects,
        TemporaryDirectory(prefix="cloudburst-emulated-", ignore_cleanup_errors=True) as name,
    ):
        check_port(network, config.port)
        async with (
            open_containers() as containers,
            create_task_group() as background,
        ):
            images, problem = None, ""
            folder = Path(name)
            if config.registry:
                images_registry = await choose_registry(config, containers, folder)
                problem = "confined: False"
                if config.confined:
                    problem = await to_thread.run_sync(reason_not_run, folder)
                images = ImageStore(config, folder, images_registry, runs=not problem)
            shared = SharedState(
                config=config,
                containers=containers,
                addresses=AddressPool(network),
                logs=CloudWatchLogs(config),
                images=images,
                roles=Roles(config),
                background=background,
            )
            registry = TaskRegistry(shared)
            account = EmulatedAccount(shared, registry, folder, with_moto=with_moto)
            api = ApiServer(config, account, defects)
            if config.prepared:
                account.register()
            try:
                if config.moto and account.moto:
                    await account.moto.start()
                async with serve_api(api, config.api_port) as url:
                    inside = EmulatorState(
                        url=url, account=account, registry=registry, api=api, not_confined=problem
                    )
                    if images:
                        images.registry.url = url
                        inside.images = replace(images.registry.address, url=url)
                    try:
                        yield inside
                    finally:
                        inside.ended.set()
                        registry.stop_timers()
            finally:
                if account.moto:
                    with CancelScope(shield=True):
                        await account.moto.close()
            background.cancel_scope.cancel()


class FargateEmulator(ContextManagerMixin):
    """Emulated AWS account for tests: ``with FargateEmulator(EmulatorConfig(...)) as emulator``.

    The emulator has its own thread, so it works with any event loop, or without an event loop. It
    needs Linux, because each task has its own address in 127.0.0.0/8.
    """

    def __init__(self, config: EmulatorConfig | None = None) -> None:
        self.config = config or EmulatorConfig()
        self._portal: BlockingPortal | None = None
        self._open: EmulatorState | None = None

    @contextmanager
    def __contextmanager__(self) -> Generator[FargateEmulator]:
        if sys.platform != "linux":
            raise EmulatorError(f"platform: {sys.platform}; expected linux")
        with (
            start_blocking_portal("asyncio", name="cloudburst-emulator") as portal,
            portal.wrap_async_context_manager(run_emulator(self.config)) as self._open,
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
        """Environment variables with which a run uses the emulator and the account's resources."""
        identity = self._inside.account.identity
        connection = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": identity.key,
            "AWS_SECRET_ACCESS_KEY": identity.secret,
            "AWS_REGION": self.config.region,
            "AWS_DEFAULT_REGION": self.config.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost,127.0.0.0/8",
        }
        prepared = {
            "AWS_SUBNET_ID": ",".join(subnet_id(zone) for zone in "abc"),
            "AWS_SECURITY_GROUP_ID": WORKER_GROUP_ID,
            "ECS_CLUSTER_NAME": CLUSTER_NAME,
            "ECS_TASK_DEFINITION": TASK_DEFINITION_FAMILY,
        }
        return connection | (prepared if self.config.prepared else {})

    @property
    def registry(self) -> EmulatedRegistry | None:
        """Registry of the account's images, as ECR serves it; ``None`` if the account has none."""
        return self._inside.images

    @property
    def not_confined(self) -> str:
        """Reason why tasks do not run the images of ``EmulatorConfig.registry``.

        Empty if they do, or if there is no registry.
        """
        return self._inside.not_confined

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Current states of all tasks, including stopped tasks, in the order of their launches."""
        return tuple(self._inside.registry.snapshots.values())

    @property
    def live(self) -> tuple[Task, ...]:
        """Tasks whose desired status is not STOPPED."""
        return tuple(task for task in self.tasks if task.live)

    @property
    def max_live(self) -> int:
        """Highest number of tasks that were live (desired status not STOPPED) at the same time."""
        return self._inside.registry.max_live

    @property
    def calls(self) -> tuple[Call, ...]:
        """API calls with a known access key, including calls that a `Fault` left unanswered."""
        return tuple(self._inside.api.calls)

    def wait(self) -> None:
        """Block until the emulator has ended: closed by another thread, or because of an error.

        The with statement of the emulator raises the error.
        """
        if self._open is not None:
            self._open.ended.wait()

    def on_change(self, listener: Callable[[Task], None]) -> None:
        """Call ``listener`` with each new state of a task, from the emulator's thread."""
        self._do(lambda: self._inside.registry.on_change.append(listener))

    def add_fault(self, fault: Fault) -> None:
        """Apply a fault to the next API calls that match it."""
        self._do(lambda: self._inside.api.faults.add(fault))

    def interrupt(self, task: Task | str | int | None = None, notice: float | None = None) -> Task:
        """Interrupt a task as Fargate Spot does, and return the state of the task.

        Args:
            task: Task, or its id, ARN or number; ``None``: the first running Spot task.
            notice: Seconds from SIGTERM to SIGKILL, at most 120; ``None``: the stop timeouts of the
                containers.

        Raises:
            LookupError: there is no such task.
            ValueError: the task does not run on Spot.
        """

        def interrupt(life: TaskLifecycle) -> None:
            number = life.snapshot.number
            if not life.snapshot.spot:
                raise ValueError(f"task {number} is on demand; expected a task on FARGATE_SPOT")
            life.interrupt(notice)

        return self._on(task, interrupt, spot=True)

    def crash(self, task: Task | str | int | None = None) -> Task:
        """Kill the main process of a task, and return the state of the task.

        Args:
            task: Task, or its id, ARN or number; ``None``: the first running task.

        Raises:
            LookupError: there is no such task.
        """
        return self._on(task, TaskLifecycle.crash)

    def freeze(self, task: Task | str | int | None, seconds: float) -> Task:
        """Freeze the processes of a task for some seconds, and return the state of the task.

        Args:
            task: Task, or its id, ARN or number; ``None``: the first running task.
            seconds: Seconds until the processes continue.

        Raises:
            LookupError: there is no such task.
        """
        return self._on(task, lambda life: life.freeze(seconds))

    def cut(self, task: Task | str | int | None = None) -> int:
        """Reset the open connections of a task's worker and return their number.

        Args:
            task: Task, or its id, ARN or number; ``None``: the first running task.

        Raises:
            LookupError: there is no such task.
            ValueError: ``EmulatorConfig.proxy_connections`` is false.
        """
        return self._do(self._life(task).cut)

    def new_key(
        self, *, account: str | None = None, policies: Sequence[Document] | None = None
    ) -> dict[str, str]:
        """Create a long-term access key and return it as environment variables.

        Args:
            account: Number of another account, whose key has no permissions in the emulated one;
                ``None``: the emulated account.
            policies: IAM policies that contain all permissions of the key, such as the documents
                that ``cloudburst init --policy`` prints; ``None``: the key may do everything.
        """
        key, secret = self._do(lambda: self._inside.account.identity.new_key(account, policies))
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

    def expire_credentials(self) -> None:
        """Expire every access key created so far; AssumeRole still accepts expired keys."""
        self._do(self._inside.account.identity.expire)

    def register(self, **changes: Any) -> str:
        """Create a cluster, a log group and a task definition as ``cloudburst init`` does.

        Args:
            **changes: Arguments of `EmulatedAccount.register`, such as ``family`` or ``protocol``.

        Returns:
            ARN of the task definition.
        """
        return self._do(lambda: self._inside.account.register(**changes))

    @property
    def _inside(self) -> EmulatorState:
        if self._open is None or self._open.ended.is_set():
            raise RuntimeError(NOT_RUNNING)
        return self._open

    def _do(self, function: Callable[[], T]) -> T:
        if self._portal is None or self._inside.ended.is_set():
            raise RuntimeError(NOT_RUNNING)
        return self._portal.call(function)

    def _on(
        self,
        task: Task | str | int | None,
        act: Callable[[TaskLifecycle], None],
        *,
        spot: bool = False,
    ) -> Task:
        life = self._life(task, spot=spot)
        self._do(lambda: act(life))
        return life.snapshot

    def _life(self, task: Task | str | int | None, *, spot: bool = False) -> TaskLifecycle:
        for known in self.tasks:
            if task is None:
                fits = known.live and known.last_status == "RUNNING" and (known.spot or not spot)
            elif isinstance(task, Task):
                fits = known.id == task.id
            else:
                fits = task in {known.id, known.arn, known.number}
            if fits:
                return self._inside.registry.lifecycle(known.id)
        raise LookupError(f"no such task: {task or 'none is running'}")

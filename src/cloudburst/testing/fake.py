"""An account in memory: it launches, encodes and fails as told, in virtual time if you like."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.lowlevel

from cloudburst.engine.postmortem import page
from cloudburst.errors import (
    CloudburstError,
    GenerateError,
    NoAnswerError,
    WorkerStoppedError,
)
from cloudburst.models.failures import of_stop
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Timeouts
from cloudburst.models.prices import Rates
from cloudburst.models.scene import Scene
from cloudburst.models.task import (
    FoundTask,
    LaunchRequest,
    Secrets,
    TaskId,
    TaskState,
    TaskStatus,
    Usage,
)
from cloudburst.models.tier import Tier
from cloudburst.ports import Arrived, Backend, Download, Output, Progress, Upload

SIZE = 1000
"""Bytes of every fake upload and video."""


@dataclass(eq=False, kw_only=True)
class FakeCloud:
    """Launcher, network and workers in one.

    It keeps what the ports promise (a token starts one task; a cancelled call leaves nothing)
    and complains with ``AssertionError`` when its user breaks a promise: more encodes on a
    worker than it has encoder slots, work on a stopped task, a wrong key.
    """

    name: str = "fake"
    capacity: int | None = None
    encoders: int = 1
    cancels: bool = True
    boot: float = 0.0
    """Seconds from launch until a worker answers."""
    upload: float = 0.0
    encode: float | Callable[[str], float] = 0.0
    """Seconds of an encode, or a function of the scene's name."""
    download: float = 0.0
    stop_takes: float = 0.0
    """Seconds until a stop is answered."""
    post_mortem_takes: float = 0.0
    """Seconds until one is written."""
    ends_after: float = 0.0
    """Seconds from a stop until the task is seen to have stopped; it works no more meanwhile."""
    rates: Rates | None = None
    """What it bills; ``None``: nothing."""
    pull_after: float = 0.0
    """Seconds from a launch to the start of the image pull, where the bill begins."""
    refuse: list[CloudburstError] = field(default_factory=list[CloudburstError])
    """Raised by the next launches, one each."""
    stalls: int = 0
    """So many launches start a task whose answer is lost."""
    lost_stops: int = 0
    """So many stops arrive and their answer is lost."""
    broken_scenes: set[str] = field(default_factory=set[str])
    deadly_scenes: dict[str, float] = field(default_factory=dict[str, float])
    """Scenes that end their worker so many seconds after their encode has begun."""
    dying_tasks: dict[str, float] = field(default_factory=dict[str, float])
    """Tasks that end by themselves so many seconds after their launch."""
    taken_tasks: dict[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    """Spot: tasks that are announced to leave so many seconds after their launch, and end so many
    seconds after that."""
    native: bool = True
    """Its tasks may be taken over by another process."""
    mute_tasks: set[str] = field(default_factory=set[str])
    """Tasks that run and never answer."""

    launched: dict[str, TaskId] = field(default_factory=dict[str, TaskId])
    """Task by token."""
    running: dict[TaskId, float] = field(default_factory=dict[TaskId, float])
    """Time of launch by living task."""
    ended: dict[TaskId, float] = field(default_factory=dict[TaskId, float])
    """Time at which a task's bill ended, or will."""
    most_running: int = 0
    encoding: dict[TaskId, int] = field(default_factory=dict[TaskId, int])
    log: list[str] = field(default_factory=list[str])
    _requests: dict[TaskId, tuple[LaunchRequest, float]] = field(
        default_factory=dict[TaskId, tuple[LaunchRequest, float]], repr=False
    )
    _told_to_stop: set[TaskId] = field(default_factory=set[TaskId], repr=False)

    @asynccontextmanager
    async def backend(self, timeouts: Timeouts, tier: Tier) -> AsyncGenerator[Backend]:  # noqa: ARG002
        """What `cloudburst.Client` wants: ``Client(cloud.backend)``."""
        yield Backend(
            name=self.name,
            launcher=self,
            connect=self.connect,
            capacity=self.capacity,
            encoders=self.encoders,
            cancels=self.cancels,
            usd_per_second=self.rates.of(tier, public_ipv4=False) if self.rates else Decimal(),
        )

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a task, or name the one of the same token."""
        await anyio.lowlevel.checkpoint()
        if self.refuse and request.token not in self.launched:
            raise self.refuse.pop(0)
        if request.token not in self.launched:
            task = TaskId(f"{self.name}-{len(self.launched) + 1}")
            self.launched[request.token] = task
            self._requests[task] = request, anyio.current_time()
            self.running[task] = anyio.current_time()
            now = anyio.current_time()
            leaving = sum(
                self._leaves(TaskId(t), now) for t in self.taken_tasks if t in self.running
            )
            self.most_running = max(self.most_running, len(self.running) - leaving)
            self.log.append(f"launch {task}")
        if self.stalls:
            self.stalls -= 1
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return self.launched[request.token]

    async def describe(self, task: TaskId, *, anew: bool = False) -> TaskStatus:  # noqa: ARG002
        """Its state and, once it runs, its address."""
        await anyio.lowlevel.checkpoint()
        alive, now = self.lives(task), anyio.current_time()
        if not alive and now >= self.ended.get(task, 0.0):
            code = self._stop_code(task)
            return TaskStatus(
                state=TaskState.STOPPED,
                reason="exit code 137",
                stop_code=code,
                failure=of_stop(code, [], [137]),
                usage=self._usage(task, over=True),
            )
        usage = self._usage(task, over=False)
        if not alive or now < self.running[task] + self.boot:
            return TaskStatus(state=TaskState.STARTING, usage=usage)
        leaving = self._leaves(task, now)
        return TaskStatus(state=TaskState.RUNNING, address=task, leaving=leaving, usage=usage)

    def _stop_code(self, task: TaskId) -> str:
        if task in self._told_to_stop:
            return "UserInitiated"
        return "SpotInterruption" if task in self.taken_tasks else "EssentialContainerExited"

    def _leaves(self, task: TaskId, now: float) -> bool:
        notice, _ = self.taken_tasks.get(task, (math.inf, 0.0))
        return now >= self.running[task] + notice

    def _usage(self, task: TaskId, *, over: bool) -> Usage | None:
        if self.rates is None or task not in self._requests:
            return None
        request, created = self._requests[task]
        now, pull = anyio.current_time(), created + self.pull_after
        return Usage(
            rates=self.rates,
            vcpu=request.spec.tier.vcpu,
            memory_gb=request.spec.tier.memory_gb,
            created=created,
            pull_started=pull if pull <= (self.ended[task] if over else now) else None,
            seen=now,
            stopped=self.ended[task] if over else None,
        )

    async def post_mortem(self, task: TaskId) -> str | None:
        """A page about a task that was started here."""
        await anyio.sleep(self.post_mortem_takes)
        if task not in self._requests:
            return None
        status = await self.describe(task)
        facts = {"reason": status.reason, "stop code": status.stop_code}
        return page(task, failure=None, facts=facts, lines=[f"the last line of {task}"])

    async def stop(self, task: TaskId, *, reason: str) -> None:  # noqa: ARG002
        """End a task."""
        await anyio.sleep(self.stop_takes)
        if self.lives(task):
            del self.running[task]
            self._told_to_stop.add(task)
            self.ended[task] = anyio.current_time() + self.ends_after
            self.log.append(f"stop {task}")
        if self.lost_stops:
            self.lost_stops -= 1
            raise NoAnswerError("the answer to a stop was lost")

    async def find(self, run: str) -> Sequence[FoundTask]:
        """All tasks of the run, with the secrets of those that live."""
        await anyio.lowlevel.checkpoint()
        return [
            FoundTask(
                task=task,
                status=await self.describe(task),
                secrets=request.secrets if self.lives(task) and self.native else None,
            )
            for task, (request, _) in tuple(self._requests.items())
            if request.spec.run == run
        ]

    @asynccontextmanager
    async def connect(self, address: str, *, secrets: Secrets) -> AsyncGenerator[FakeRenderer]:
        """A line to the worker whose address, here, is its name."""
        assert self._requests[TaskId(address)][0].secrets == secrets, "a worker wants its own key"
        yield FakeRenderer(self, TaskId(address))

    def lives(self, task: TaskId) -> bool:
        """Whether the task runs; one that was told to die has died when its time has come."""
        began = self.running.get(task)
        if began is None:
            return False
        end = began + min(
            self.dying_tasks.get(task, math.inf), sum(self.taken_tasks.get(task, (math.inf,)))
        )
        if anyio.current_time() >= end:
            del self.running[task]
            self.ended[task] = end
            self.log.append(f"died {task}")
            return False
        return True


@dataclass(eq=False)
class FakeRenderer:
    """The line to one fake worker."""

    cloud: FakeCloud
    task: TaskId

    @property
    def abandoned(self) -> bool:
        """Never: a cancelled call leaves nothing."""
        return False

    async def healthy(self) -> bool:
        """Whether it answers."""
        await anyio.lowlevel.checkpoint()
        return self.cloud.lives(self.task) and self.task not in self.cloud.mute_tasks

    async def clear(self) -> None:
        """Drop what another process encodes there."""
        await self._busy(0)
        self.cloud.encoding[self.task] = 0

    async def upload(self, scene: Scene, options: RenderOptions) -> Upload:  # noqa: ARG002
        """Take some time."""
        await self._busy(self.cloud.upload)
        return Upload(scene=scene.name, token=scene.name, sent=SIZE)

    async def generate(self, upload: Upload, *, progress: Progress) -> Output:
        """Take some time on an encoder slot, in ten steps."""
        cloud, scene = self.cloud, upload.scene
        await self._busy(0)
        if scene in cloud.broken_scenes:
            raise GenerateError("the encoder said no", scene=scene)
        seconds = cloud.encode(scene) if callable(cloud.encode) else cloud.encode
        if scene in cloud.deadly_scenes:
            self._dies_in(cloud.deadly_scenes[scene])
        cloud.encoding[self.task] = cloud.encoding.get(self.task, 0) + 1
        assert cloud.encoding[self.task] <= cloud.encoders, "more encodes than encoder slots"
        try:
            for step in range(10):
                await self._busy(seconds / 10)
                progress((step + 1) / 10)
        finally:
            cloud.encoding[self.task] -= 1
        cloud.log.append(f"encoded {scene} on {self.task}")
        return Output(scene=scene, token=scene, size=SIZE, sha256=None, seconds=seconds)

    async def download(
        self, output: Output, to: Path, *, arrived: Arrived | None = None
    ) -> Download:
        """Take some time; no file is written."""
        await self._busy(self.cloud.download)
        download = Download(path=to, size=output.size, sha256="0" * 64)
        if arrived is not None:
            await arrived(download)
        return download

    def _dies_in(self, seconds: float) -> None:
        cloud = self.cloud
        since = anyio.current_time() - cloud.running.get(self.task, math.inf)
        end = min(cloud.dying_tasks.get(self.task, math.inf), since + seconds)
        cloud.dying_tasks[self.task] = end

    async def _busy(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        if not self.cloud.lives(self.task):
            raise WorkerStoppedError("connection lost", task=self.task)

"""Fake backend in memory, for tests: it launches, encodes and fails as configured."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import anyio
import anyio.lowlevel

from cloudburst.errors import CloudburstError, EncodeError, NoAnswerError, WorkerStoppedError
from cloudburst.models.failures import classify_stop
from cloudburst.models.film import WorkerFilm
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import OutputLocation
from cloudburst.models.performance import UNKNOWN_PERFORMANCE, Performance
from cloudburst.models.post_mortem_page import build_page
from cloudburst.models.prices import Rates
from cloudburst.models.scene import CheckedScene
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
from cloudburst.ports.backend import Backend
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import (
    DownloadedVideo,
    EncodedVideo,
    OnProgress,
    OnVerified,
    Turn,
    UploadedScene,
    at_once,
)

SIZE = 1000
"""Size of every fake upload and video, in bytes."""
_ROUNDING = 1e-9
"""Seconds by which sums of seconds may be wrong."""


@dataclass(eq=False, kw_only=True)
class FakeCloud:
    """Fake backend and its workers: ``Client(cloud.backend)``.

    It behaves as the protocols in `cloudburst.ports` require: launches with the same token start
    one task, and a cancelled call leaves nothing running on a worker. It raises ``AssertionError``
    if the client starts more encodes on a worker than the worker has encoder slots, or connects
    with a wrong key. Times are seconds of anyio's clock, which may be virtual. The ids of tasks are
    numbered in the order of their launches: ``fake-1``, ``fake-2``…
    """

    name: str = "fake"
    capacity: int | None = None
    """Maximum number of tasks that run at once; ``None``: only the client has a limit."""
    encoders: int = 1
    """Number of encoder slots of each worker."""
    cancels_encodes: bool = True
    """True if workers can stop an encode on request."""
    boot: float | Callable[[str], float] = 0.0
    """Seconds from a launch until the worker answers, or a function that returns the seconds for a
    task's id."""
    upload: float = 0.0
    """Seconds that an upload takes."""
    encode: float | Callable[[str], float] = 0.0
    """Seconds that an encode takes, or a function that returns the seconds for a scene's name."""
    progress_every: float = 2.0
    """Seconds between two reports of the progress of an encode; infinite: only its end is
    reported."""
    shared_from: float = math.inf
    """Shortest encode that is shared, in seconds: idle encoder slots of its worker take part in it.
    Infinite: no encode is shared."""
    download: float = 0.0
    """Seconds that a download takes."""
    stop_takes: float = 0.0
    """Seconds until a request to stop a task is answered."""
    post_mortem_takes: float = 0.0
    """Seconds until a post-mortem is returned."""
    ends_after: float = 0.0
    """Seconds from the stop of a task until the task is reported as stopped. The worker itself ends
    immediately."""
    performance: Performance = UNKNOWN_PERFORMANCE
    """Performance that the client assumes until it is measured."""
    rates: Rates | None = None
    """Prices of a task; ``None``: nothing is billed."""
    pull_after: float = 0.0
    """Seconds from a launch to the start of the image pull, from which the task is billed."""
    refuse: list[CloudburstError] = field(default_factory=list[CloudburstError])
    """Errors that the next launches raise, one error for each launch."""
    stalls: int = 0
    """Number of the next launches that start a task but never return."""
    lost_stops: int = 0
    """Number of the next stop requests that stop their task but raise `NoAnswerError`."""
    broken_scenes: set[str] = field(default_factory=set[str])
    """Names of the scenes whose encode fails."""
    crashing_scenes: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds from the start of a scene's encode until its worker crashes, by name of the scene."""
    crashing_tasks: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds from the launch of a task until the task crashes, by id of the task."""
    interrupted_tasks: dict[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    """Seconds from the launch of a Spot task until its interruption is announced, and from then
    until the task ends, by id of the task."""
    spot_tasks: set[str] = field(default_factory=set[str])
    """Ids of the tasks on Spot, besides those in `interrupted_tasks`."""
    native: bool = True
    """True if another process can adopt the tasks."""
    silent_tasks: set[str] = field(default_factory=set[str])
    """Ids of the tasks that run but whose workers never become healthy."""
    slow_tasks: dict[str, float] = field(default_factory=dict[str, float])
    """Factors by which encodes take longer, by id of the task."""

    launched: dict[str, TaskId] = field(default_factory=dict[str, TaskId])
    """Ids of all tasks, by the token of their launch."""
    running: dict[TaskId, float] = field(default_factory=dict[TaskId, float])
    """Launch times of the running tasks by id, in seconds of anyio's clock."""
    ended: dict[TaskId, float] = field(default_factory=dict[TaskId, float])
    """Times from which ended tasks are reported as stopped, by id of the task, in seconds of
    anyio's clock."""
    max_running: int = 0
    """Highest number of tasks that ran at once. Tasks whose interruption was announced do not
    count."""
    encoding: dict[TaskId, int] = field(default_factory=dict[TaskId, int])
    """Number of encodes in progress, by id of the task."""
    log: list[str] = field(default_factory=list[str])
    """Log of what happened: ``launch fake-1``, ``encoded scene on fake-1``, ``stop fake-1``…"""
    _requests: dict[TaskId, tuple[LaunchRequest, float]] = field(
        default_factory=dict[TaskId, tuple[LaunchRequest, float]], repr=False
    )
    _stop_requests: set[TaskId] = field(default_factory=set[TaskId], repr=False)

    @asynccontextmanager
    async def backend(self, timeouts: Timeouts, tier: Tier) -> AsyncGenerator[Backend]:  # noqa: ARG002
        """Yield the backend, as `cloudburst.ports.backend.OpenBackend` requires."""
        yield Backend(
            name=self.name,
            launcher=self,
            connect=self.connect,
            capacity=self.capacity,
            encoder_slots=self.encoders,
            cancels_encodes=self.cancels_encodes,
            shares_encodes=self.shared_from < math.inf,
            performance=self.performance,
            usd_per_second=self.rates.task_usd_per_second(tier, public_ipv4=False)
            if self.rates
            else Decimal(),
        )

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a task; if the token was used before, return the task that was started then."""
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
                self._stop_announced(TaskId(t), now)
                for t in self.interrupted_tasks
                if t in self.running
            )
            self.max_running = max(self.max_running, len(self.running) - leaving)
            self.log.append(f"launch {task}")
        if self.stalls:
            self.stalls -= 1
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return self.launched[request.token]

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:  # noqa: ARG002
        """Return the state of a task and, once its worker answers, its address."""
        await anyio.lowlevel.checkpoint()
        running, now = self.is_running(task), anyio.current_time()
        if not running and now >= self.ended.get(task, 0.0):
            code = self._stop_code(task)
            return TaskStatus(
                state=TaskState.STOPPED,
                reason="exit code 137",
                stop_code=code,
                failure=classify_stop(code, [], [137]),
                usage=self._usage(task, over=True),
            )
        usage = self._usage(task, over=False)
        if not running or now < self.running[task] + self._boot_seconds(task):
            return TaskStatus(state=TaskState.STARTING, usage=usage)
        leaving = self._stop_announced(task, now)
        return TaskStatus(
            state=TaskState.RUNNING,
            address=task,
            stop_announced=leaving,
            spot=task in self.spot_tasks or task in self.interrupted_tasks,
            usage=usage,
        )

    def _boot_seconds(self, task: TaskId) -> float:
        return self.boot(task) if callable(self.boot) else self.boot

    def _stop_code(self, task: TaskId) -> str:
        if task in self._stop_requests:
            return "UserInitiated"
        return "SpotInterruption" if task in self.interrupted_tasks else "EssentialContainerExited"

    def _stop_announced(self, task: TaskId, now: float) -> bool:
        notice, _ = self.interrupted_tasks.get(task, (math.inf, 0.0))
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
            created_at=created,
            pull_started_at=pull if pull <= (self.ended[task] if over else now) else None,
            last_seen_at=now,
            stopped_at=self.ended[task] if over else None,
        )

    async def post_mortem(self, task: TaskId) -> str | None:
        """Return the post-mortem of a task; ``None`` if this backend did not start the task."""
        await anyio.sleep(self.post_mortem_takes)
        if task not in self._requests:
            return None
        status = await self.describe(task)
        facts = {"reason": status.reason, "stop code": status.stop_code}
        return build_page(task, failure=None, facts=facts, lines=[f"the last line of {task}"])

    async def stop(self, task: TaskId, *, reason: str) -> None:  # noqa: ARG002
        """Stop a task.

        Raises:
            NoAnswerError: ``lost_stops`` is not 0; the task stops nevertheless.
        """
        await anyio.sleep(self.stop_takes)
        if self.is_running(task):
            del self.running[task]
            self._stop_requests.add(task)
            self.ended[task] = anyio.current_time() + self.ends_after
            self.log.append(f"stop {task}")
        if self.lost_stops:
            self.lost_stops -= 1
            raise NoAnswerError("the answer to a stop was lost")

    async def find(self, run: str) -> Sequence[FoundTask]:
        """Return all tasks of a run, with the secrets of tasks that run and can be adopted."""
        await anyio.lowlevel.checkpoint()
        return [
            FoundTask(
                task=task,
                status=await self.describe(task),
                secrets=request.secrets if self.is_running(task) and self.native else None,
            )
            for task, (request, _) in tuple(self._requests.items())
            if request.spec.run == run
        ]

    @asynccontextmanager
    async def connect(self, address: str, *, secrets: Secrets) -> AsyncGenerator[FakeRenderer]:
        """Connect to a worker, whose address is the id of its task."""
        assert self._requests[TaskId(address)][0].secrets == secrets, "another worker's key"
        yield FakeRenderer(self, TaskId(address))

    def is_running(self, task: TaskId) -> bool:
        """End a task whose crash or interruption is due; return whether the task still runs."""
        began = self.running.get(task)
        if began is None:
            return False
        crash = self.crashing_tasks.get(task, math.inf)
        end = began + min(crash, sum(self.interrupted_tasks.get(task, (math.inf,))))
        if anyio.current_time() >= end:
            del self.running[task]
            self.ended[task] = end
            self.log.append(f"crash {task}")
            return False
        return True


@dataclass(eq=False)
class FakeRenderer:
    """Fake `cloudburst.ports.renderer.Renderer`: the client of one worker of a `FakeCloud`."""

    cloud: FakeCloud
    task: TaskId

    @property
    def has_abandoned_encode(self) -> bool:
        """Always false: a cancelled call leaves nothing running on a fake worker."""
        return False

    @property
    def health_failure(self) -> str:
        """Reason for a failed health check, which is the same for all fake workers."""
        return "" if self.task not in self.cloud.silent_tasks else "no answer"

    async def is_healthy(self) -> bool:
        """Return whether the worker answers health checks."""
        await anyio.lowlevel.checkpoint()
        return self.cloud.is_running(self.task) and self.task not in self.cloud.silent_tasks

    async def discard_jobs(self) -> None:
        """Discard all encodes that another process started on the worker."""
        await self._busy(0)
        self.cloud.encoding[self.task] = 0

    async def upload(
        self,
        scene: CheckedScene,
        *,
        remote: RemoteFiles | None = None,  # noqa: ARG002
        turn: Turn = at_once,  # noqa: ARG002
    ) -> UploadedScene:
        """Simulate an upload, which takes the configured time."""
        await self._busy(self.cloud.upload)
        return UploadedScene(scene=scene.scene.name, reference=scene.scene.name, sent=SIZE)

    async def upload_film(
        self,
        film: WorkerFilm,
        *,
        remote: RemoteFiles,  # noqa: ARG002
        on_file: Callable[[], None],  # noqa: ARG002
    ) -> UploadedScene:
        """Simulate the fetch of a film's videos, which takes the time of one upload."""
        await self._busy(self.cloud.upload)
        return UploadedScene(scene=film.name, reference=film.name, sent=0, is_film=True)

    def discard(self, upload: UploadedScene) -> None:
        """Do nothing: an upload leaves nothing on a fake worker."""

    async def encode(self, upload: UploadedScene, *, progress: OnProgress) -> EncodedVideo:
        """Simulate an encode, which takes the configured time and reports its progress.

        Raises:
            EncodeError: the scene is one of ``broken_scenes``.
        """
        cloud, scene = self.cloud, upload.scene
        await self._busy(0)
        if scene in cloud.broken_scenes:
            raise EncodeError("the encoder said no", scene=scene)
        seconds = cloud.encode(scene) if callable(cloud.encode) else cloud.encode
        seconds *= cloud.slow_tasks.get(self.task, 1.0)
        if scene in cloud.crashing_scenes:
            self._crash_in(cloud.crashing_scenes[scene])
        cloud.encoding[self.task] = cloud.encoding.get(self.task, 0) + 1
        assert cloud.encoding[self.task] <= cloud.encoders, "more encodes than encoder slots"
        try:
            shared_seconds = await self._encode(seconds, progress)
        finally:
            cloud.encoding[self.task] -= 1
        cloud.log.append(f"encoded {scene} on {self.task}")
        return EncodedVideo(
            scene=scene,
            reference=scene,
            size=SIZE,
            sha256=None,
            seconds=upload.audio_seconds,
            shared_seconds=shared_seconds,
        )

    async def _encode(self, seconds: float, progress: OnProgress) -> float:
        """Take the time of an encode, and return the seconds for which other slots took part.

        Between two reports of the progress, the slots that were idle before the first of them, too,
        take part. All encodes on the worker divide them equally.
        """
        done = shared = idle_before = 0.0
        while True:
            idle = self._idle_share() if seconds >= self.cloud.shared_from else 0.0
            others, idle_before = min(idle, idle_before), idle
            step = min(self.cloud.progress_every, (seconds - done) / (1 + others))
            await self._busy(step)
            shared += step * others
            done += step * (1 + others)
            if done > seconds - _ROUNDING:
                progress(1.0)
                return shared
            progress(done / seconds)

    def _idle_share(self) -> float:
        encoding = self.cloud.encoding[self.task]
        return (self.cloud.encoders - encoding) / encoding

    async def download(
        self,
        output: EncodedVideo,
        to: OutputLocation,
        *,
        on_verified: OnVerified | None = None,
        remote: RemoteFiles | None = None,  # noqa: ARG002
    ) -> DownloadedVideo:
        """Simulate a download, which takes the configured time and writes no file."""
        await self._busy(self.cloud.download)
        download = DownloadedVideo(path=to, size=output.size, sha256="0" * 64)
        if on_verified is not None:
            await on_verified(download)
        return download

    def _crash_in(self, seconds: float) -> None:
        cloud = self.cloud
        since = anyio.current_time() - cloud.running.get(self.task, math.inf)
        end = min(cloud.crashing_tasks.get(self.task, math.inf), since + seconds)
        cloud.crashing_tasks[self.task] = end

    async def _busy(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        if not self.cloud.is_running(self.task):
            raise WorkerStoppedError("connection lost", task=self.task)

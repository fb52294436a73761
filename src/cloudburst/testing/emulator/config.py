"""What an emulated account is like: its delays, its limits, and what goes wrong in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SHARED_READS = ("DescribeTasks", "ListTasks")
STUB: tuple[str, ...] = ()
"""As ``EmulatorConfig.worker``: the small worker of this package, which speaks onestep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Calls that share one allowance."""

    name: str
    operations: tuple[str, ...]
    burst: float
    """Calls at once."""
    per_second: float
    """Calls that come back each second."""


AWS_BUCKETS: tuple[Bucket, ...] = (
    Bucket(name="run and stop", operations=("RunTask", "StopTask"), burst=100, per_second=40),
    Bucket(name="reads", operations=SHARED_READS, burst=100, per_second=20),
    Bucket(name="definitions", operations=("RegisterTaskDefinition",), burst=20, per_second=1),
    Bucket(name="tag writes", operations=("TagResource", "UntagResource"), burst=20, per_second=10),
    Bucket(name="tag reads", operations=("ListTagsForResource",), burst=50, per_second=20),
    Bucket(name="FARGATE", operations=(), burst=100, per_second=20),
    Bucket(name="FARGATE_SPOT", operations=(), burst=100, per_second=20),
)
"""AWS's own figures for an account and region: "Request throttling for the Amazon ECS API" in
the ECS API reference, and the launch rates in "AWS Fargate throttling quotas" of the developer
guide (2026-11). The last two count tasks, on demand and Spot apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFault:
    """What goes wrong with one task. Seconds count from the moment it is RUNNING."""

    image_pull: bool = False
    """Its image cannot be pulled, for the registry does not answer: STOPPED in place of RUNNING."""
    image_missing: bool = False
    """The same, for there is no such image."""
    network_interface: bool = False
    """It gets no network interface: STOPPED out of PROVISIONING."""
    stopped_reason: str | None = None
    """It fails to start after its pull, for this reason; any that AWS has."""
    no_public_address: bool = False
    """Its network interface has none."""
    black_hole: bool = False
    """Nothing answers at its address: the connection is never refused and never made."""
    never_healthy: bool = False
    """Its worker never becomes healthy: the small one says 503, any other is frozen from its
    first moment on."""
    start_delay: float = 0.0
    """Seconds between ACTIVATING and RUNNING that it takes longer than others."""
    crash_after: float | None = None
    """Its main process is killed."""
    interrupt_after: float | None = None
    """Spot wants it back."""
    freeze: tuple[float, float] | None = None
    """After so many seconds it stands still, for so many seconds."""
    slow: float = 1.0
    """Its processor is so many times slower."""
    cut_connections: Mapping[int, int] = field(default_factory=dict[int, int])
    """The n-th connection to it, from 0, is cut after so many bytes in both directions."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """More for its worker."""

    @property
    def proxied(self) -> bool:
        """Whether its bytes must be counted on the way."""
        return bool(self.cut_connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """There is no room for tasks of which all this is true; ``None``: whatever it is."""

    zone: str | None = None
    """``a`` to ``f``: the zone of the first subnet that a request names."""
    provider: str | None = None
    """``FARGATE`` or ``FARGATE_SPOT``."""
    vcpu: float | None = None
    memory_gb: float | None = None

    def hits(self, *, zone: str, provider: str, vcpu: float, memory_gb: float) -> bool:
        """Whether there is none for this one."""
        return (
            (self.zone is None or zone.endswith(self.zone))
            and self.provider in {None, provider}
            and self.vcpu in {None, vcpu}
            and self.memory_gb in {None, memory_gb}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """The whole account. Times are seconds.

    The defaults are quicker than AWS, whose image pulls take 20 to 90 s.
    """

    provisioning: float = 1.0
    """Until the network interface is there and the task PENDING."""
    pending: float = 5.0
    """The image pull."""
    activating: float = 0.0
    """Between ACTIVATING and RUNNING."""
    jitter: float = 0.0
    """Share by which these three differ, up or down, from task to task."""
    deactivating: float = 0.0
    """Before SIGTERM."""
    stop_timeout: float = 30.0
    """From SIGTERM to SIGKILL, for containers without ``stopTimeout``."""
    deprovisioning: float = 0.5
    """From the end of the last container until STOPPED."""
    stopped_visible: float = 3600.0
    """How long DescribeTasks knows a stopped task."""
    invisible: float = 0.0
    """How long a new task is MISSING and not listed: ECS is eventually consistent."""
    latency: float = 0.0
    """Of each call."""

    max_running: int | None = None
    """Tasks beyond this many find no capacity."""
    lacks: Sequence[Lack] = ()
    """Where there is no capacity."""
    vcpu_quota: float | None = None
    """Fargate On-Demand vCPU resource count. ``None``: never enforced, told as AWS's 6."""
    spot_vcpu_quota: float | None = None
    """The same for Spot."""
    buckets: Sequence[Bucket] = ()
    """Throttling; `AWS_BUCKETS` is what AWS does."""
    wrap_throttling: bool = False
    """RunTask is throttled in the way in which ECS passes on a throttle of EC2: as an
    ``InvalidParameterException`` (https://github.com/dagster-io/dagster/issues/33439)."""
    denied: frozenset[str] = frozenset()
    """Actions that the credentials may not do: ``ecs:StopTask``…"""
    role_seconds: float | None = None
    """After which credentials of AssumeRole end, whatever was asked for."""

    worker: Sequence[str] = STUB
    """The command of the main container; ``{host}`` and ``{port}`` become its address."""
    worker_environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """For each worker, besides what its task definition and RunTask say; the same placeholders."""
    network: str | None = None
    """Addresses of the tasks: ``127.x`` or ``127.x.y``. ``None``: a ``127.x`` that no other
    emulator on this machine has."""
    port: int = 5000
    """Where workers listen."""
    proxied: bool = False
    """Whether connections to workers go through the emulator, so that it can cut them where Linux
    does not allow it to do so from outside (in a container without ``CAP_SYS_PTRACE``)."""
    api_port: int = 0
    """Where the API listens, on 127.0.0.1; 0 is any free port."""
    pid1: bool = True
    """A container's first process ignores SIGTERM unless it handles it, or its definition says
    ``initProcessEnabled``."""
    reachable: bool = True
    """False: the prepared security group lets nobody in."""

    prepared: bool = True
    """Whether the account has what ``cloudburst init`` makes."""
    protocol: str = "onestep"
    """What the label on the prepared task definition says."""
    architecture: str = "X86_64"
    """The same; or ``ARM64``."""
    watchdog: bool | None = None
    """Whether it has the second container, which only sleeps. ``None``: with onestep."""

    region: str = "us-east-1"
    account: str = "123456789012"
    moto: bool | None = None
    """Whether moto answers for services that this emulator does not know. ``None``: if it is
    installed; it is started by the first call that needs it."""
    task_faults: Mapping[int, TaskFault] = field(default_factory=dict[int, TaskFault])
    """By the number of the task, from 0 in the order of launches."""

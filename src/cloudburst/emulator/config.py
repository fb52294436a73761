"""Configuration of an emulated account: delays, limits and faults."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

SHARED_READS = ("DescribeTasks", "ListTasks")
# Value of `EmulatorConfig.worker` that runs the stub worker: a simulated render service with the
# onestep protocol.
STUB_WORKER: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Token bucket: a common rate limit for several operations of the ECS API."""

    name: str
    operations: tuple[str, ...]
    burst: float
    """Size of the bucket: number of calls that are possible at once."""
    per_second: float
    """Number of tokens that are added per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedRegistry:
    """Container registry on this machine that serves as the account's ECR registry."""

    url: str
    """URL with the address of this machine and a port, such as ``http://127.0.0.1:5001``."""
    username: str
    password: str = field(repr=False)


AWS_BUCKETS: tuple[Bucket, ...] = (
    Bucket(name="run and stop", operations=("RunTask", "StopTask"), burst=100, per_second=40),
    Bucket(name="run", operations=("RunTask",), burst=20, per_second=20),
    Bucket(name="reads", operations=SHARED_READS, burst=100, per_second=20),
    Bucket(name="definitions", operations=("RegisterTaskDefinition",), burst=20, per_second=1),
    Bucket(name="tag reads", operations=("ListTagsForResource",), burst=50, per_second=20),
    Bucket(name="FARGATE", operations=(), burst=100, per_second=20),
    Bucket(name="FARGATE_SPOT", operations=(), burst=100, per_second=20),
)
"""Rate limits of AWS for one account in one region. A call needs a token from each bucket that
lists its operation. The buckets ``FARGATE`` and ``FARGATE_SPOT`` count launched tasks instead of
calls. Sources (2026-11): "Request throttling for the Amazon ECS API" in the ECS API reference, and
for RunTask and launches "AWS Fargate throttling quotas" in the ECS developer guide."""
# Shell pattern of the names of the public image.
PUBLIC_IMAGE_PATTERN = "betashow/video-generation-api*"
# Processor architectures for which an image exists, by shell pattern of the image's name. An image
# that matches no pattern exists for all architectures.
IMAGE_PLATFORMS: Mapping[str, Collection[str]] = {PUBLIC_IMAGE_PATTERN: ("X86_64",)}
# Connection of the account's subnets to other networks: a default route to an internet gateway or
# to a NAT gateway; or none.
WayOut = Literal["internet gateway", "nat", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFault:
    """Faults that a test injects into one task.

    The times of a crash, an interruption or a freeze count from the moment the task is RUNNING.
    """

    registry_unreachable: bool = False
    """True if the task's image cannot be pulled because the registry does not answer; the task then
    stops without having been RUNNING."""
    image_missing: bool = False
    """True if the task's image cannot be pulled because it does not exist."""
    no_network_interface: bool = False
    """True if the task gets no network interface and stops at the end of PROVISIONING."""
    never_attached: bool = False
    """True if the task gets no network interface and stays PROVISIONING until ECS stops it, after
    ``EmulatorConfig.interface_timeout`` seconds."""
    stopped_reason: str | None = None
    """Stopped reason with which the task fails to start after its image pull; ``None``: no
    failure."""
    no_public_address: bool = False
    """True if the task's network interface has no public address."""
    black_hole: bool = False
    """True if connection attempts to the task's address are neither accepted nor refused."""
    never_healthy: bool = False
    """True if the task's worker never becomes healthy: the stub worker answers health checks with
    503; any other worker is frozen when its task is RUNNING."""
    start_delay: float = 0.0
    """Additional seconds between ACTIVATING and RUNNING."""
    crash_after: float | None = None
    """Seconds after which the main process of the task is killed; ``None``: never."""
    interrupt_after: float | None = None
    """Seconds after which Spot interrupts the task; ``None``: never."""
    freeze: tuple[float, float] | None = None
    """Seconds until the task's processes are frozen, and the number of seconds for which they stay
    frozen; ``None``: never."""
    slow: float = 1.0
    """Factor by which the task's processor is slower than usual; 1 is the usual speed."""
    cut_connections: Mapping[int, int] = field(default_factory=dict[int, int])
    """Number of bytes after which a connection to the worker is reset, by number of the connection.
    The bytes of both directions count. The first connection has the number 0."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Additional environment variables of the task's worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityShortage:
    """Lack of capacity for tasks that match every field; ``None`` in a field matches any task."""

    zone: str | None = None
    """Letter of the availability zone of the task's subnet, ``a`` to ``f``."""
    provider: str | None = None
    """Capacity provider: ``FARGATE`` or ``FARGATE_SPOT``."""
    vcpu: float | None = None
    memory_gb: float | None = None
    as_stopped_task: bool = False
    """True if RunTask launches the task, which then stops for lack of capacity; false if RunTask
    returns a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Configuration of an emulated account. Times are in seconds.

    The defaults are faster than AWS, where image pulls take 20 to 90 s.
    """

    # Times. `quick` shortens them.
    provisioning: float = 1.0
    """Seconds from a launch until the task is PENDING. Its network interface is attached before
    then."""
    pending: float = 5.0
    """Seconds of the image pull, during which the task is PENDING."""
    jitter: float = 0.0
    """Fraction by which ``provisioning`` and ``pending`` vary between tasks, up or
    down."""
    stop_timeout: float = 30.0
    """Seconds from SIGTERM to SIGKILL for containers without ``stopTimeout``."""
    deprovisioning: float = 14.0
    """Seconds from the end of a task's last container until the task is STOPPED."""
    interface_lingers: float = 10.0
    """Seconds that a network interface still exists after its task has STOPPED. While it exists,
    its security groups cannot be deleted."""
    interface_timeout: float = 180.0
    """Seconds after which ECS stops a task whose network interface was never attached."""
    stopped_visible: float = 3600.0
    """Seconds for which the API still returns a stopped task."""
    new_task_invisible: float = 0.5
    """Seconds for which the API does not return a new task: ECS is eventually consistent."""
    disagreement: float = 0.5
    """Seconds for which ListTasks and DescribeTasks disagree about a new task: a task with an odd
    number appears first in ListTasks, a task with an even number first in DescribeTasks. For the
    same time after a stop request, ListTasks returns a task with an even number as RUNNING."""
    interruption_lag: float = 0.5
    """Seconds from the SIGTERM of an interrupted Spot task until the API reports the interruption.
    If negative, the API reports the interruption before SIGTERM."""
    role_passable: float = 2.0
    """Age in seconds from which a new IAM role can be used in RegisterTaskDefinition."""
    role_assumable: float = 10.0
    """Age in seconds from which a task can assume a new IAM role. RunTask rejects roles younger
    than half this age; a task stops if its image pull begins before the role has the full age."""
    role_policy_lag: float = 10.0
    """Seconds until a change of an IAM role's policies has an effect on tasks."""
    tag_lag: float = 2.0
    """Age in seconds from which the conditions of policies see the tags of a new resource."""
    latency: float = 0.0
    """Delay of each API call, in seconds."""

    # Limits.
    max_running: int | None = None
    """Maximum number of tasks for which there is capacity; ``None``: no limit."""
    capacity_shortages: Sequence[CapacityShortage] = ()
    """Kinds of tasks for which there is no capacity."""
    vcpu_quota: float = 4000.0
    """Quota "Fargate On-Demand vCPU resource count", in vCPUs. AWS's default for a new account is
    6; established accounts have more."""
    spot_vcpu_quota: float = 4000.0
    """Quota "Fargate Spot vCPU resource count", in vCPUs."""
    account_blocked: bool = False
    """True if the account is new and AWS has not verified it yet: no task starts, regardless of the
    quotas."""
    buckets: Sequence[Bucket] = AWS_BUCKETS
    """Token buckets that throttle API calls and launches; an empty sequence disables throttling."""
    wrap_throttling: bool = False
    """True if a throttled RunTask fails with ``InvalidParameterException``, as in ECS when EC2
    throttles the requests of ECS (https://github.com/dagster-io/dagster/issues/33439)."""
    zones_without_fargate: Collection[str] = ()
    """Ids of availability zones without Fargate, such as ``use1-az2``, in addition to the zones
    that AWS documents."""
    block_public_access: Mapping[str, str] = field(default_factory=dict[str, str])
    """Modes of VPC Block Public Access, ``block-ingress`` or ``block-bidirectional``, by letter of
    the subnet's zone. Public addresses there cannot be reached."""
    way_out: WayOut = "internet gateway"
    """Connection of the account's subnets to image registries and AWS. With an internet gateway,
    tasks also need a public address."""
    image_platforms: Mapping[str, Collection[str]] = field(
        default_factory=lambda: dict(IMAGE_PLATFORMS)
    )
    """Architectures (``X86_64``, ``ARM64``) for which an image exists, by shell pattern of the
    image's name."""
    denied: frozenset[str] = frozenset()
    """IAM actions that are denied to all credentials, such as ``ecs:StopTask`` or ``logs:*``, in
    addition to what the policies of `FargateEmulator.new_key` do not allow."""
    role_seconds: float | None = None
    """Lifetime of credentials from AssumeRole, in seconds; ``None``: as the caller requests."""

    # Random faults.
    lost_interfaces: float = 0.0
    """Fraction of tasks whose network interface is never attached; users of Fargate report 1 in 200
    (https://github.com/apache/airflow/issues/15000, 2021-04)."""
    cpu_spread: float = 0.0
    """Fraction by which a task's processor can be slower than the fastest one. Users report 0.3
    (https://github.com/aws/containers-roadmap/issues/2019)."""
    foreign_containers: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """Containers that AWS adds to each task, by name: the reason why the container was never
    started, or its exit code after the stop of the task. An account with GuardDuty Runtime
    Monitoring has ``aws-guardduty-agent-`` and an id."""
    seed: int | None = None
    """Seed of the random numbers for ``lost_interfaces``, ``cpu_spread``, ``jitter`` and the subnet
    of each RunTask; ``None``: a different seed for each emulator."""

    worker: Sequence[str] = STUB_WORKER
    """Command that runs as the worker of each task, in place of its image's program. ``{host}`` and
    ``{port}`` are replaced with the worker's address and port. An empty command runs the stub
    worker, which only simulates rendering. Images from ``registry`` run their own program."""
    worker_environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables of each worker, in addition to those from its task definition and from
    RunTask. ``{host}`` and ``{port}`` are replaced with the worker's address and port."""
    port: int = 5000
    """TCP port on which the workers listen."""
    proxy_connections: bool = False
    """True if connections to workers pass through a proxy in the emulator, by which
    `FargateEmulator.cut` can reset them."""
    api_port: int = 0
    """Port of the API on 127.0.0.1; 0 uses any unused port."""
    client_address: str = "127.0.0.1"
    """IPv4 address from which all connections to workers seem to come. Security groups whose rules
    do not contain it drop the packets. The default is the address for which ``cloudburst init``
    adds a rule."""
    worker_sources: Sequence[str] = ("0.0.0.0/0",)
    """CIDRs that the account's security group for workers lets in; empty: it has no rule."""

    registry: EmulatedRegistry | Literal["start"] | None = None
    """Registry whose images the tasks pull and run, and for which the emulator answers the ECR API.
    The public image still runs ``worker``, and images of other registries cannot be pulled.
    ``"start"``: the emulator starts the program ``docker-registry``; `FargateEmulator.registry` is
    its address. ``None``: images are only names, and each task runs ``worker``."""
    confined: bool = True
    """True if the tasks run the images of ``registry``, which needs the program ``bwrap`` of
    bubblewrap. Without it, or if false, the platform of an image is checked, but the task runs
    ``worker``: see `FargateEmulator.not_confined`."""

    prepared: bool = True
    """True if the account has, from the start, the resources that ``cloudburst init`` creates."""
    protocol: str = "onestep"
    """Protocol in the label of the task definition that the account has from the start: ``native``
    or ``onestep``."""
    architecture: str = "X86_64"
    """Processor architecture of the task definition that the account has from the start: ``X86_64``
    or ``ARM64``."""
    watchdog: bool | None = None
    """True if the task definition that the account has from the start has a second container, the
    watchdog, which limits the lifetime of a task: the task stops when the watchdog's ``sleep``
    ends. ``None``: only with the onestep protocol."""

    region: str = "us-east-1"
    account: str = "123456789012"
    moto: bool | None = None
    """True if moto, a library that mocks AWS, is started with the emulator and answers the calls
    that the emulator does not implement. ``None``: moto, if installed, is started by the first such
    call. ``False``: moto is not used."""
    task_faults: Mapping[int, TaskFault] = field(default_factory=dict[int, TaskFault])
    """Faults of tasks by number of the task; tasks are numbered from 0 in the order of their
    launches."""

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return a configuration for tests, with the short times of ``QUICK_TIMES``.

        Args:
            **changes: Values of fields, which override the short times.
        """
        settings: dict[str, Any] = {**QUICK_TIMES, **changes}
        return cls(**settings)


# Times that `EmulatorConfig.quick` sets, in seconds.
QUICK_TIMES: Mapping[str, float] = {
    "provisioning": 0.1,
    "pending": 0.2,
    "deprovisioning": 0.1,
    "interface_lingers": 0.2,
    "interface_timeout": 2.0,
    "new_task_invisible": 0.05,
    "disagreement": 0.05,
    "interruption_lag": 0.1,
    "role_passable": 0.2,
    "role_assumable": 0.6,
    "role_policy_lag": 0.6,
    "tag_lag": 0.2,
}

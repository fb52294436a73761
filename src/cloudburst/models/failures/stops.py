"""Why a task has stopped: codes first, then AWS's words, then how its containers ended."""

from __future__ import annotations

from cloudburst.errors import Remedy, WorkerStoppedError
from cloudburst.models.failures.row import Failure, Where

_STOP_CODE = "TaskStopCode, ECS API reference (2026-11)"
_GUIDE = "ECS developer guide (2026-11)"
_PULL = f"CannotPullContainer task errors in Amazon ECS, {_GUIDE}"
_INIT = f"Troubleshooting Amazon ECS ResourceInitializationError errors, {_GUIDE}"
_START = f"Troubleshooting Amazon ECS TaskFailedToStart errors, {_GUIDE}"
_RUNTIME = f"Amazon ECS stopped tasks error messages, {_GUIDE}"
_EXIT = "Exit status, Bash reference manual (2026-11); signal(7)"
_ROLE = (
    "check the execution role of the task definition: cloudburst doctor, and cloudburst init makes "
    "one that fits"
)
_WAY_OUT = (
    "check that the subnets have a way to the registry: an internet gateway and a public address, "
    "a NAT gateway, or endpoints of ECR, S3 and CloudWatch Logs"
)


def _stop(*match: str, remedy: Remedy, means: str, do: str = "", source: str) -> Failure:
    return Failure(
        where=Where.STOPPED_REASON,
        match=match,
        error=WorkerStoppedError,
        remedy=remedy,
        means=means,
        do=do,
        source=source,
    )


def _code(code: str, *, means: str, do: str = "") -> Failure:
    return Failure(
        where=Where.STOP_CODE,
        match=(code,),
        error=WorkerStoppedError,
        remedy=Remedy.ELSEWHERE,
        means=means,
        do=do,
        source=_STOP_CODE,
    )


def _exit(*codes: str, remedy: Remedy = Remedy.ELSEWHERE, means: str, do: str = "") -> Failure:
    return Failure(
        where=Where.EXIT_CODE,
        match=codes,
        error=WorkerStoppedError,
        remedy=remedy,
        means=means,
        do=do,
        source=_EXIT,
    )


SPOT = _code(
    "SpotInterruption",
    means="Spot took the capacity back, or had none: after two of these in 20 minutes the next "
    "tasks are on demand, where CLOUDBURST_LADDER allows it",
)

STOP_CODES: tuple[Failure, ...] = (
    SPOT,
    _code("TerminationNotice", means="AWS retires the machine under the task"),
    _code("InfrastructureHealth", means="the machine under the task was unwell"),
    _code(
        "ServiceSchedulerInitiated",
        means="the scheduler of an ECS service stopped it",
        do="run cloudburst's tasks outside of services",
    ),
    _code("UserInitiated", means="somebody stopped it", do="CloudTrail knows who: StopTask"),
)
"""Those that say all; what the others say is in the reason and in how the containers ended."""

VAGUE: tuple[Failure, ...] = (
    _code(
        "TaskFailedToStart",
        means="it never ran",
        do="if it stays so: cloudburst doctor",
    ),
    _code(
        "EssentialContainerExited",
        means="a container ended, and the task with it",
        do="cloudburst logs shows what it wrote",
    ),
    _code("*", means="it stopped, and AWS does not say why"),
)

STOPPED_REASONS: tuple[Failure, ...] = (
    # The image. What is not there for the processor is "not found" too, so it comes first.
    _stop(
        "CannotPullContainer*does not contain descriptor matching platform*",
        "CannotPullContainer*no match for platform*",
        "CannotPullContainer*a descriptor for platform*",
        "*exec format error*",
        remedy=Remedy.WHOLE_RUN,
        means="the image is made for another processor",
        do="build it for linux/amd64, or use the ARM64 task definition for an ARM64 image",
        source="https://github.com/aws/containers-roadmap/issues/1120 (2020-10); "
        "https://github.com/aws-samples/bottlerocket-images-cache/issues/7 (2024-07)",
    ),
    _stop(
        "CannotPullContainer*: not found*",
        "CannotPullContainer*manifest unknown*",
        "CannotPullContainer*name unknown*",
        "CannotPullContainer*repository does not exist*",
        "CannotPullContainer*pull access denied*",
        "CannotPullContainer*invalid reference format*",
        remedy=Remedy.WHOLE_RUN,
        means="the image is not there, or may not be pulled",
        do="check DOCKER_IMAGE: its registry, name and tag; then cloudburst init --image",
        source=_PULL,
    ),
    _stop(
        "CannotPullContainer*has the permissions to pull*",
        "CannotPullContainer*not authorized to perform*",
        "CannotPullContainer*AccessDenied*",
        "CannotPullContainer*403 Forbidden*",
        "CannotPullContainer*authorization failed*",
        "CannotPullContainer*authorization token has expired*",
        remedy=Remedy.WHOLE_RUN,
        means="the task may not pull the image",
        do=_ROLE,
        source=_PULL,
    ),
    _stop(
        "CannotPullContainer*no space left on device*",
        remedy=Remedy.WHOLE_RUN,
        means="the image does not fit on the task's disk",
        do="set CLOUDBURST_EPHEMERAL_STORAGE to more than its unpacked size",
        source=_PULL,
    ),
    _stop(
        "CannotPullContainer*toomanyrequests*",
        "CannotPullContainer*Too Many Requests*",
        "CannotPullContainer*pull rate limit*",
        remedy=Remedy.ELSEWHERE,
        means="the registry wants fewer pulls",
        do="copy the image to ECR, which has no such limit: docs/aws.md, Which image",
        source=_PULL,
    ),
    _stop(
        "CannotPullContainer*i/o timeout*",
        "CannotPullContainer*request canceled*",
        "CannotPullContainer*connection issue*",
        "CannotPullContainer*network configuration*",
        "CannotPullContainer*ontext canceled*",
        "CannotPullContainer*deadline exceeded*",
        "CannotPullContainer*failed open*",
        "CannotPullContainer*nil pointer dereference*",
        remedy=Remedy.OTHER_SUBNET,
        means="the registry did not answer from that subnet",
        do=_WAY_OUT,
        source=_PULL,
    ),
    _stop(
        "CannotPullContainer*",
        remedy=Remedy.ELSEWHERE,
        means="the image could not be pulled",
        do="if it stays so, check DOCKER_IMAGE and the subnets' way to its registry",
        source=_PULL,
    ),
    # What is made before a container runs.
    _stop(
        "ResourceInitializationError*log group does not exist*",
        remedy=Remedy.WHOLE_RUN,
        means="the log group of the task definition is not there",
        do="cloudburst init makes it",
        source=_INIT,
    ),
    _stop(
        "ResourceInitializationError*ResourceNotFound*",
        "ResourceNotFoundException*",
        remedy=Remedy.WHOLE_RUN,
        means="a secret or parameter that the task definition names is not there",
        do="check the task definition; the one that cloudburst init makes names none",
        source=f"Troubleshooting Amazon ECS ResourceNotFoundException errors, {_GUIDE}",
    ),
    _stop(
        "ResourceInitializationError*AccessDenied*",
        "ResourceInitializationError*not authorized to perform*",
        "ECS was unable to assume the role*",
        remedy=Remedy.WHOLE_RUN,
        means="the task may not do what it needs before it starts",
        do=_ROLE,
        source=_INIT,
    ),
    _stop(
        "ResourceInitializationError*connection issue*",
        "ResourceInitializationError*network *",
        "ResourceInitializationError*i/o timeout*",
        "ResourceInitializationError*deadline exceeded*",
        "ResourceInitializationError*signal: killed*",
        remedy=Remedy.OTHER_SUBNET,
        means="AWS's own services did not answer from that subnet",
        do=_WAY_OUT,
        source=_INIT,
    ),
    _stop(
        "ResourceInitializationError*",
        remedy=Remedy.ELSEWHERE,
        means="Fargate could not prepare the task",
        do="if it stays so: cloudburst doctor",
        source=_INIT,
    ),
    # Room.
    _stop(
        "Capacity is unavailable at this time*",
        remedy=Remedy.OTHER_SUBNET,
        means="Fargate has no room there now",
        source="https://repost.aws/knowledge-center/ecs-fargate-runtask-capacity (2026-11)",
    ),
    _stop(
        "Unexpected EC2 error*TagPolicyViolation*",
        "Unexpected EC2 error*UnauthorizedOperation*",
        remedy=Remedy.WHOLE_RUN,
        means="a policy of the organization forbids the task's network interface",
        do="ask whoever keeps the policies of the organization",
        source=f"{_START}; Tag policies, AWS Organizations user guide (2026-11)",
    ),
    _stop(
        "Unexpected EC2 error*InsufficientFreeAddresses*",
        "Unexpected EC2 error*Create Network Interface with public IP assignment enabled*",
        remedy=Remedy.OTHER_SUBNET,
        means="the subnet has no free addresses",
        do="name more or larger subnets in AWS_SUBNET_ID",
        source=_START,
    ),
    _stop(
        "Timeout waiting for network interface provisioning*",
        "Timeout waiting for EphemeralStorage provisioning*",
        "Network interface provision complete error*",
        "Rate limit exceeded while preparing network interface*",
        "Unable to attach network interface*",
        "Unexpected EC2 error*",
        "InternalError*",
        remedy=Remedy.ELSEWHERE,
        means="the task got no network interface or no disk, which happens now and then",
        source=f"{_START}; https://github.com/apache/airflow/issues/15000 (2021-04); ECS "
        "launcher of https://github.com/dagster-io/dagster (2026-11)",
    ),
    _stop(
        "The selected task definition is not compatible*",
        remedy=Remedy.WHOLE_RUN,
        means="the task definition is not made for Fargate",
        do="cloudburst init makes one that is",
        source=_START,
    ),
    # The container.
    _stop(
        "OutOfMemoryError*",
        remedy=Remedy.OTHER_SIZE,
        means="the task had too little memory",
        do="choose a larger tier, or let CLOUDBURST_LADDER have size",
        source=f"Troubleshooting Amazon ECS OutOfMemoryError errors, {_GUIDE}",
    ),
    _stop(
        "CannotStartContainerError*executable file not found*",
        "CannotStartContainerError*no such file or directory*",
        remedy=Remedy.WHOLE_RUN,
        means="the image has no such command",
        do="check DOCKER_IMAGE, and the command of the task definition",
        source=f"Troubleshooting Amazon ECS CannotStartContainerError errors, {_GUIDE}",
    ),
    _stop(
        "CannotCreateVolumeError*",
        "CannotInspectContainerError*",
        "CannotStartContainerError*",
        "CannotStopContainerError*",
        "ContainerRuntimeError*",
        "ContainerRuntimeTimeoutError*",
        "DockerTimeoutError*",
        remedy=Remedy.ELSEWHERE,
        means="the machine under the task could not handle the container",
        source=_RUNTIME,
    ),
    _stop(
        "*ECS is performing maintenance on the underlying infrastructure*",
        remedy=Remedy.ELSEWHERE,
        means="AWS retires the machine under the task",
        source=f"Task retirement and maintenance for AWS Fargate on Amazon ECS, {_GUIDE}",
    ),
    _stop(
        "Task failed container health checks*",
        remedy=Remedy.ELSEWHERE,
        means="the container did not pass the health check of its task definition",
        do="cloudburst logs shows what it wrote",
        source=f"Troubleshooting Amazon ECS task definition health checks, {_GUIDE}",
    ),
    _stop(
        "Your Spot Task was interrupted*",
        remedy=Remedy.ELSEWHERE,
        means="Spot took the capacity back",
        source=f"Troubleshooting Amazon ECS SpotInterruption errors, {_GUIDE}",
    ),
)

EXIT_CODES: tuple[Failure, ...] = (
    _exit(
        "0",
        means="the container ended by itself and in order",
        do="if it was too early: CLOUDBURST_LIFETIME and CLOUDBURST_IDLE are its limits",
    ),
    _exit(
        "126",
        "127",
        remedy=Remedy.WHOLE_RUN,
        means="the image's command is not there or is no program",
        do="check DOCKER_IMAGE, and the command of the task definition",
    ),
    _exit("134", means="the container's program gave up (SIGABRT)"),
    _exit(
        "137",
        remedy=Remedy.OTHER_SIZE,
        means="the container was killed (SIGKILL): mostly for want of memory",
        do="if it happens again, choose a larger tier",
    ),
    _exit("139", means="the container's program crashed (SIGSEGV)"),
    _exit("143", means="the container was told to end (SIGTERM)"),
    _exit("*", means="the container's program failed", do="cloudburst logs shows what it wrote"),
)

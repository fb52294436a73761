"""Rows of the failure table for stopped tasks: stop codes, reasons, container exit codes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from cloudburst.errors import Remedy, WorkerStoppedError
from cloudburst.models.failures.api_errors import CHECK_EXECUTION_ROLE, ROLE_NOT_READY_AT_LAUNCH
from cloudburst.models.failures.failure import Failure, row

_STOP_CODE = "TaskStopCode, ECS API reference (2026-11)"
_GUIDE = "ECS guide (2026-11)"
_PULL = f"CannotPullContainer task errors, {_GUIDE}"
_INIT = f"Troubleshooting ResourceInitializationError errors, {_GUIDE}"
_START = f"Troubleshooting TaskFailedToStart errors, {_GUIDE}"
_RUNTIME = f"Stopped tasks error messages, {_GUIDE}"
_EXIT = "Exit status, Bash reference manual (2026-11); signal(7)"
_WAY_OUT = (
    "check that the subnets have a route to the registry: an internet gateway and a public "
    "address, a NAT gateway, or endpoints of ECR, S3 and CloudWatch Logs"
)

_stop = partial(row, WorkerStoppedError)
_pull = partial(row, WorkerStoppedError, source=_PULL)
_code = partial(row, WorkerStoppedError, source=_STOP_CODE)
_exit = partial(row, WorkerStoppedError, source=_EXIT)

SPOT_INTERRUPTION = _code(
    "SpotInterruption",
    meaning="AWS took the Spot capacity back, or had none: after two of these in 20 minutes the "
    "next tasks are on demand, if CLOUDBURST_FALLBACKS allows it",
)

# Rows for stop codes that explain the stop of a task without its reason and exit codes.
STOP_CODES: tuple[Failure, ...] = (
    SPOT_INTERRUPTION,
    _code("TerminationNotice", meaning="AWS retires the host of the task"),
    _code("InfrastructureHealth", meaning="the host of the task had a hardware failure"),
    _code(
        "ServiceSchedulerInitiated",
        meaning="the scheduler of an ECS service stopped it",
        action="run cloudburst's tasks outside of services",
    ),
    _code(
        "UserInitiated",
        meaning="a user or program stopped the task",
        action="look for StopTask in CloudTrail",
    ),
)

# Rows for stop codes that do not explain the stop of a task. They are tried after the rows for
# reasons and exit codes.
GENERIC_STOP_CODES: tuple[Failure, ...] = (
    _code(
        "TaskFailedToStart",
        meaning="the task did not start",
        action="if it persists, run cloudburst doctor",
    ),
    _code(
        "EssentialContainerExited",
        meaning="a container exited, and the task stopped with it",
        action="cloudburst logs shows its output",
    ),
    _code("*", meaning="the task stopped, and AWS gives no reason"),
)

# Row for a task that stopped because ECS could not assume the execution role.
ROLE_NOT_READY_AT_START = replace(ROLE_NOT_READY_AT_LAUNCH, error=WorkerStoppedError)

# Row for tasks whose execution role lacks a permission, perhaps because its policy is new.
START_NOT_PERMITTED = _stop(
    "CannotPullContainer*has the permissions to pull*",
    "CannotPullContainer*not authorized to perform*",
    "CannotPullContainer*AccessDenied*",
    "CannotPullContainer*403 Forbidden*",
    "CannotPullContainer*authorization failed*",
    "CannotPullContainer*authorization token has expired*",
    "ResourceInitializationError*AccessDenied*",
    "ResourceInitializationError*not authorized to perform*",
    remedy=Remedy.FIX_SETUP,
    meaning="the task has no permission to pull the image, or for another step before its start",
    action=CHECK_EXECUTION_ROLE,
    source=f"{_PULL}; {_INIT}; https://github.com/aws/copilot-cli/issues/5984",
)

STOPPED_REASONS: tuple[Failure, ...] = (
    ROLE_NOT_READY_AT_START,
    # The image. A missing architecture is also reported as "not found", so it is matched first.
    _stop(
        "CannotPullContainer*does not contain descriptor matching platform*",
        "CannotPullContainer*no match for platform*",
        "CannotPullContainer*a descriptor for platform*",
        "*exec format error*",
        remedy=Remedy.FIX_SETUP,
        meaning="the image was built for another processor architecture",
        action="build it for linux/amd64, or use the ARM64 task definition for an ARM64 image",
        source="https://github.com/aws/containers-roadmap/issues/1120 (2020-10); "
        "https://github.com/aws-samples/bottlerocket-images-cache/issues/7 (2024-07)",
    ),
    _pull(
        "CannotPullContainer*: not found*",
        "CannotPullContainer*manifest unknown*",
        "CannotPullContainer*name unknown*",
        "CannotPullContainer*repository does not exist*",
        "CannotPullContainer*pull access denied*",
        "CannotPullContainer*invalid reference format*",
        remedy=Remedy.FIX_SETUP,
        meaning="the image does not exist, or pulling it is not permitted",
        action="check registry, name and tag in DOCKER_IMAGE, then run cloudburst init --image",
    ),
    START_NOT_PERMITTED,
    _pull(
        "CannotPullContainer*no space left on device*",
        remedy=Remedy.FIX_SETUP,
        meaning="the image does not fit on the task's disk",
        action="set CLOUDBURST_EPHEMERAL_STORAGE to more than the unpacked size of the image",
    ),
    _pull(
        "CannotPullContainer*toomanyrequests*",
        "CannotPullContainer*Too Many Requests*",
        "CannotPullContainer*pull rate limit*",
        meaning="the registry limits the number of pulls",
        action="copy the image to ECR, which has no such limit: docs/aws/image.md",
    ),
    _pull(
        "CannotPullContainer*i/o timeout*",
        "CannotPullContainer*request canceled*",
        "CannotPullContainer*connection issue*",
        "CannotPullContainer*network configuration*",
        "CannotPullContainer*ontext canceled*",
        "CannotPullContainer*deadline exceeded*",
        "CannotPullContainer*failed open*",
        "CannotPullContainer*nil pointer dereference*",
        remedy=Remedy.OTHER_SUBNET,
        meaning="the registry did not answer from that subnet",
        action=_WAY_OUT,
    ),
    _pull(
        "CannotPullContainer*",
        meaning="the image could not be pulled",
        action="if it persists, check DOCKER_IMAGE and the subnets' route to its registry",
    ),
    # Resources that are created before a container runs.
    _stop(
        "ResourceInitializationError*log group does not exist*",
        remedy=Remedy.FIX_SETUP,
        meaning="the log group of the task definition does not exist",
        action="cloudburst init creates it",
        source=_INIT,
    ),
    _stop(
        "ResourceInitializationError*ResourceNotFound*",
        "ResourceNotFoundException*",
        remedy=Remedy.FIX_SETUP,
        meaning="a secret or parameter of the task definition does not exist",
        action="check the task definition, or use that of cloudburst init",
        source=f"Troubleshooting ResourceNotFoundException errors, {_GUIDE}",
    ),
    _stop(
        "ResourceInitializationError*connection issue*",
        "ResourceInitializationError*network *",
        "ResourceInitializationError*i/o timeout*",
        "ResourceInitializationError*deadline exceeded*",
        "ResourceInitializationError*signal: killed*",
        remedy=Remedy.OTHER_SUBNET,
        meaning="services of AWS did not answer from that subnet",
        action=_WAY_OUT,
        source=_INIT,
    ),
    _stop(
        "ResourceInitializationError*",
        meaning="Fargate could not prepare the task",
        action="if it persists, run cloudburst doctor",
        source=_INIT,
    ),
    # Capacity and network.
    _stop(
        "Capacity is unavailable at this time*",
        remedy=Remedy.OTHER_SUBNET,
        meaning="Fargate has no capacity there now",
        source="https://repost.aws/knowledge-center/ecs-fargate-runtask-capacity (2026-11)",
    ),
    _stop(
        "Unexpected EC2 error*TagPolicyViolation*",
        "Unexpected EC2 error*UnauthorizedOperation*",
        remedy=Remedy.FIX_SETUP,
        meaning="a policy of the organization forbids the task's network interface",
        action="ask the administrator of the organization's policies",
        source=f"{_START}; Tag policies, AWS Organizations user guide (2026-11)",
    ),
    _stop(
        "Unexpected EC2 error*InsufficientFreeAddresses*",
        "Unexpected EC2 error*Create Network Interface with public IP assignment enabled*",
        remedy=Remedy.OTHER_SUBNET,
        meaning="the subnet has no free addresses",
        action="set AWS_SUBNET_ID to more or larger subnets",
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
        meaning="the task got no network interface or no disk, which happens occasionally",
        source=f"{_START}; https://github.com/apache/airflow/issues/15000 (2021-04); ECS "
        "launcher of https://github.com/dagster-io/dagster (2026-11)",
    ),
    _stop(
        "The selected task definition is not compatible*",
        remedy=Remedy.FIX_SETUP,
        meaning="the task definition does not support Fargate",
        action="cloudburst init creates one that does",
        source=_START,
    ),
    # The container.
    _stop(
        "OutOfMemoryError*",
        remedy=Remedy.OTHER_SIZE,
        meaning="the task had too little memory",
        action="choose a larger tier, or add size to CLOUDBURST_FALLBACKS",
        source=f"Troubleshooting OutOfMemoryError errors, {_GUIDE}",
    ),
    _stop(
        "CannotStartContainerError*executable file not found*",
        "CannotStartContainerError*no such file or directory*",
        remedy=Remedy.FIX_SETUP,
        meaning="the image does not have the command",
        action="check DOCKER_IMAGE, and the command of the task definition",
        source=f"Troubleshooting CannotStartContainerError errors, {_GUIDE}",
    ),
    _stop(
        "CannotCreateVolumeError*",
        "CannotInspectContainerError*",
        "CannotStartContainerError*",
        "CannotStopContainerError*",
        "ContainerRuntimeError*",
        "ContainerRuntimeTimeoutError*",
        "DockerTimeoutError*",
        meaning="the host of the task could not run the container",
        source=_RUNTIME,
    ),
    _stop(
        "Task failed container health checks*",
        meaning="the container did not pass the health check of its task definition",
        action="cloudburst logs shows its output",
        source=f"Troubleshooting task definition health checks, {_GUIDE}",
    ),
)

EXITED_NORMALLY = _exit(
    "0",
    meaning="the container exited normally",
    action="if it was too early, check its limits CLOUDBURST_LIFETIME and CLOUDBURST_IDLE",
)
# Row for a program that exited by itself with an error code; a signal did not end it.
EXITED_WITH_ERROR = _exit(
    *("?", "??"),
    meaning="the program in the container exited with an error",
    action="cloudburst logs shows its output",
)

EXIT_CODES: tuple[Failure, ...] = (
    EXITED_NORMALLY,
    _exit(
        "126",
        "127",
        remedy=Remedy.FIX_SETUP,
        meaning="the command of the image does not exist, is not executable, or lacks a library",
        action="cloudburst logs shows its output; check DOCKER_IMAGE, and the command of the task "
        "definition",
    ),
    EXITED_WITH_ERROR,
    _exit(
        "137",
        remedy=Remedy.OTHER_SIZE,
        meaning="the container was killed (SIGKILL), mostly because it had too little memory",
        action="if it happens again, choose a larger tier",
    ),
    _exit("134", "139", meaning="the program in the container crashed (SIGABRT or SIGSEGV)"),
    _exit("143", meaning="the container was stopped (SIGTERM)"),
    _exit(
        "*",
        meaning="the program in the container failed",
        action="cloudburst logs shows its output",
    ),
)

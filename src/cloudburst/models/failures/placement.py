"""Rows of the failure table for responses of RunTask that started no task."""

from __future__ import annotations

from cloudburst.errors import CapacityError, LaunchError, Remedy, ResourceMissingError
from cloudburst.models.failures.failure import Failure, row

RUN_TASK_REFERENCE = "RunTask, ECS API reference (2026-11)"
_REASONS = "Amazon ECS API failure reasons, ECS developer guide (2026-11)"
_EVENTS = "Amazon ECS service event messages, ECS developer guide (2026-11)"
_LESS = (
    "start fewer tasks with Limits.workers, choose a smaller tier, or request a higher quota: "
    "cloudburst doctor prints the command"
)
CHECK_EXECUTION_ROLE = (
    "check the execution role of the task definition with cloudburst doctor; cloudburst init "
    "creates a valid one"
)
_NEW_ACCOUNT = (
    "AWS blocks tasks of a new account until it is verified, even if Service Quotas shows a quota: "
    "start and stop one EC2 instance, wait some hours, or ask AWS Support"
)
_QUOTA_SOURCES = (
    f"{_EVENTS}; https://github.com/aws/copilot-cli/issues/2685 (2026-11); "
    "https://github.com/aws/copilot-cli/issues/3064 (2026-11)"
)
CREATE_RESOURCE = "cloudburst doctor names the missing resource, and cloudburst init creates it"

ROLE_NOT_READY_AT_LAUNCH = row(
    CapacityError,
    "ECS was unable to assume the role*",
    remedy=Remedy.REPEAT_REQUEST,
    meaning="ECS cannot assume the execution role; a new role becomes available within a minute, "
    "after which the failure ends the run",
    action=CHECK_EXECUTION_ROLE,
    source="https://github.com/artilleryio/artillery/issues/3198 (2024-06); "
    "https://github.com/pulumi/pulumi-awsx/issues/927 (2026-11)",
)
"""Row for a launch that is refused because ECS cannot assume the execution role."""

PLACEMENT_MESSAGES: tuple[Failure, ...] = (
    row(
        CapacityError,
        # AWS's own pages have both apostrophes.
        "You?ve reached the limit on the number of spot*",
        "You?ve reached the limit on the number of Spot*",
        remedy=Remedy.FEWER_TASKS,
        meaning="the account's quota of Fargate Spot vCPUs (L-36FBB829) is used up",
        action=f"{_LESS}. {_NEW_ACCOUNT}",
        source=_QUOTA_SOURCES,
    ),
    row(
        CapacityError,
        "You?ve reached the limit on the number of *",
        contexts=("FARGATE_SPOT",),
        remedy=Remedy.FEWER_TASKS,
        meaning="the account's quota of Fargate Spot vCPUs (L-36FBB829) is used up",
        action=f"{_LESS}. {_NEW_ACCOUNT}",
        source=_QUOTA_SOURCES,
    ),
    row(
        CapacityError,
        "You?ve reached the limit on the number of *",
        remedy=Remedy.FEWER_TASKS,
        meaning="the account's quota of Fargate On-Demand vCPUs (L-3032A538) is used up",
        action=f"{_LESS}. {_NEW_ACCOUNT}",
        source=_QUOTA_SOURCES,
    ),
    ROLE_NOT_READY_AT_LAUNCH,
    row(
        LaunchError,
        "The requested * configuration is above your limit*",
        meaning="a single task is larger than the account's quota",
        action="choose a smaller tier, or request a higher quota: cloudburst doctor prints the "
        "command",
        source=_EVENTS,
    ),
    row(
        CapacityError,
        "Capacity is unavailable at this time*",
        meaning="Fargate has no capacity there now; other zones, on-demand tasks and other sizes "
        "are tried as far as CLOUDBURST_FALLBACKS allows",
        source=f"{_EVENTS}; https://repost.aws/knowledge-center/ecs-fargate-runtask-capacity",
    ),
)
"""Rows for reasons that AWS sends either in ``failures`` of a successful response or as the message
of an error. The error can have any code."""

PLACEMENT_REASONS: tuple[Failure, ...] = (
    *PLACEMENT_MESSAGES,
    row(
        CapacityError,
        "Internal error*",
        meaning="the subnet may be in a zone without Fargate",
        action="set AWS_SUBNET_ID to subnets of other zones",
        source=_EVENTS,
    ),
    row(
        CapacityError,
        "RESOURCE:*",
        "AGENT",
        meaning="no machine has capacity for the task",
        source=_REASONS,
    ),
    row(
        ResourceMissingError,
        "MISSING",
        meaning="a resource that the request names does not exist",
        action=CREATE_RESOURCE,
        source=_REASONS,
    ),
    row(
        LaunchError,
        "ATTRIBUTE",
        "EMPTY CAPACITY PROVIDER",
        "INACTIVE",
        "LOCATION",
        "MemberOf placement constraint unsatisfied",
        "NO ACTIVE INSTANCES",
        meaning="the task cannot be placed: task definition, subnets and cluster are incompatible",
        action="cloudburst doctor names the conflict; cloudburst init creates valid ones",
        source=_REASONS,
    ),
    row(
        LaunchError,
        "",
        meaning="the answer has neither a task nor a reason",
        action="report it with the log at DEBUG",
        source=RUN_TASK_REFERENCE,
    ),
    row(
        CapacityError,
        "*",
        meaning="no task was placed, for a reason that AWS does not document",
        source=_REASONS,
    ),
)

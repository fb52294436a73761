"""Rows of the failure table for error codes of the AWS APIs."""

from __future__ import annotations

from functools import partial

from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CapacityError,
    CredentialsError,
    LaunchError,
    NoAnswerError,
    Remedy,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.failures.failure import Failure, row
from cloudburst.models.failures.s3_errors import S3_ERRORS

RUN_TASK_REFERENCE = "RunTask, ECS API reference (2026-11)"
_REASONS = "API failure reasons, ECS guide (2026-11)"
_EVENTS = "Service event messages, ECS guide (2026-11)"
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
_quota = partial(
    row,
    CapacityError,
    remedy=Remedy.FEWER_TASKS,
    action=f"{_LESS}. {_NEW_ACCOUNT}",
    source=f"{_EVENTS}; https://github.com/aws/copilot-cli/issues/2685 (2026-11); "
    "https://github.com/aws/copilot-cli/issues/3064 (2026-11)",
)
_SPOT_QUOTA = "the account's quota of Fargate Spot vCPUs (L-36FBB829) is used up"
_NO_RESOURCE = "a resource that the settings name does not exist"
_CREATE_RESOURCE = "cloudburst doctor names the missing resource, and cloudburst init creates it"

# Row for a launch that is refused because ECS cannot assume the execution role.
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

# Rows for reasons that AWS sends either in ``failures`` of a successful response or as the
# message of an error. The error can have any code.
PLACEMENT_MESSAGES: tuple[Failure, ...] = (
    # AWS's own pages have both apostrophes.
    _quota("You?ve reached the limit on the number of ?pot*", meaning=_SPOT_QUOTA),
    _quota(
        "You?ve reached the limit on the number of *",
        contexts=("FARGATE_SPOT",),
        meaning=_SPOT_QUOTA,
    ),
    _quota(
        "You?ve reached the limit on the number of *",
        meaning="the account's quota of Fargate On-Demand vCPUs (L-3032A538) is used up",
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
        source=f"{_EVENTS}; https://repost.aws/knowledge-center/ecs-fargate-runtask-capacity "
        "(2026-11)",
    ),
)

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
        ResourceMissingError,
        "MISSING",
        meaning=_NO_RESOURCE,
        action=_CREATE_RESOURCE,
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
        meaning="no task was placed",
        source=_REASONS,
    ),
)


_COMMON = "Common errors, ECS API reference (2026-11)"
_EC2 = "Error codes, EC2 API reference (2026-11)"
_QUOTA = (
    "start fewer tasks with Limits.workers, choose a smaller tier, or request a higher quota "
    "(L-3032A538 on demand, L-36FBB829 on Spot): cloudburst doctor prints the command"
)

EXPIRED_CREDENTIALS = row(
    CredentialsError,
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    meaning="the credentials have expired",
    action="sign in again (aws sso login), or renew the keys",
    source=f"{_COMMON}; {_EC2}",
)
NO_SUCH_TASK = row(
    AWSError,
    "InvalidParameterException",
    contexts=("stop_task",),
    remedy=Remedy.REPEAT_REQUEST,
    meaning="ECS does not know the task: it is too new, or was stopped long ago",
    source="StopTask, ECS API reference (2026-11)",
)

API_ERRORS: tuple[Failure, ...] = (
    *S3_ERRORS,
    row(
        ThrottledError,
        "EC2ThrottledException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
        meaning="too many requests to AWS",
        source=f"{_COMMON}; {_EC2}; https://github.com/dagster-io/dagster/issues/33439 (2026-02)",
    ),
    EXPIRED_CREDENTIALS,
    row(
        CredentialsError,
        "RequestTimeTooSkewed",
        meaning="the clock of this machine is wrong, so AWS rejects its signatures",
        action="set the clock",
        source=_EC2,
    ),
    row(
        CredentialsError,
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        meaning="AWS rejects the credentials as invalid",
        action="check the keys and the profile with aws sts get-caller-identity",
        source=f"{_COMMON}; {_EC2}",
    ),
    row(
        AccessDeniedError,
        "BlockedException",
        "OptInRequired",
        meaning="the account is blocked, or not enabled for this service or region",
        action="ask AWS Support, or choose another region",
        source=f"{RUN_TASK_REFERENCE}; {_COMMON}",
    ),
    row(
        AccessDeniedError,
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "NotAuthorized",
        "UnauthorizedOperation",
        meaning="the credentials do not have permission for this request",
        action="grant what cloudburst init --policy prints; for init itself: --policy init",
        source=f"{_COMMON}; {_EC2}",
    ),
    row(
        ResourceMissingError,
        "ClusterNotFoundException",
        "NoSuchEntity",
        "NoSuchResourceException",
        "ResourceNotFoundException",
        "TargetNotFoundException",
        "*.NotFound",
        meaning=_NO_RESOURCE,
        action=_CREATE_RESOURCE,
        source=f"{RUN_TASK_REFERENCE}; {_EC2}",
    ),
    row(
        ResourceMissingError,
        "ClientException",
        contexts=("describe_task_definition",),
        meaning="there is no such task definition",
        action="check ECS_TASK_DEFINITION; cloudburst init creates one",
        source="DescribeTaskDefinition, ECS API reference (2026-11)",
    ),
    row(
        CapacityError,
        "InsufficientFreeAddressesInSubnet",
        meaning="the subnet has no free addresses",
        action="set AWS_SUBNET_ID to more or larger subnets",
        source=_EC2,
    ),
    row(
        CapacityError,
        "AddressLimitExceeded",
        "NetworkInterfaceLimitExceeded",
        "VcpuLimitExceeded",
        remedy=Remedy.FEWER_TASKS,
        meaning="a quota of the account for EC2 is used up",
        action="start fewer tasks with Limits.workers, or request a higher quota in Service Quotas",
        source=_EC2,
    ),
    row(
        CapacityError,
        "LimitExceededException",
        contexts=("run_task",),
        remedy=Remedy.FEWER_TASKS,
        meaning="the quota of tasks of the account is used up",
        action=_QUOTA,
        source=_COMMON,
    ),
    row(
        NoAnswerError,
        "InternalError",
        "InternalFailure",
        "RequestAbortedException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Unavailable",
        meaning="AWS or the connection to it failed; the request may have been executed",
        source=f"{_COMMON}; {_EC2}",
    ),
    NO_SUCH_TASK,
    row(
        LaunchError,
        "PlatformUnknownException",
        "PlatformTaskDefinitionIncompatibilityException",
        meaning="the platform version does not exist, or the task definition needs a newer one",
        action="unset CLOUDBURST_PLATFORM_VERSION",
        source=RUN_TASK_REFERENCE,
    ),
    row(
        LaunchError,
        "UnsupportedFeatureException",
        meaning="this region does not support such tasks",
        action="choose another region in AWS_REGION",
        source=RUN_TASK_REFERENCE,
    ),
    row(
        LaunchError,
        "ConflictException",
        contexts=("run_task",),
        meaning="a token was used for two different requests, which is a defect of this package",
        action="report it, and start the run again",
        source=RUN_TASK_REFERENCE,
    ),
    row(
        NoAnswerError,
        "",
        "3??",
        "4??",
        meaning="the error has no code of AWS: it comes from a proxy or portal",
        action="if it persists, check the network, the proxy and AWS_ENDPOINT_URL",
        source="AWS JSON 1.1 protocol, Smithy 2.0",
    ),
    row(
        LaunchError,
        "*",
        contexts=("run_task",),
        meaning="AWS rejects the request that results from the settings",
        action="check each setting with cloudburst doctor",
        source=RUN_TASK_REFERENCE,
    ),
    row(
        AWSError,
        "*",
        meaning="a call to AWS failed",
        source=_COMMON,
    ),
)

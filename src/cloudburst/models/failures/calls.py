"""What AWS answers to a call in place of doing it."""

from __future__ import annotations

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
from cloudburst.models.failures.row import Failure, Where

_COMMON = "Common errors, ECS API reference (2026-11)"
_RUN_TASK = "RunTask, ECS API reference (2026-11)"
_EC2 = "Error codes for the Amazon EC2 API, EC2 API reference (2026-11)"
_REASONS = "Amazon ECS API failure reasons, ECS developer guide (2026-11)"
_EVENTS = "Amazon ECS service event messages, ECS developer guide (2026-11)"
_QUOTA = (
    "start fewer with Limits.workers or a smaller tier, or ask for more: cloudburst doctor prints "
    "the command for the quota, L-3032A538 on demand and L-36FBB829 on Spot"
)
_DOCTOR = "cloudburst doctor names what is not there, and cloudburst init makes it"

EXPIRED = Failure(
    where=Where.CODE,
    match=("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
    error=CredentialsError,
    remedy=Remedy.WHOLE_RUN,
    means="the credentials were right and have expired",
    do="sign in again (aws sso login), or renew the keys or the session token",
    source=f"{_COMMON}; {_EC2}",
)
NO_SUCH_TASK = Failure(
    where=Where.CODE,
    match=("InvalidParameterException",),
    on=("stop_task",),
    error=AWSError,
    remedy=Remedy.AGAIN_HERE,
    means="ECS does not know the task: too young, or gone",
    source="StopTask, ECS API reference (2026-11)",
)

CODES: tuple[Failure, ...] = (
    Failure(
        where=Where.CODE,
        match=(
            "EC2ThrottledException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "Throttling",
            "ThrottledException",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        error=ThrottledError,
        remedy=Remedy.AGAIN_HERE,
        means="AWS was asked too often",
        source=f"{_COMMON}; {_EC2}; https://github.com/dagster-io/dagster/issues/33439 (2026-02)",
    ),
    EXPIRED,
    Failure(
        where=Where.CODE,
        match=("RequestTimeTooSkewed",),
        error=CredentialsError,
        remedy=Remedy.WHOLE_RUN,
        means="this machine's clock is wrong, so its signatures are",
        do="set the clock",
        source=_EC2,
    ),
    Failure(
        where=Where.CODE,
        match=(
            "AuthFailure",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "InvalidToken",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        error=CredentialsError,
        remedy=Remedy.WHOLE_RUN,
        means="AWS takes the credentials for wrong",
        do="check the keys and the profile: aws sts get-caller-identity says who you are",
        source=f"{_COMMON}; {_EC2}",
    ),
    Failure(
        where=Where.CODE,
        match=("BlockedException", "OptInRequired"),
        error=AccessDeniedError,
        remedy=Remedy.WHOLE_RUN,
        means="the account is blocked, or not signed up for this service or region",
        do="ask AWS Support, or choose another region",
        source=f"{_RUN_TASK}; {_COMMON}",
    ),
    Failure(
        where=Where.CODE,
        match=(
            "AccessDenied",
            "AccessDeniedException",
            "AuthorizationError",
            "AuthorizationErrorException",
            "NotAuthorized",
            "UnauthorizedOperation",
        ),
        error=AccessDeniedError,
        remedy=Remedy.WHOLE_RUN,
        means="the credentials may not do this",
        do="cloudburst init --policy prints what they must be allowed",
        source=f"{_COMMON}; {_EC2}",
    ),
    Failure(
        where=Where.CODE,
        match=(
            "ClusterNotFoundException",
            "NoSuchEntity",
            "NoSuchResourceException",
            "ResourceNotFoundException",
            "TargetNotFoundException",
            "*.NotFound",
        ),
        error=ResourceMissingError,
        remedy=Remedy.WHOLE_RUN,
        means="something that the settings name is not there",
        do=_DOCTOR,
        source=f"{_RUN_TASK}; {_EC2}",
    ),
    Failure(
        where=Where.CODE,
        match=("ClientException",),
        on=("describe_task_definition",),
        error=ResourceMissingError,
        remedy=Remedy.WHOLE_RUN,
        means="there is no such task definition",
        do="check ECS_TASK_DEFINITION; cloudburst init makes one",
        source="DescribeTaskDefinition, ECS API reference (2026-11)",
    ),
    Failure(
        where=Where.CODE,
        match=("InsufficientFreeAddressesInSubnet",),
        error=CapacityError,
        remedy=Remedy.OTHER_SUBNET,
        means="the subnet has no free addresses",
        do="name more or larger subnets in AWS_SUBNET_ID",
        source=_EC2,
    ),
    Failure(
        where=Where.CODE,
        match=("AddressLimitExceeded", "NetworkInterfaceLimitExceeded", "VcpuLimitExceeded"),
        error=CapacityError,
        remedy=Remedy.FEWER,
        means="the account may not have more of something at once",
        do="start fewer with Limits.workers, or ask for a higher quota in Service Quotas",
        source=_EC2,
    ),
    Failure(
        where=Where.CODE,
        match=("LimitExceededException",),
        on=("run_task",),
        error=CapacityError,
        remedy=Remedy.FEWER,
        means="the account may not have more tasks at once",
        do=_QUOTA,
        source=_COMMON,
    ),
    Failure(
        where=Where.CODE,
        match=(
            "InternalError",
            "InternalFailure",
            "RequestAbortedException",
            "RequestTimeout",
            "RequestTimeoutException",
            "ServerException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "Unavailable",
        ),
        error=NoAnswerError,
        remedy=Remedy.AGAIN_HERE,
        means="AWS is unwell, or the line to it; it may have done it all the same",
        source=f"{_COMMON}; {_EC2}",
    ),
    NO_SUCH_TASK,
    Failure(
        where=Where.CODE,
        match=("PlatformUnknownException", "PlatformTaskDefinitionIncompatibilityException"),
        error=LaunchError,
        remedy=Remedy.WHOLE_RUN,
        means="there is no such platform version, or the task definition needs a newer one",
        do="leave CLOUDBURST_PLATFORM_VERSION unset: AWS's LATEST fits",
        source=_RUN_TASK,
    ),
    Failure(
        where=Where.CODE,
        match=("UnsupportedFeatureException",),
        error=LaunchError,
        remedy=Remedy.WHOLE_RUN,
        means="this region has no such tasks",
        do="choose another region in AWS_REGION",
        source=_RUN_TASK,
    ),
    Failure(
        where=Where.CODE,
        match=("ConflictException",),
        on=("run_task",),
        error=LaunchError,
        remedy=Remedy.WHOLE_RUN,
        means="a token was used for two requests, which is a defect of this package",
        do="report it; another run is not affected",
        source=_RUN_TASK,
    ),
    Failure(
        where=Where.CODE,
        match=("*",),
        on=("run_task",),
        error=LaunchError,
        remedy=Remedy.WHOLE_RUN,
        means="AWS does not take the request as the settings make it",
        do="cloudburst doctor checks each setting against the account",
        source=_RUN_TASK,
    ),
    Failure(
        where=Where.CODE,
        match=("*",),
        error=AWSError,
        remedy=Remedy.WHOLE_RUN,
        means="AWS refused a call",
        source=_COMMON,
    ),
)

WORDS: tuple[Failure, ...] = (
    Failure(
        where=Where.FAILURE,
        # AWS's own pages have both apostrophes.
        match=(
            "You?ve reached the limit on the number of vCPUs*",
            "You?ve reached the limit on the number of tasks*",
        ),
        error=CapacityError,
        remedy=Remedy.FEWER,
        means="the account's quota of vCPUs on Fargate is used up",
        do=_QUOTA,
        source=_EVENTS,
    ),
    Failure(
        where=Where.FAILURE,
        match=("The requested * configuration is above your limit*",),
        error=LaunchError,
        remedy=Remedy.WHOLE_RUN,
        means="one task alone is larger than the account's quota",
        do="choose a smaller tier, or ask for more: cloudburst doctor prints the command",
        source=_EVENTS,
    ),
    Failure(
        where=Where.FAILURE,
        match=("Capacity is unavailable at this time*",),
        error=CapacityError,
        remedy=Remedy.OTHER_SUBNET,
        means="Fargate has no room there now: other zones, on demand and other sizes are tried, as "
        "far as CLOUDBURST_LADDER allows",
        source=f"{_EVENTS}; https://repost.aws/knowledge-center/ecs-fargate-runtask-capacity",
    ),
)
"""Reasons that come as the message of an exception too, whatever its code."""

REASONS: tuple[Failure, ...] = (
    *WORDS,
    Failure(
        where=Where.FAILURE,
        match=("Internal error*",),
        error=CapacityError,
        remedy=Remedy.OTHER_SUBNET,
        means="the subnet may be in a zone without Fargate",
        do="name subnets of other zones in AWS_SUBNET_ID",
        source=_EVENTS,
    ),
    Failure(
        where=Where.FAILURE,
        match=("RESOURCE:*", "AGENT"),
        error=CapacityError,
        remedy=Remedy.OTHER_SUBNET,
        means="no machine has room for the task",
        source=_REASONS,
    ),
    Failure(
        where=Where.FAILURE,
        match=("MISSING",),
        error=ResourceMissingError,
        remedy=Remedy.WHOLE_RUN,
        means="something that the request names is not there",
        do=_DOCTOR,
        source=_REASONS,
    ),
    Failure(
        where=Where.FAILURE,
        match=(
            "ATTRIBUTE",
            "EMPTY CAPACITY PROVIDER",
            "INACTIVE",
            "LOCATION",
            "MemberOf placement constraint unsatisfied",
            "NO ACTIVE INSTANCES",
        ),
        error=LaunchError,
        remedy=Remedy.WHOLE_RUN,
        means="the task will never be placed: its definition, subnets and cluster do not fit",
        do="cloudburst doctor says which; cloudburst init makes ones that do",
        source=_REASONS,
    ),
    Failure(
        where=Where.FAILURE,
        match=("",),
        error=LaunchError,
        remedy=Remedy.WHOLE_RUN,
        means="there is neither a task nor a reason",
        do="report it with the log at DEBUG",
        source=_RUN_TASK,
    ),
    Failure(
        where=Where.FAILURE,
        match=("*",),
        error=CapacityError,
        remedy=Remedy.OTHER_SUBNET,
        means="no task was placed, for a reason that AWS does not document",
        source=_REASONS,
    ),
)

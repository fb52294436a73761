"""The one table of failures: each row is reached, each code has one, and errors follow it."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import aiohttp
import botocore
import botocore.exceptions
import httpx
import pytest
from botocore.parsers import ResponseParserError

from cloudburst import errors
from cloudburst.aws.client.responses import translate_errors
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CapacityError,
    CloudburstError,
    CredentialsError,
    LaunchError,
    NoAnswerError,
    Remedy,
    ResourceMissingError,
    ThrottledError,
    WorkerStoppedError,
)
from cloudburst.models import failures
from cloudburst.models.failures import (
    classify_api_error,
    classify_http_status,
    classify_placement_failure,
    classify_stop,
)
from cloudburst.models.failures.api_errors import NO_SUCH_TASK
from cloudburst.models.failures.connections import (
    CONNECTION_REFUSED,
    EXCEPTIONS,
    FILES_MISSING,
)
from cloudburst.models.failures.stops import EXITED_WITH_ERROR, SPOT_INTERRUPTION
from support import failure_pages

SERVICE = Path(botocore.__file__).parent / "data" / "ecs" / "2014-11-13" / "service-2.json.gz"
ECS = json.loads(gzip.decompress(SERVICE.read_bytes()))
CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CloudburstError)
]


TABLES = failure_pages.TABLES
TABLE = [row for rows in TABLES.values() for row in rows]


def sample(pattern):
    return pattern.replace("*", " it ").replace("?", "5").strip() or pattern


def found(heading, row, text):
    """What is found when that is told where the row says."""
    on, number = row.contexts[0] if row.contexts else "", int(text) if text.isdecimal() else 418
    ended = "Essential container in task exited"
    by_place = {
        "Error codes": lambda: classify_api_error(text, "", 400, operation=on or "describe_tasks"),
        "Messages of AccessDenied": lambda: classify_api_error(
            "AccessDenied", text, 403, operation="put_object"
        ),
        "Failures of RunTask": lambda: classify_placement_failure([text], capacity=on),
        "Stop codes of tasks": lambda: classify_stop(text, [], []),
        "Stop reasons of tasks and containers": lambda: classify_stop(
            "TaskFailedToStart", [text], []
        ),
        "Exit codes of containers": lambda: classify_stop(
            "EssentialContainerExited", [ended], [number]
        ),
        "HTTP statuses": lambda: classify_http_status(number, context=on),
    }
    return by_place[heading]()


ROWS = [
    (heading, row, match)
    for heading, rows in TABLES.items()
    for row in rows
    for match in row.patterns
    if rows is not EXCEPTIONS
]


@pytest.mark.parametrize(
    ("heading", "row", "match"), ROWS, ids=[f"{at}-{match or 'none'}" for at, _, match in ROWS]
)
def test_each_row_is_reached(heading, row, match):
    assert found(heading, row, sample(match)) is row


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.patterns[0] or "none")
def test_each_row_says_what_it_means(row):
    assert row.meaning
    assert row.meaning[-1] not in ".:"
    assert row.source
    # Where only somebody can help, it says how; but of a refusal that is not known nobody knows.
    if row.remedy is Remedy.FIX_SETUP and row.error is not AWSError:
        assert row.action
    # What a class of errors promises is what its rows say; only the end of a task may be final.
    final_end = row.error is WorkerStoppedError and row.remedy is Remedy.FIX_SETUP
    if not (final_end or row is NO_SUCH_TASK or row is FILES_MISSING):
        assert row.error.remedy.retryable == row.remedy.retryable


def test_each_exception_of_the_calls_that_we_make_has_a_row_of_its_own():
    generic = {"ClientException", "InvalidParameterException"}  # which say nothing by themselves
    for operation, method in {
        "RunTask": "run_task",
        "StopTask": "stop_task",
        "DescribeTasks": "describe_tasks",
    }.items():
        for error in ECS["operations"][operation]["errors"]:
            row = classify_api_error(error["shape"], "", 400, operation=method)
            assert row.patterns != ("*",) or error["shape"] in generic, (operation, error["shape"])


def test_each_stop_code_that_ecs_has_is_told_apart():
    for code in ECS["shapes"]["TaskStopCode"]["enum"]:
        assert classify_stop(code, [], []).patterns == (code,)


def test_what_ecs_passes_on_of_ec2_is_what_ec2_means():
    text = "Error retrieving subnet information for [s-1]: no (ErrorCode: {})"
    for code, kind, remedy in [
        ("RequestLimitExceeded", ThrottledError, Remedy.REPEAT_REQUEST),
        ("UnauthorizedOperation", AccessDeniedError, Remedy.FIX_SETUP),
        ("InvalidSubnetID.NotFound", ResourceMissingError, Remedy.FIX_SETUP),
        ("InsufficientFreeAddressesInSubnet", CapacityError, Remedy.OTHER_SUBNET),
        ("NetworkInterfaceLimitExceeded", CapacityError, Remedy.FEWER_TASKS),
    ]:
        answer = {"Error": {"Code": "InvalidParameterException", "Message": text.format(code)}}
        with pytest.raises(kind) as caught, translate_errors("run_task"):
            raise botocore.exceptions.ClientError(answer, "RunTask")
        assert (type(caught.value), caught.value.remedy) == (kind, remedy)


QUOTA = "You've reached the limit on the number of vCPUs you can run concurrently"


@pytest.mark.parametrize("code", ["ClientException", "ThrottlingException", "LimitExceeded"])
def test_a_quota_is_known_by_its_words_whatever_the_code(code):
    for said in (QUOTA, QUOTA.replace("'", "’"), QUOTA.replace("vCPUs", "tasks")):
        for capacity, quota in (("FARGATE", "L-3032A538"), ("FARGATE_SPOT", "L-36FBB829")):
            row = classify_api_error(code, said, 400, operation="run_task", capacity=capacity)
            assert (row.error, row.remedy) == (CapacityError, Remedy.FEWER_TASKS)
            assert quota in row.meaning
            assert "cloudburst doctor" in row.action
            assert classify_placement_failure([said], capacity=capacity) is row
    # Only RunTask speaks of room.
    assert (
        classify_api_error("ThrottlingException", QUOTA, 400, operation="list_tasks").error
        is ThrottledError
    )


@pytest.mark.parametrize("kind", ["spot tasks", "Spot vCPUs"])
def test_the_words_of_a_quota_of_spot_name_its_quota(kind):
    row = classify_placement_failure(
        [f"You've reached the limit on the number of {kind} you can run"]
    )
    assert row.remedy is Remedy.FEWER_TASKS, (
        "a lack of room would climb to on demand and larger sizes"
    )
    assert "L-36FBB829" in row.meaning


@pytest.mark.parametrize("status", [302, 403, 404, 407])
@pytest.mark.parametrize("operation", ["run_task", "stop_task", "describe_tasks"])
def test_a_refusal_without_a_code_is_not_from_aws(operation, status):
    """A proxy's own refusal says nothing about what AWS has done with an earlier request."""
    for code in ("", str(status)):
        assert classify_api_error(code, "", status, operation=operation).error is NoAnswerError


@pytest.mark.parametrize("operation", ["run_task", "stop_task", "describe_tasks"])
@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        ("RequestTimeoutException", "", 408),
        ("RequestAbortedException", "", 400),
        ("408", "Request Timeout", 408),
        ("ServerException", "Internal error.", 500),
        ("InternalFailure", "Internal error", 500),
    ],
)
def test_a_call_that_may_have_succeeded_is_no_refusal(code, message, status, operation):
    """As a refusal of RunTask, it would leave a task that nobody knows."""
    assert classify_api_error(code, message, status, operation=operation).error is NoAnswerError


def test_a_status_counts_where_there_is_no_code():
    assert (
        classify_api_error("429", "Too Many Requests", 429, operation="run_task").error
        is ThrottledError
    )
    assert (
        classify_api_error("502", "Bad Gateway", 502, operation="run_task").error is NoAnswerError
    )


def test_the_worst_of_several_reasons_counts():
    assert classify_placement_failure(["AGENT", "MISSING"]).error is ResourceMissingError
    assert classify_placement_failure(["RESOURCE:ENI", "AGENT"]).error is CapacityError
    assert classify_placement_failure([]).error is LaunchError


# Texts as AWS's pages and issue trackers have them.
PULL = "CannotPullContainerError: pull image manifest has been retried 5 time(s): "
LOGS = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 "
)
ENI = "Unexpected EC2 error while attempting to "
RUN, ANY, NET = Remedy.FIX_SETUP, Remedy.OTHER_WORKER, Remedy.OTHER_SUBNET
ENDS = [
    (
        PULL + "failed to resolve ref 1.dkr.ecr.us-east-1.amazonaws.com/a:b: not found",
        RUN,
        "not exist",
    ),
    (
        PULL + "failed to resolve ref a:b: pull access denied, repository does not exist",
        RUN,
        "not exist",
    ),
    (PULL + "image Manifest does not contain descriptor matching platform 'x'.", RUN, "processor"),
    (PULL + "no match for platform in manifest sha256:b9: not found", RUN, "processor"),
    ("CannotPullContainerError: failed to find a descriptor for platform {x}", RUN, "processor"),
    (PULL + "unexpected status from HEAD request: 403 Forbidden", RUN, "permission to pull"),
    (PULL + "Check that the role has the permissions to pull images", RUN, "permission to pull"),
    ("CannotPullContainerError: write /var/lib/x: no space left on device: unknown", RUN, "disk"),
    (
        PULL + "failed to do request: Head https://registry: dial tcp 1.2.3.4:443: i/o timeout",
        NET,
        "answer",
    ),
    (PULL + "429 Too Many Requests - Server message: toomanyrequests", ANY, "number of pulls"),
    ("CannotPullContainerError: something new", ANY, "could not be pulled"),
    (LOGS + "times: The specified log group does not exist. : exit status 1", RUN, "log group"),
    (LOGS + "times: AccessDeniedException: not authorized to perform: logs:X", RUN, "permission"),
    (
        "ResourceInitializationError: unable to pull secrets: There is a connection issue",
        NET,
        "answer",
    ),
    ("ResourceInitializationError: failed to configure ENI: netplugin failed", ANY, "prepare"),
    ("Timeout waiting for network interface provisioning to complete.", ANY, "network interface"),
    (
        ENI + "Create Network Interface in subnet '': InsufficientFreeAddressesInSubnet",
        NET,
        "addresses",
    ),
    (
        ENI + "Create Network Interface with public IP assignment enabled in subnet 's",
        NET,
        "addresses",
    ),
    (ENI + "Create Network Interface: AuthFailure", ANY, "network interface"),
    (ENI + "tag the network interface: TagPolicyViolation", RUN, "policy"),
    ("OutOfMemoryError: Container killed due to memory usage", Remedy.OTHER_SIZE, "memory"),
]


@pytest.mark.parametrize(
    ("reason", "remedy", "means"), ENDS, ids=[reason[:60] for reason, *_ in ENDS]
)
def test_the_words_of_aws(reason, remedy, means):
    row = classify_stop("TaskFailedToStart", [reason], [])
    assert row.remedy is remedy
    assert means in row.meaning


def test_the_containers_own_reason_counts_too_and_a_code_before_all():
    memory = "OutOfMemoryError: Container killed due to memory usage"
    ended = "Essential container in task exited"
    row = classify_stop("EssentialContainerExited", [ended, memory], [137, 143])
    assert row.patterns == ("OutOfMemoryError*",)
    assert classify_stop("SpotInterruption", [ended, memory], [137]) is SPOT_INTERRUPTION


def test_a_task_stopped_by_others_was_well():
    well = {
        code for code in ECS["shapes"]["TaskStopCode"]["enum"] if failures.is_external_stop(code)
    }
    assert well == {
        "ServiceSchedulerInitiated",
        "SpotInterruption",
        "TerminationNotice",
        "UserInitiated",
    }
    assert not failures.is_external_stop("")


def test_the_exit_code_that_says_most_counts():
    ended = ("EssentialContainerExited", ["Essential container in task exited"])
    for code in (1, 2, 99):
        assert classify_stop(*ended, [143, code]) is EXITED_WITH_ERROR
    for code in (0, 100, 127, 132, 139, 255):
        assert classify_stop(*ended, [143, code]) is not EXITED_WITH_ERROR
    assert classify_stop(*ended, [137, 0]).patterns == ("0",), (
        "its lifetime was over, so all were stopped"
    )
    assert classify_stop(*ended, [137, 137]).patterns == ("137",)
    for exits in ([137, 143], [143, 137]):  # one was killed, and the other ended in turn
        assert classify_stop(*ended, exits).patterns == ("137",)
    assert classify_stop(*ended, []).patterns == ("EssentialContainerExited",)


# Exceptions of libraries.


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_errors_of_httpx_are_broken_connections():
    row = failures.classify_exception(httpx.ReadTimeout("x"), context="worker")
    assert row.remedy is Remedy.REPEAT_REQUEST
    for kind in subclasses(httpx.RequestError):
        assert failures.classify_exception(kind("x"), context="worker") is row
    assert failures.classify_exception(TimeoutError(), context="worker") is row
    refused = failures.classify_exception(ConnectionRefusedError(), context="worker")
    assert refused is CONNECTION_REFUSED
    assert failures.classify_exception(KeyError(), context="worker") is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (botocore.exceptions.NoCredentialsError(), CredentialsError),
        (botocore.exceptions.PartialCredentialsError(provider="p", cred_var="c"), CredentialsError),
        (botocore.exceptions.ProfileNotFound(profile="p"), CredentialsError),
        (botocore.exceptions.SSOTokenLoadError(error_msg="e"), CredentialsError),
        (botocore.exceptions.UnauthorizedSSOTokenError(), CredentialsError),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="u"), NoAnswerError),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="u"), NoAnswerError),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="u"), NoAnswerError),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="u"), NoAnswerError),
        (botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), AWSError),
        (ResponseParserError("p"), NoAnswerError),
        (aiohttp.ServerDisconnectedError(), NoAnswerError),
        (ConnectionResetError(), NoAnswerError),
        (botocore.exceptions.NoRegionError(), AWSError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_boto_and_aiohttp_raise(error, kind):
    with pytest.raises(CloudburstError) as caught, translate_errors("list_tasks"):
        raise error
    assert type(caught.value) is kind


# Errors.


@pytest.mark.parametrize("kind", CLASSES)
def test_there_are_no_two_truths(kind):
    assert kind.retryable is kind.remedy.retryable
    assert kind is CloudburstError or "retryable" not in vars(kind)


@pytest.mark.parametrize("kind", [CapacityError, WorkerStoppedError, AWSError])
def test_the_remedy_of_one_error_survives_pickle(kind):
    error = kind("no")
    error.remedy = Remedy.FIX_SETUP if kind.remedy.retryable else Remedy.REPEAT_REQUEST
    copied = pickle.loads(pickle.dumps(error))
    assert copied.remedy is error.remedy
    assert copied.retryable is not kind.retryable

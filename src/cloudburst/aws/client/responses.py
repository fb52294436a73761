"""Responses of AWS: check of the members that this package uses, and access to optional members.

A response with HTTP status 200 need not come from AWS. botocore returns an empty response for a
body that is not JSON, such as the login page of a proxy. Such a response raises `NoAnswerError`,
because the call may or may not have been carried out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from cloudburst.errors import (
    AWSError,
    CloudburstError,
    CredentialsError,
    LaunchError,
    NoAnswerError,
    Remedy,
)
from cloudburst.models import failures
from cloudburst.models.failures import Failure
from cloudburst.models.failures.api_errors import EXPIRED_CREDENTIALS
from cloudburst.redaction import without_secrets

BODY_TOO_LARGE = "EntityTooLarge"
"""Error code of a response whose body is larger than the caller permits."""
MAX_DEFECT_CHARACTERS = 300
"""Maximum number of characters of a parser's error that an error message quotes."""
REQUIRED_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "complete_multipart_upload": ("ETag",),
    "create_multipart_upload": ("UploadId",),
    "describe_tasks": ("tasks", "tasks[].taskArn", "tasks[].lastStatus"),
    "get_object": ("ContentLength", "ETag"),
    "head_object": ("ContentLength", "ETag"),
    "list_objects_v2": ("IsTruncated", "Contents[].Key"),
    "put_object": ("ETag",),
    "run_task": ("tasks[].taskArn", "tasks[].lastStatus", "failures[].reason"),
    "stop_task": ("task.taskArn",),
}
"""Members that the responses of operations must have which start, watch and stop tasks, or have an
object of S3. Members are given by their paths: ``list[].member`` stands for the member of every
entry of the list, if the response has that list."""
# Operations whose response has the content type of an object, which may be a web page.
_OBJECT_OPERATIONS = frozenset({"get_object", "head_object"})
# Operations whose responses need none of the members in botocore's model.
_MAY_BE_EMPTY = frozenset(
    {"abort_multipart_upload", "delete_object", "delete_security_group", "head_bucket"}
)


def get_structure(response: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a member of a response that is a structure; an empty mapping if it is missing."""
    found: Mapping[str, Any] | None = response.get(name)
    return found or {}


def get_list(response: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a member of a response that is a list of structures; empty if it is missing."""
    found: list[Mapping[str, Any]] | None = response.get(name)
    return found or []


async def read_body(operation: str, response: dict[str, Any], max_bytes: int) -> None:
    """Replace the streamed member ``Body`` of a response, if it has one, by its bytes.

    Raises:
        AWSError: The body is larger than ``max_bytes``.
        NoAnswerError: The body is incomplete.
    """
    body: Any = response.get("Body")
    if not hasattr(body, "iter_chunks"):
        return
    data = bytearray()
    try:
        async for chunk in body.iter_chunks():
            data += chunk
            if len(data) > max_bytes:
                msg = f"{operation}: the body has more than {max_bytes} bytes"
                raise AWSError(msg, code=BODY_TOO_LARGE)
    finally:
        body.close()  # a body that was not read completely must not keep its connection
    if len(data) != response.get("ContentLength", len(data)):
        raise NoAnswerError(f"{operation}: the body is incomplete")
    response["Body"] = bytes(data)


class _Structure(dict[str, Any]):
    """Structure of a response. A member that is read and missing is this package's error."""

    def __init__(self, members: Mapping[str, Any], what: tuple[str, str]) -> None:
        super().__init__(members)
        self._what = what

    def __missing__(self, name: str) -> NoReturn:
        operation, request = self._what
        raise not_from_aws(operation, f"{name} is missing{request}")


def named_members(operation: str, response: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response, of which reading a member that is missing raises `NoAnswerError`."""
    what = operation, _request_of(response)

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            members = cast("Mapping[str, Any]", value)
            return _Structure({name: named(member) for name, member in members.items()}, what)
        return [*map(named, cast("Sequence[Any]", value))] if isinstance(value, list) else value

    structure: dict[str, Any] = named(response)
    return structure


@contextmanager
def translate_parse_errors(operation: str) -> Generator[None]:
    """Raise `NoAnswerError` in place of the errors of botocore's parsers for a bad response."""
    try:
        yield
    except (BotoCoreError, ClientError, CloudburstError, OSError):
        raise
    except (
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
        ResponseParserError,
    ) as exc:
        reason = f"{type(exc).__name__}: {exc}"[:MAX_DEFECT_CHARACTERS]
        defect = f"it cannot be read ({reason}); it may be the login page of a proxy"
        raise not_from_aws(operation, defect) from without_secrets(exc)


def check_response(
    operation: str,
    response: Mapping[str, Any],
    *,
    members: Collection[str],
    required: Iterable[str] = (),
) -> None:
    """Raise `NoAnswerError` if a response cannot be AWS's answer to a call."""
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    content_type: str = metadata.get("HTTPHeaders", {}).get("content-type", "")
    if content_type.lower().startswith("text/html") and operation not in _OBJECT_OPERATIONS:
        defect = "it is a web page, perhaps the login page of a proxy"
    elif members and operation not in _MAY_BE_EMPTY and response.keys().isdisjoint(members):
        defect = "it is empty"
    else:
        paths = (*REQUIRED_MEMBERS.get(operation, ()), *required)
        missing = next((path for path in paths if not _has_member(response, path.split("."))), "")
        if not missing:
            return
        defect = f"{missing} is missing"
    raise not_from_aws(operation, defect + _request_of(response))


def _request_of(response: Mapping[str, Any]) -> str:
    request = response.get("ResponseMetadata", {}).get("RequestId")
    return f" (request {request})" if request else ""


def not_from_aws(operation: str, defect: str) -> NoAnswerError:
    """Return the error for a response that cannot be AWS's answer to a call."""
    return NoAnswerError(f"{operation}: the response is not from AWS: {defect}")


def _has_member(value: Any, path: Sequence[str]) -> bool:
    if not path:
        return value is not None
    name, *rest = path
    if name.endswith("[]"):
        return all(_has_member(entry, rest) for entry in value.get(name[:-2]) or ())
    return name in value and _has_member(value[name], rest)


MAX_ERROR_CHARACTERS = 2000
"""Maximum number of characters of AWS's or botocore's own message that an error message quotes."""
# Pattern of an EC2 error code in an error message of ECS. ECS calls EC2 to start a task and reports
# a refusal by EC2 as an ``InvalidParameterException`` that quotes EC2's code:
# https://github.com/dagster-io/dagster/issues/33439 (2026-02) and
# https://github.com/dask/dask-cloudprovider/issues/56.
_EC2_CODE = re.compile(r"\(ErrorCode: ([\w.]+)\)")


@contextmanager
def translate_errors(operation: str, *, capacity: str = "") -> Generator[None]:
    """Raise errors of this package in place of those of botocore, aiohttp and the system."""
    try:
        yield
    except ClientError as exc:
        raise _client_error(operation, exc, capacity) from without_secrets(exc)
    except ParamValidationError:
        # Its message quotes parameters, which may contain secrets.
        msg = f"{operation}: parameters of the wrong kind"
        raise _unclassified(operation, "ParamValidationError", msg) from None
    except (BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError) as exc:
        failure = failures.classify_exception(exc, context="aws")
        if failure is None or failure.error is AWSError:
            msg = f"{operation}: {exc}"[:MAX_ERROR_CHARACTERS]
            raise _unclassified(operation, type(exc).__name__, msg) from without_secrets(exc)
        if failure.error is CredentialsError:
            raise _credentials_error(failure, exc) from without_secrets(exc)
        no_answer = f"no answer: {type(exc).__name__}: {exc}"
        reason = no_answer if failure.error is NoAnswerError else str(exc)
        msg = f"{operation}: {reason[:MAX_ERROR_CHARACTERS]}"
        raise error_from_failure(failure, msg) from without_secrets(exc)


def error_code_of(error: BaseException) -> str:
    """Return the error code of AWS from which an error was translated; empty if there is none."""
    cause = error.__cause__
    return _codes(cause)[0] if isinstance(cause, ClientError) else ""


def error_detail_of(error: BaseException, member: str) -> str:
    """Return a member of AWS's error response, such as ``Message``; empty if there is none."""
    cause = error.__cause__
    return _detail(cause, member) if isinstance(cause, ClientError) else ""


def headers_of(error: BaseException) -> Mapping[str, str]:
    """Return the headers of AWS's response from which an error was translated.

    The names are in lower case. Without a response, the mapping is empty.
    """
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return {}
    metadata: dict[str, Any] = dict(cause.response.get("ResponseMetadata", {}))
    headers: dict[str, str] = metadata.get("HTTPHeaders", {})
    return {name.lower(): value for name, value in headers.items()}


def has_expired_credentials(error: CloudburstError) -> bool:
    """Return whether AWS refused a call because the credentials have expired."""
    code = error_code_of(error)
    return EXPIRED_CREDENTIALS.matches(code)


def error_from_failure(failure: Failure, message: str, *, code: str = "") -> CloudburstError:
    """Return the error for a row of the failure table.

    If only the user can fix the failure, the message of the error also says how.
    """
    fixable = failure.action and failure.remedy in {Remedy.FIX_SETUP, Remedy.FEWER_TASKS}
    msg = f"{message} ({failure.summary})" if fixable else message
    error = AWSError(msg, code=code) if failure.error is AWSError else failure.error(msg)
    error.remedy = failure.remedy
    return error


def _credentials_error(failure: Failure, exc: Exception) -> CloudburstError:
    # Without the operation, because every call would fail, and without the meaning of the failure,
    # because botocore's text says the same.
    text = str(exc)[:MAX_ERROR_CHARACTERS].rstrip(".")
    error = failure.error(f"{text}; {failure.action}")
    error.remedy = failure.remedy
    return error


def _codes(error: ClientError) -> tuple[str, str]:
    """Return AWS's code, and that by which the error is classified: EC2's if ECS quotes one."""
    code = _detail(error, "Code")
    inner = _EC2_CODE.search(_detail(error, "Message"))
    return code, inner.group(1) if inner else code


def _detail(error: ClientError, member: str) -> str:
    value: object = error.response.get("Error", {}).get(member)
    return str(value or "")[:MAX_ERROR_CHARACTERS]


def _client_error(operation: str, error: ClientError, capacity: str) -> CloudburstError:
    code, decisive = _codes(error)
    message = _detail(error, "Message")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    failure = failures.classify_api_error(
        decisive, message, status, operation=operation, capacity=capacity
    )
    return error_from_failure(failure, f"{operation}: {code}: {message}", code=code)


def _unclassified(operation: str, code: str, message: str) -> CloudburstError:
    return LaunchError(message) if operation == "run_task" else AWSError(message, code=code)

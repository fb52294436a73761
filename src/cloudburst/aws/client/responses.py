"""Responses of AWS: checked ones, and errors as this package's errors.

A response with HTTP status 200 need not come from AWS. botocore returns an empty response for a
body that is not JSON, such as the login page of a proxy. Such a response raises `NoAnswerError`,
because the call may or may not have been carried out. Which error AWS's refusals become is decided
by the failure table in `cloudburst.models.failures`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Collection, Generator, Mapping, Sequence
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
    ResourceMissingError,
)
from cloudburst.models import failures
from cloudburst.models.failures.failure import Failure
from cloudburst.redaction import without_secrets

BODY_TOO_LARGE = "EntityTooLarge"
"""Error code of a response whose body is larger than the caller permits."""
MAX_DEFECT_CHARACTERS = 300
"""Maximum number of characters of a parser's error that an error message quotes."""
MAX_ERROR_CHARACTERS = 2000
"""Maximum number of characters of AWS's or botocore's own message that an error message quotes."""
# Operations whose response has the content type of an object, which may be a web page.
_OBJECT_OPERATIONS = frozenset({"get_object", "head_object"})
# Operations whose responses need none of the members in botocore's model.
_MAY_BE_EMPTY = frozenset(
    {"abort_multipart_upload", "delete_object", "delete_security_group", "head_bucket"}
)
# Errors of botocore's parsers for a body that is not AWS's.
_UNREADABLE = (
    *(AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError),
    ResponseParserError,
)
# Pattern of an EC2 error code in an error message of ECS. ECS calls EC2 to start a task and reports
# a refusal by EC2 as an ``InvalidParameterException`` that quotes EC2's code:
# https://github.com/dagster-io/dagster/issues/33439 (2026-02) and
# https://github.com/dask/dask-cloudprovider/issues/56.
_EC2_CODE = re.compile(r"\(ErrorCode: ([\w.]+)\)")


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


def checked_response(
    operation: str, response: Mapping[str, Any], members: Collection[str]
) -> dict[str, Any]:
    """Return a response, in which reading a member that is missing raises `NoAnswerError`.

    A web page, and a response without any of the ``members`` that it may have, raise it at once.
    """
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    request = f" (request {metadata['RequestId']})" if metadata.get("RequestId") else ""
    content_type: str = metadata.get("HTTPHeaders", {}).get("content-type", "")
    if content_type.lower().startswith("text/html") and operation not in _OBJECT_OPERATIONS:
        defect = "it is a web page, perhaps the login page of a proxy"
        raise not_from_aws(operation, defect + request)
    if members and operation not in _MAY_BE_EMPTY and response.keys().isdisjoint(members):
        raise not_from_aws(operation, f"it is empty{request}")
    structure: dict[str, Any] = _named(response, (operation, request))
    return structure


def _named(value: Any, what: tuple[str, str]) -> Any:
    if isinstance(value, dict):
        members = cast("Mapping[str, Any]", value)
        return _Structure({name: _named(one, what) for name, one in members.items()}, what)
    if isinstance(value, list):
        return [_named(one, what) for one in cast("Sequence[Any]", value)]
    return value


def not_from_aws(operation: str, defect: str) -> NoAnswerError:
    """Return the error for a response that cannot be AWS's answer to a call."""
    return NoAnswerError(f"{operation}: the response is not from AWS: {defect}")


@contextmanager
def translate_errors(operation: str, *, capacity: str = "") -> Generator[None]:
    """Raise errors of this package in place of those of botocore, aiohttp and the system."""
    try:
        yield
    except CloudburstError:
        raise
    except ClientError as exc:
        raise _client_error(operation, exc, capacity) from without_secrets(exc)
    except ParamValidationError:
        # Its message quotes parameters, which may contain secrets.
        msg = f"{operation}: parameters of the wrong kind"
        raise _unclassified(operation, "ParamValidationError", msg) from None
    except (BotoCoreError, aiohttp.ClientError, OSError) as exc:
        raise _connection_error(operation, exc) from without_secrets(exc)
    except _UNREADABLE as exc:
        reason = f"{type(exc).__name__}: {exc}"[:MAX_DEFECT_CHARACTERS]
        defect = f"it cannot be read ({reason}); it may be the login page of a proxy"
        raise not_from_aws(operation, defect) from without_secrets(exc)


def _connection_error(operation: str, exc: Exception) -> CloudburstError:
    failure = failures.classify_exception(exc, context="aws")
    text = str(exc)[:MAX_ERROR_CHARACTERS]
    if failure is None or failure.error is AWSError:
        return _unclassified(operation, type(exc).__name__, f"{operation}: {text}")
    if failure.error is CredentialsError:
        # Without the operation, because every call would fail, and without the meaning of the
        # failure, because botocore's text says the same.
        error = failure.error(f"{text.rstrip('.')}; {failure.action}")
        error.remedy = failure.remedy
        return error
    if failure.error is NoAnswerError:
        text = f"no answer: {type(exc).__name__}: {text}"
    return error_from_failure(failure, f"{operation}: {text}")


def error_code_of(error: BaseException) -> str:
    """Return the error code of AWS from which an error was translated; empty if there is none."""
    return error_detail_of(error, "Code")


def error_detail_of(error: BaseException, member: str) -> str:
    """Return a member of AWS's error response, such as ``Message``; empty if there is none."""
    cause = error.__cause__
    return _detail(cause, member) if isinstance(cause, ClientError) else ""


def headers_of(error: BaseException) -> Mapping[str, str]:
    """Return the headers of AWS's refusal from which an error was translated, in lower case."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return {}
    metadata: dict[str, Any] = dict(cause.response.get("ResponseMetadata", {}))
    headers: dict[str, str] = metadata.get("HTTPHeaders", {})
    return {name.lower(): value for name, value in headers.items()}


async def or_none(call: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the response to a call; ``None`` if what it names does not exist."""
    try:
        return await call
    except ResourceMissingError:
        return None
    except AWSError as exc:
        if "NotFound" in exc.code:  # of ECR
            return None
        raise


def error_from_failure(failure: Failure, message: str, *, code: str = "") -> CloudburstError:
    """Return the error for a row of the failure table.

    If only the user can fix the failure, the message of the error also says how.
    """
    fixable = failure.action and failure.remedy in {Remedy.FIX_SETUP, Remedy.FEWER_TASKS}
    msg = f"{message} ({failure.summary})" if fixable else message
    error = AWSError(msg, code=code) if failure.error is AWSError else failure.error(msg)
    error.remedy = failure.remedy
    return error


def _client_error(operation: str, error: ClientError, capacity: str) -> CloudburstError:
    code, message = _detail(error, "Code"), _detail(error, "Message")
    of_ec2 = _EC2_CODE.search(message)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    failure = failures.classify_api_error(
        of_ec2[1] if of_ec2 else code, message, status, operation=operation, capacity=capacity
    )
    return error_from_failure(failure, f"{operation}: {code}: {message}", code=code)


def _detail(error: ClientError, member: str) -> str:
    value: object = error.response.get("Error", {}).get(member)
    return str(value or "")[:MAX_ERROR_CHARACTERS]


def _unclassified(operation: str, code: str, message: str) -> CloudburstError:
    return LaunchError(message) if operation == "run_task" else AWSError(message, code=code)

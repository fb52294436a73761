"""Translation of the errors of AWS and botocore into errors of this package.

The failure table in `cloudburst.models.failures` decides which error each of them becomes.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

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

MAX_ERROR_CHARACTERS = 2000
"""Maximum number of characters of AWS's or botocore's own message that an error message quotes."""
_EC2_CODE = re.compile(r"\(ErrorCode: ([\w.]+)\)")
"""Pattern of an EC2 error code in an error message of ECS. ECS calls EC2 to start a task and
reports a refusal by EC2 as an ``InvalidParameterException`` that quotes EC2's code:
https://github.com/dagster-io/dagster/issues/33439 (2026-02) and
https://github.com/dask/dask-cloudprovider/issues/56."""


@contextmanager
def translate_errors(operation: str, *, capacity: str = "") -> Generator[None]:
    """Raise errors of this package in place of those of botocore, aiohttp and the operating system.

    Args:
        operation: Name of the method of the boto client, such as ``run_task``.
        capacity: Capacity provider or launch type that RunTask requests; empty for other
            operations.
    """
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

    Args:
        failure: Row of the failure table.
        message: Description of this failure.
        code: Error code of AWS, if there is one.
    """
    fixable = failure.action and failure.remedy in {Remedy.FIX_SETUP, Remedy.FEWER_TASKS}
    msg = f"{message} ({failure.summary})" if fixable else message
    error = AWSError(msg, code=code) if failure.error is AWSError else failure.error(msg)
    error.remedy = failure.remedy
    return error


def _credentials_error(failure: Failure, exc: Exception) -> CloudburstError:
    """Return the error for an exception of botocore about credentials.

    The message leaves out the operation, because every call would fail. It also leaves out the
    meaning of the failure, because botocore's text says the same.
    """
    text = str(exc)[:MAX_ERROR_CHARACTERS].rstrip(".")
    error = failure.error(f"{text}; {failure.action}")
    error.remedy = failure.remedy
    return error


def _codes(error: ClientError) -> tuple[str, str]:
    """Return AWS's error code, and the code by which the error is classified.

    Both are the same unless ECS quotes an error code of EC2: then the error is classified by that.
    """
    code = _detail(error, "Code")
    inner = _EC2_CODE.search(_detail(error, "Message"))
    return code, inner.group(1) if inner else code


def _detail(error: ClientError, member: str) -> str:
    """Return a member of an error response, such as ``Code``, as text; empty if it is missing."""
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
